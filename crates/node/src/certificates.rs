//! Tokens that were given for a TLS certificate, and the certificates that are shown beside them.

use aumbry_auth::token::{self, Alias};
use aumbry_auth::{Caller, LoginError, cert};
use aumbry_barrier::{DamagedRow, Txn};
use aumbry_types::ObjectId;

use crate::request::Evidence;
use crate::{Class, Failure, mounts};

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

/// Refuses to renew a login's token for who does not show the certificate that it was given for.
pub(crate) fn check_renewal(txn: &mut Txn<'_>, id: ObjectId, evidence: &Evidence) -> Result<(), Failure> {
    let Some(alias) = token::login_of(txn, id)? else {
        return Ok(());
    };
    if !is_of_certificate(txn, &alias)? {
        return Ok(());
    }
    match cert::check_renewal(txn, &alias, &evidence.certificates, &evidence.client_address) {
        Ok(()) => Ok(()),
        Err(LoginError::Damaged(damaged)) => Err(damaged.into()),
        Err(_) => Err(refused(
            "the token is renewed on a connection with the certificate that it was given for, as long as that would get in; connect with it, or log in again",
        )),
    }
}

fn is_of_certificate(txn: &Txn<'_>, alias: &Alias) -> Result<bool, DamagedRow> {
    Ok(mounts::kind_of(txn, alias.mount)?.is_some_and(|kind| kind == CERT))
}

fn refused(text: &str) -> Failure {
    Failure::new(Class::PermissionDenied, "CERTIFICATE_MISMATCH", text)
}

const CERT: &str = "cert";
