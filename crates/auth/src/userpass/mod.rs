//! Userpass: people log in by name and password.
//!
//! Stored is one row for each user, by name in the mount's own container: what its tokens are like, and a hash of its password (argon2id).
//! Its header counts failed logins, and when the last one was, so that a user is locked on whichever node leads and after every restart.
//! Nothing is stored for names that nobody has.
//!
//! A hash costs a thousand plans, so it is never computed while one is made. A login has three steps: [`prepare`] reads what is to be
//! verified, [`Challenge::verify`] computes, wherever the caller has processors and memory to spare, and [`login`] is the plan, which is
//! refused as [`crate::LoginError::Stale`] if the password was changed in between. A user that does not exist has the same three steps. A
//! new password is hashed by [`Request::hashed`] before its plan.
//!
//! Whether a name is unknown, a password wrong, or a user locked: the answer is the same.

mod login;
mod plan;
mod request;
mod user;

pub use login::{Challenge, LoginRequest, Verified, login, prepare};
pub(crate) use plan::locked;
pub use plan::{exists, is_locked, plan, unlock};
pub use request::{Hashed, Request};
