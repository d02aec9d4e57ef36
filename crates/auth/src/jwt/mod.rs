//! JWT: somebody else vouches. A token that an issuer signed is shown; its signature is verified by the issuer's keys, and what it claims is compared with
//! what a role demands. `oidc` is the same method.
//!
//! What it guarantees: nothing of a token is believed before its signature was verified by a key of the configured issuer; the key's type decides how, and
//! no key, address or algorithm is taken from the token. Times are compared with the time of the log, so that all nodes see one. Whatever is wrong, a
//! client is told the same; why is on record.
//! A browser that is sent to the issuer comes back with a code for such a token: see [`browser`].
//! What it does not do: fetch anything. Whoever calls it brings the keys, and they are verified by outside of any plan; the plan takes part in that only
//! if the configuration is still the one that was verified by.

pub mod browser;
mod claims;
mod config;
mod keys;
mod login;
mod role;
mod token;

use aumbry_barrier::Txn;
use aumbry_logical::{Body, Verb};
use aumbry_types::ObjectId;

pub use config::{KeySource, Remote};
pub use keys::{AnswerError, Discovered, KeySet, Provider, parse_discovery};
pub use login::{Challenge, Verified, login, prepare};
pub use token::Token;

use crate::answer::{Answer, Error};
use crate::kept::Request;

pub(crate) use config::{NOT_KEYS, pem_texts};

/// Why a login is refused, in a word or two: for the audit record, and never for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub &'static str);

impl Reason {
    pub(crate) const NO_KEY: Self = Self("no key");
    pub(crate) const SIGNATURE: Self = Self("signature");

    /// Whether the issuer may have a new key by now, that would make it right.
    #[must_use]
    pub fn may_be_new(self) -> bool {
        self == Self::NO_KEY || self == Self::SIGNATURE
    }
}

/// Reads a request of somebody who has a token; the path is canonical.
///
/// # Errors
/// [`Error`]
pub fn parse(verb: Verb, path: &str, body: Body) -> Result<Request, Error> {
    Request::parse("role", verb, path, body)
}

/// Plans a request on the mount with this object.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan(txn: &mut Txn<'_>, mount: ObjectId, request: &Request) -> Result<Answer, Error> {
    request.plan::<config::Config, role::Role>(txn, mount)
}

/// What a client is told of any refusal.
pub const REFUSED: &str = "the token or the role is not accepted";
