//! Authentication methods, one folder each. A method turns evidence into a [`token::Login`], through a [`aumbry_barrier::Txn`], and a
//! token turns into a [`Caller`].
//!
//! What it guarantees: a caller is who presented a token that stands in the state, is not expired or used up, is shown from where it is
//! bound to, and whose ancestors all still stand; and the plan that used it is refused if that changes before the plan is applied.
//! What it does not do: decide what the caller may do.

mod answer;
pub mod approle;
pub mod cert;
pub mod cidr;
pub mod cubbyhole;
mod fields;
pub mod identity;
pub mod jwt;
mod kept;
pub mod kubernetes;
pub mod ldap;
mod listing;
pub mod lockout;
pub mod namespace;
mod params;
mod places;
mod sweep;
pub mod token;
pub mod userpass;
mod voucher;

pub use answer::{Answer, Error, LoginError, canonical, timestamp};
pub use kept::Request as KeptRequest;
pub use params::{OldNames, TokenParams, WantedType};
pub use places::{JOIN_TOKENS, LIMITS, NAMESPACE_ROOT, NAMESPACES, Place, QUOTAS, Shelf};
pub use sweep::{disable, expire, revoke_container, sweep};
pub use token::Caller;
pub use voucher::Voucher;
