//! Authentication methods, one folder each. A method turns evidence into a [`Caller`], through a [`aumbry_barrier::Txn`].
//!
//! What it guarantees: a caller is who presented a token that stands in the state, is not expired or used up, and whose ancestors
//! all still stand; and the plan that used it is refused if that changes before the plan is applied.
//! What it does not do: decide what the caller may do.

mod places;
pub mod token;

pub use places::{ACCESSORS, JOIN_TOKENS, MOUNTS, NAMESPACE_ROOT, ORPHANS, POLICIES};
pub use token::Caller;
