//! The barrier: above it plaintext and names, below it ciphertext, ids and keyed hashes.
//!
//! What it guarantees:
//! - Nothing that an engine writes through a [`Txn`] leaves it in clear but the declared header fields.
//! - Every row that a plan read, every name it did not find and every container it listed becomes a precondition of the command, so
//!   that the plan is applied to exactly the state it was made on, or not at all.
//! - A container that an operator limited has no more children than that, however many plans are under way.
//! - Ciphertext is bound to the row it belongs to: moved or swapped, it does not open.
//!
//! What it does not do: decide who may do what, talk to consensus, keep keys longer than its caller.

mod barrier;
mod directory;
mod kind;
mod limits;
mod opened;
pub mod record;
mod txn;

pub use barrier::{Barrier, DamagedRow};
pub use directory::{CHILDREN_MAX, Child, DIRECTORY_FULL, InsertError, ListCache};
pub use kind::Kind;
pub use limits::{Counted, Limits};
pub use txn::{NAMESPACE_ROOT, Object, ObjectOptions, Txn};
