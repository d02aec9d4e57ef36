//! A token as it is shown, before anything of it is believed.

use aumbry_crypto::jws::Algorithm;
use aumbry_logical::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::Reason;

/// A token: three parts, of which the last signs the others. What it claims is worth nothing until its signature was verified.
pub struct Token {
    algorithm: Algorithm,
    kid: Option<String>,
    /// The first two parts, as they were sent: what is signed.
    signed: Vec<u8>,
    signature: Vec<u8>,
    claims: Value,
}

impl Token {
    /// Takes a token apart. Of its head, the algorithm and the name of the key are looked at, and no key that it brings along or points to.
    ///
    /// # Errors
    /// [`Reason`]
    pub fn parse(text: &[u8]) -> Result<Self, Reason> {
        let malformed = || Reason("malformed");
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Reason("too long"));
        }
        let text = std::str::from_utf8(text).map_err(|_| malformed())?;
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (head, claims) = signed.split_once('.').ok_or_else(malformed)?;
        if head.len() > HEAD_BYTES_MAX || claims.contains('.') {
            return Err(malformed());
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let object = |part: &str| {
            let body = Body::parse(&decode(part)?).map_err(|_| malformed())?;
            Ok::<_, Reason>(body.object().clone())
        };
        let head = object(head)?;
        // What must be understood is not; what fetches a key from where the token says lets anybody sign.
        if ["crit", "jku", "x5u", "jwk"]
            .iter()
            .any(|field| head.contains_key(*field))
        {
            return Err(Reason("critical header"));
        }
        let algorithm = head.get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
        let kid = match head.get("kid") {
            None | Some(Value::Null) => None,
            Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.clone()),
            Some(_) => return Err(malformed()),
        };
        Ok(Self {
            algorithm: algorithm.ok_or(Reason("algorithm"))?,
            kid,
            signed: signed.as_bytes().to_vec(),
            signature: decode(signature)?,
            claims: Value::Object(object(claims)?),
        })
    }

    /// How it says that it is signed.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// By which key, if it says so.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub(super) fn signed(&self) -> &[u8] {
        &self.signed
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// One of its claims, for who has verified it.
    pub(super) fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name).filter(|value| !value.is_null())
    }

    /// What it claims, once it is verified.
    pub(crate) fn into_claims(self) -> Value {
        self.claims
    }
}

/// Tokens with hundreds of groups have some twenty kilobytes.
pub(super) const TOKEN_BYTES_MAX: usize = 32 << 10;
/// A name of an algorithm, one of a key, and a certificate's digest.
const HEAD_BYTES_MAX: usize = 4 << 10;
/// Names of keys are digests or URLs.
pub(super) const KID_BYTES_MAX: usize = 256;
