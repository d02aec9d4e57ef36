//! LDAP: people log in with the name and password that a directory knows them by, and the directory says which groups they are in.
//!
//! A login has three steps. [`prepare`] reads how the method is set up, and says what the directory is to be asked; whoever calls it asks,
//! outside of any plan; and [`login`] is the plan, which takes part in that only if the configuration is still what it was. What the mount says
//! of users and groups is read by the plan.
//!
//! What it guarantees: a name that is typed is data wherever it stands in a question, never a part of the question; an empty password, which
//! directories take for nobody's, is asked about nowhere; a password goes to a directory by TLS alone, or not beyond this machine; and whatever
//! is wrong, a client is told the same. Why is on record. The password of the service account is never told.
//! Wrong passwords are counted by the name that was typed, see [`crate::lockout`]; about somebody who is locked the
//! directory is not asked.
//! What it does not do: ask anybody, or follow referrals.

mod config;
mod entry;
mod login;
mod names;
mod place;
mod question;
mod request;
mod template;

pub use login::{LoginRequest, Verified, login, prepare};
pub use names::{escape_dn, escape_filter, first_cn};
pub use place::Place;
pub use question::{Challenge, Find, Groups, Known, Question, Search, Service};
pub use request::{Request, plan};

/// Why a password is refused that a directory knows to be another: this alone is counted. What else is refused tells nobody that a password is wrong.
pub const WRONG_PASSWORD: &str = "wrong password";
/// What a client is told of any refusal, as Vault says it.
pub const REFUSED: &str = "ldap operation failed: failed to bind as user";
