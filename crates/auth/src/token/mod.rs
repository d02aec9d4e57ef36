//! Tokens: service tokens in a tree. Revoking one revokes all below it, at once for every check, and swept from disk afterwards.

mod authenticate;
mod create;
mod record;
mod renew;
mod revoke;

pub use authenticate::{Caller, Refusal, authenticate};
pub use create::{Create, CreateError, NewToken, create, make_root};
pub use record::{Info, TTL_S_DEFAULT, TTL_S_MAX};
pub use renew::{RenewError, info, renew};
pub use revoke::{find_by_accessor, find_by_text, force_revoke, revoke, sweep};
