//! AppRole: a program logs in by the id of its role, which is no secret, and a secret id, which is one.
//!
//! Stored are: a role as one row, by name in the mount's own container; its role id as a name in another container of the mount, that
//! leads to it; and each secret id as one row in the role's container, by its accessor. What a secret id is known by is a keyed digest of
//! it and its role, so that what is stored gives no login, and a look-up compares nothing. Uses are counted in the row's header, by apply;
//! its time is the row's expiry. A role that is deleted takes its secret ids along, at once for every login, and off the disk afterwards.
//!
//! A login is one plan. Whatever is wrong with what was shown, the answer is the same.

mod login;
mod plan;
mod request;
mod role;
mod secret_id;

pub use login::{LoginRequest, login};
pub use plan::{exists, plan};
pub use request::{NewSecretId, Request};
pub(crate) use secret_id::{expire, is_used_up, remove};
