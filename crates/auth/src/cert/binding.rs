//! What a token has to do with the certificate that it was given for.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_types::hex;

use super::config::Config;
use super::facts::Facts;
use super::login::{Challenge, FINGERPRINT, LoginRequest, NAME, Verified, login, prepare};
use crate::answer::LoginError;
use crate::kept;
use crate::token::Alias;

/// The first step of a renewal: finds what the certificate is verified by. Nothing if there is nothing to verify: no certificate is needed, or this is not the
/// one that the token was given for. It plans nothing; its transaction is dropped.
///
/// # Errors
/// [`DamagedRow`]
pub fn prepare_renewal(
    txn: &mut Txn<'_>,
    login_of: &Alias,
    chain: &[Vec<u8>],
) -> Result<Option<Challenge>, DamagedRow> {
    let Some(leaf) = chain.first() else {
        return Ok(None);
    };
    let Ok(given) = Given::of(login_of) else {
        return Ok(None);
    };
    if is_unbound(txn, login_of)? || given.fingerprint != fingerprint(leaf) {
        return Ok(None);
    }
    prepare(txn, login_of.mount, &LoginRequest::again(given.name, leaf)).map(Some)
}

/// The last step: whether a token of this login may be renewed on a connection that showed these certificates: the one that it was given for, which would
/// still get in.
///
/// # Errors
/// [`LoginError`]: after [`LoginError::Stale`] the renewal begins again with [`prepare_renewal`].
pub fn check_renewal(
    txn: &mut Txn<'_>,
    login_of: &Alias,
    chain: &[Vec<u8>],
    verified: Option<&Verified>,
    client_address: &str,
) -> Result<(), LoginError> {
    if is_unbound(txn, login_of)? {
        return Ok(());
    }
    let given = Given::of(login_of)?;
    let leaf = chain.first().ok_or(LoginError::Because("no certificate"))?;
    if given.fingerprint != fingerprint(leaf) {
        return Err(LoginError::Because("another certificate"));
    }
    // A certificate was not needed when it was looked for, and now is.
    let verified = verified.ok_or(LoginError::Stale)?;
    login(txn, login_of.mount, verified, client_address).map(drop)
}

/// What a login was given for.
struct Given<'a> {
    name: &'a str,
    fingerprint: &'a str,
}

impl<'a> Given<'a> {
    /// A login of before there was any binding says nothing of its certificate.
    fn of(login_of: &'a Alias) -> Result<Self, LoginError> {
        let said = |name: &str| {
            let said = login_of.metadata.get(name).map(String::as_str);
            said.ok_or(LoginError::Because("no certificate on record"))
        };
        Ok(Self {
            name: said(NAME)?,
            fingerprint: said(FINGERPRINT)?,
        })
    }
}

/// Whether tokens of the mount are renewed without their certificate.
fn is_unbound(txn: &mut Txn<'_>, login_of: &Alias) -> Result<bool, DamagedRow> {
    let config = kept::config::<Config>(txn, login_of.mount)?;
    Ok(config.is_some_and(|config| config.value.disable_binding))
}

/// Whether somebody else's certificate was shown beside a token of this login. A new certificate of the same name is not somebody else's.
#[must_use]
pub fn is_beside_another(login_of: &Alias, chain: &[Vec<u8>]) -> bool {
    chain
        .first()
        .is_some_and(|leaf| Facts::read(leaf).map_or(true, |facts| facts.common_name != login_of.name))
}

/// What tells a certificate from all others.
pub(super) fn fingerprint(leaf: &[u8]) -> String {
    hex::encode(&aumbry_crypto::sha256(&[leaf]))
}
