//! Tokens: service tokens in a tree, and batch tokens, of which nothing is stored. Revoking one revokes all below it, at once for every check, and swept from disk afterwards.

mod authenticate;
mod batch;
mod counted;
mod create;
mod issue;
mod lease;
mod lifetime;
pub mod logical;
mod record;
mod renew;
mod revoke;
mod role;
mod wrapping;

pub use authenticate::{Caller, Refusal, authenticate};
pub use batch::{TEXT_BYTES_MAX, batch_holder, batch_info, is_batch};
pub use counted::is_below;
pub use create::{Create, CreateError, NewToken, create, generate_root, make_root};
pub use issue::{Login, issue};
pub use lease::{LeaseError, REVOKED_MAX, find_by_lease, list_leases, revoke_leases};
pub use lifetime::{TTL_S_DEFAULT, TTL_S_MAX};
pub use record::{Alias, FirstInfo, Info, TokenType};
pub use renew::{Holder, RenewError, holder, info, login_of, renew};
pub use revoke::{OrphanError, accessors, find_by_accessor, find_by_text, force_revoke, revoke, revoke_orphan};
pub(crate) use revoke::{is_counted, remove_child};
pub(crate) use role::check_policies;
pub use role::{Role, list_roles};
pub use wrapping::{UnwrapError, WrapError, Wrapped, WrappedInfo, is_wrapping, lookup_wrapped, rewrap, unwrap, wrap};
