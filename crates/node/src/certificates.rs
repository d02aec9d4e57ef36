//! Tokens that were given for a TLS certificate, and the certificates that are shown beside them.

use aumbry_auth::token::{self, Alias, authenticate};
use aumbry_auth::{Caller, LoginError, cert};
use aumbry_barrier::{DamagedRow, Txn};
use aumbry_types::ObjectId;

use crate::logins::Verified;
use crate::operation::TokenName;
use crate::pipeline::STALE;
use crate::request::Evidence;
use crate::{Class, Failure, Node, Request, mounts, ops};

/// Refuses a token that was given for one certificate beside another's: whoever joined them mixes up two identities.
pub(crate) fn check(txn: &Txn<'_>, caller: &Caller, evidence: &Evidence) -> Result<(), Failure> {
    if evidence.certificates.is_empty() {
        return Ok(());
    }
    match caller.alias.as_ref() {
        Some(alias) if is_of_certificate(txn, alias)? && cert::is_beside_another(alias, &evidence.certificates) => {
            Err(refused(
                "the token was given for a certificate of another name than the connection's; show the token alone, or its own certificate",
            ))
        }
        _ => Ok(()),
    }
}

impl Node {
    /// Verifies the certificate that is shown beside a token that is to be renewed, outside of any plan, as at the login. Nothing if there is nothing to
    /// verify; the plan says what comes of that.
    pub(crate) fn verify_renewal(&self, request: &Request, name: &TokenName) -> Result<Verified, Failure> {
        let chain = &request.evidence.certificates;
        if chain.is_empty() {
            return Ok(Verified::Nothing);
        }
        let challenge = self.look(&request.namespace, |txn, auth| {
            let custom = auth.allows_custom_tokens(txn);
            let evidence = &request.evidence;
            let Ok(caller) = authenticate(txn, evidence.token.expose(), custom, &evidence.client_address) else {
                return Ok(None);
            };
            let Some(id) = ops::token_of(txn, &caller, name)? else {
                return Ok(None);
            };
            Ok(match login_of(txn, id)? {
                Some(alias) => cert::prepare_renewal(txn, &alias, chain)?,
                None => None,
            })
        })?;
        Ok(challenge.flatten().map_or(Verified::Nothing, |challenge| {
            Verified::Cert(Box::new(challenge.verify(chain)))
        }))
    }
}

/// Refuses to renew a login's token for who does not show the certificate that it was given for.
pub(crate) fn check_renewal(
    txn: &mut Txn<'_>,
    id: ObjectId,
    evidence: &Evidence,
    verified: &Verified,
) -> Result<(), Failure> {
    let Some(alias) = login_of(txn, id)? else {
        return Ok(());
    };
    let verified = match verified {
        Verified::Cert(verified) => Some(&**verified),
        _ => None,
    };
    match cert::check_renewal(txn, &alias, &evidence.certificates, verified, &evidence.client_address) {
        Ok(()) => Ok(()),
        Err(LoginError::Stale) => Err(Failure::new(
            Class::Aborted,
            STALE,
            "what the certificate was verified by changed meanwhile",
        )),
        Err(LoginError::Damaged(damaged)) => Err(damaged.into()),
        Err(_) => Err(refused(
            "the token is renewed on a connection with the certificate that it was given for, as long as that would get in; connect with it, or log in again",
        )),
    }
}

/// The login by a certificate that a token was given to, if it was given to one.
fn login_of(txn: &Txn<'_>, id: ObjectId) -> Result<Option<Alias>, DamagedRow> {
    match token::login_of(txn, id)? {
        Some(alias) if is_of_certificate(txn, &alias)? => Ok(Some(alias)),
        _ => Ok(None),
    }
}

fn is_of_certificate(txn: &Txn<'_>, alias: &Alias) -> Result<bool, DamagedRow> {
    Ok(mounts::kind_of(txn, alias.mount)?.is_some_and(|kind| kind == CERT))
}

fn refused(text: &str) -> Failure {
    Failure::new(Class::PermissionDenied, "CERTIFICATE_MISMATCH", text)
}

const CERT: &str = "cert";
