//! Lockouts: who shows wrong passwords, one after the other, is not let in for a while, with the right one neither.
//!
//! What is counted is replicated, so that a user is locked on whichever node leads and after every restart. Settings are those of a mount.
//! Whether somebody is locked is told to those alone who may read `sys/locked-users`: a login is refused as it is for a wrong password.
//! What it does not do: tell apart who guesses and whose name it is. Whoever knows a name can lock it, as in every lockout;
//! `lockout_disable` and rate limits are for those who must not be locked out by others.

mod plan;
mod request;
mod settings;
mod strangers;

pub(crate) use plan::Looked;
pub use plan::{LockingMount, plan};
pub use request::Request;
pub use settings::{Change, Lockout};
pub(crate) use strangers::Strangers;

/// Whether a method has a lockout.
#[must_use]
pub fn is_of(kind: &str) -> bool {
    METHODS.contains(&kind)
}

/// The methods that have one.
pub const METHODS: [&str; 2] = ["ldap", "userpass"];
