//! The access token that comes along with an ID token: the ID token may have a hash of it (OpenID Connect Core, section 3.1.3.6).

use aumbry_crypto::HashKind;
use aumbry_crypto::jws::Algorithm;
use aumbry_types::SecretBytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::jwt::{Reason, Token};

/// Compares the hash, if the token has one.
pub(in crate::jwt) fn check(token: &Token, access_token: &SecretBytes) -> Result<(), Reason> {
    let Some(told) = token.claim("at_hash") else {
        return Ok(());
    };
    let hash = hash(token.algorithm()).hash(access_token.expose());
    let half = URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2]);
    match told.as_str() {
        Some(told) if told == half => Ok(()),
        _ => Err(Reason("at_hash")),
    }
}

/// That of the signature.
const fn hash(algorithm: Algorithm) -> HashKind {
    match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => HashKind::Sha256,
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => HashKind::Sha384,
        Algorithm::Rs512 | Algorithm::Ps512 | Algorithm::Es512 | Algorithm::EdDsa => HashKind::Sha512,
    }
}
