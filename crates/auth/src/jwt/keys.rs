//! The keys of an issuer: from its set of keys in JSON (RFC 7517), or from PEM.

use aumbry_crypto::jws::{Algorithm, PublicKey};
use aumbry_logical::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde_json::Value;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::token::KID_BYTES_MAX;
use super::{Reason, Token};
use crate::fields::is_url_with_query;

/// The keys of an issuer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug, PartialEq, Eq)]
struct Key {
    kid: Option<String>,
    /// The one algorithm that its issuer uses it for, if the issuer says so.
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

/// Why what a service sent is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not JSON of the form that it should have.
    #[error("the answer is not what it should be: a JSON object of bounded size and depth")]
    Form,
    /// There is no key in it that verifies a token.
    #[error("the set holds no key that can be used, or more than 100")]
    NoKeys,
    /// It describes another issuer than the one that was asked.
    #[error("the discovery document names another issuer, or keys that are not behind https")]
    Issuer,
}

impl KeySet {
    /// Reads a set of keys. Those that are for something else, or of a kind that nothing is known of, are left out.
    ///
    /// # Errors
    /// [`AnswerError`]
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let body = Body::parse(bytes).map_err(|_| AnswerError::Form)?;
        let keys = body.get("keys").and_then(Value::as_array).ok_or(AnswerError::Form)?;
        let keys: Vec<Key> = keys.iter().filter_map(parse_key).take(KEYS_MAX + 1).collect();
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(AnswerError::NoKeys);
        }
        Ok(Self { keys })
    }

    /// Reads public keys or certificates in PEM, one a text. `None` if one is neither.
    pub(crate) fn of_pem(texts: &[String]) -> Option<Self> {
        let keys = texts.iter().map(|text| {
            Some(Key {
                kid: None,
                algorithm: None,
                key: key_of_pem(text)?,
            })
        });
        Some(Self {
            keys: keys.collect::<Option<_>>()?,
        })
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies a token's signature by the key that it names, or, if it or the keys have no names, by any that fits.
    ///
    /// # Errors
    /// [`Reason`]; [`Reason::may_be_new`] says whether other keys could change that.
    pub fn verify(&self, token: &Token, allowed: &[Algorithm]) -> Result<(), Reason> {
        let algorithm = token.algorithm();
        if !allowed.is_empty() && !allowed.contains(&algorithm) {
            return Err(Reason("algorithm"));
        }
        let is_named = |key: &&Key| match (&key.kid, token.kid()) {
            (Some(kid), Some(wanted)) => kid == wanted,
            _ => true,
        };
        let fits = |key: &&Key| key.key.fits(algorithm) && key.algorithm.is_none_or(|own| own == algorithm);
        let mut fitting = self
            .keys
            .iter()
            .filter(is_named)
            .filter(fits)
            .take(TRIED_MAX)
            .peekable();
        if fitting.peek().is_none() {
            return Err(Reason::NO_KEY);
        }
        if fitting.any(|key| key.key.verify(algorithm, token.signed(), token.signature())) {
            Ok(())
        } else {
            Err(Reason::SIGNATURE)
        }
    }
}

/// What an issuer tells of itself.
pub struct Discovered {
    /// Where its keys are.
    pub keys: String,
    /// Where it lets in people, if it does.
    pub provider: Option<Provider>,
}

/// Where an issuer lets in people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Where browsers are sent.
    pub authorization: String,
    /// Where codes are exchanged.
    pub token: String,
    /// Whether it says who it is wherever it sends a browser back (RFC 9207).
    pub names_itself: bool,
}

/// Reads what an issuer tells of itself.
///
/// # Errors
/// [`AnswerError`]: an issuer speaks for itself alone.
pub fn parse_discovery(bytes: &[u8], issuer: &str) -> Result<Discovered, AnswerError> {
    let body = Body::parse(bytes).map_err(|_| AnswerError::Form)?;
    let field = |name: &str| body.get(name).and_then(Value::as_str).ok_or(AnswerError::Form);
    let keys = field("jwks_uri")?;
    let is_same = field("issuer")?.trim_end_matches('/') == issuer.trim_end_matches('/');
    if !is_same || !is_url_with_query(keys) {
        return Err(AnswerError::Issuer);
    }
    let endpoint = |name: &str| {
        let url = body.get(name).and_then(Value::as_str);
        url.filter(|url| is_url_with_query(url)).map(str::to_owned)
    };
    let provider = endpoint("authorization_endpoint").zip(endpoint("token_endpoint"));
    let names_itself = body.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true));
    Ok(Discovered {
        keys: keys.to_owned(),
        provider: provider.map(|(authorization, token)| Provider {
            authorization,
            token,
            names_itself,
        }),
    })
}

/// A key of a set, if it is one that verifies signatures.
fn parse_key(value: &Value) -> Option<Key> {
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    let bytes = |name: &str| field(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    if field("use").is_some_and(|usage| usage != "sig") {
        return None;
    }
    let algorithm = match field("alg") {
        None => None,
        Some(name) => Some(Algorithm::parse(name)?),
    };
    let point = |bytes_max: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        (x.len() == bytes_max && y.len() == bytes_max).then(|| [&[4], &x[..], &y[..]].concat())
    };
    let key = match (field("kty")?, field("crv")) {
        ("RSA", _) => PublicKey::Rsa {
            n: bytes("n")?,
            e: bytes("e")?,
        },
        ("EC", Some("P-256")) => PublicKey::P256(point(32)?),
        ("EC", Some("P-384")) => PublicKey::P384(point(48)?),
        ("EC", Some("P-521")) => PublicKey::P521(point(66)?),
        ("OKP", Some("Ed25519")) => PublicKey::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
        _ => return None,
    };
    let kid = field("kid").map(str::to_owned);
    (kid.as_ref().is_none_or(|kid| kid.len() <= KID_BYTES_MAX)).then_some(Key { kid, algorithm, key })
}

/// The key of a PEM text that holds a public key or a certificate.
fn key_of_pem(text: &str) -> Option<PublicKey> {
    if text.len() > PEM_BYTES_MAX {
        return None;
    }
    if let Ok(spki) = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()) {
        return key_of_spki(&SubjectPublicKeyInfo::from_der(&spki).ok()?.1);
    }
    let certificate = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&certificate).ok()?;
    key_of_spki(certificate.public_key())
}

fn key_of_spki(spki: &SubjectPublicKeyInfo<'_>) -> Option<PublicKey> {
    let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let curve = curve.map(|oid| oid.to_id_string());
    match (spki.algorithm.algorithm.to_id_string().as_str(), curve.as_deref()) {
        (RSA, _) => match spki.parsed().ok()? {
            Parsed::RSA(key) => Some(PublicKey::Rsa {
                n: key.modulus.to_vec(),
                e: key.exponent.to_vec(),
            }),
            _ => None,
        },
        (EC, Some(P256)) => Some(PublicKey::P256(spki.subject_public_key.data.to_vec())),
        (EC, Some(P384)) => Some(PublicKey::P384(spki.subject_public_key.data.to_vec())),
        (EC, Some(P521)) => Some(PublicKey::P521(spki.subject_public_key.data.to_vec())),
        (ED25519, None) => Some(PublicKey::Ed25519(spki.subject_public_key.data.to_vec())),
        _ => None,
    }
}

const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";
const ED25519: &str = "1.3.101.112";
/// The largest issuers have some twenty.
const KEYS_MAX: usize = 100;
/// Verifying takes up to a fifth of a millisecond; only tokens without a key's name try more than one.
const TRIED_MAX: usize = 16;
/// A certificate with a key of 8,192 bits has 4 KiB.
const PEM_BYTES_MAX: usize = 16 << 10;
