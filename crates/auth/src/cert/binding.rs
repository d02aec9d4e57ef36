//! What a token has to do with the certificate that it was given for.

use aumbry_barrier::Txn;
use aumbry_types::hex;

use super::config::Config;
use super::facts::Facts;
use super::login::{FINGERPRINT, LoginRequest, NAME, login, prepare};
use crate::answer::LoginError;
use crate::kept;
use crate::token::Alias;

/// Whether a token of this login may be renewed on a connection that showed these certificates: the one that it was given for, which would still get in.
///
/// # Errors
/// [`LoginError`]
pub fn check_renewal(
    txn: &mut Txn<'_>,
    login_of: &Alias,
    chain: &[Vec<u8>],
    client_address: &str,
) -> Result<(), LoginError> {
    let mount = login_of.mount;
    let config = kept::config::<Config>(txn, mount)?;
    if config.is_some_and(|config| config.value.disable_binding) {
        return Ok(());
    }
    // A login of before there was any binding says nothing of its certificate.
    let said = |name: &str| {
        login_of
            .metadata
            .get(name)
            .ok_or(LoginError::Because("no certificate on record"))
    };
    let leaf = chain.first().ok_or(LoginError::Because("no certificate"))?;
    if *said(FINGERPRINT)? != fingerprint(leaf) {
        return Err(LoginError::Because("another certificate"));
    }
    let request = LoginRequest::again(said(NAME)?, leaf);
    let verified = prepare(txn, mount, &request)?.verify(chain);
    login(txn, mount, &verified, client_address).map(drop)
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
