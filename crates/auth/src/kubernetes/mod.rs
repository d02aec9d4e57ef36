//! Kubernetes: a pod shows the token of its service account, and the API server says whose it is (TokenReview), or its signature is verified here by keys
//! that are given. With both, both must agree to it.
//!
//! What it guarantees: who somebody is comes from the answer of the API server alone, whose certificate is of the configured authority, or from a token
//! whose signature was verified; each login asks anew, so that an account that was deleted gets in no more. The token that the reviews are asked with is
//! never told. Whatever is wrong, a client is told the same; why is on record.
//! What it does not do: ask anybody. Whoever calls it does, outside of any plan; the plan takes part in that only if configuration and role are still
//! what they were.

mod config;
mod login;
mod review;
mod role;

use aumbry_barrier::Txn;
use aumbry_logical::{Body, Verb};
use aumbry_types::ObjectId;

pub use login::{Challenge, Verified, login, prepare};
pub use review::{Answered, Review};

use crate::answer::{Answer, Error};
use crate::kept::Request;

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
pub const REFUSED: &str = "permission denied";
