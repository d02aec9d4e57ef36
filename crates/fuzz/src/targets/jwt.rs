//! A token of somebody else's issuer, as it is shown: what the issuer signed lets in, and nothing that was changed since, however it is encoded.

use aumbry_auth::jwt::{self, KeySource, Token};
use aumbry_auth::{LoginError, Voucher};
use aumbry_crypto::signature::SigningKey;
use aumbry_types::SecretKey;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{HERE, MOUNT, jwt_write, sendable};
use crate::check::{Memory, bounded};
use crate::store::Bed;
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "jwt",
    seeds,
    run,
    words: &[
        b".",
        b"..",
        b"eyJ",
        b"eyJhbGciOiJub25lIn0",
        b"eyJhbGciOiJIUzI1NiJ9",
        b"=",
        b"_",
        b"e30",
    ],
    input_bytes_max: 2_048,
    smoke: 4_000,
    ..Target::USUAL
};

thread_local! {
    static BED: Bed = bed(&json!({ "user_claim": "sub", "bound_audiences": "aumbry" }));
}

/// A mount that takes what [`sign`] signs, with this role.
pub(super) fn bed(role: &Value) -> Bed {
    let mut bed = Bed::new(8);
    // The public key (RFC 8410): what stands before it is the same for all of its kind.
    let der = [&ED25519[..], signer().verifying_key().as_bytes()].concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(der)
    );
    jwt_write(&mut bed, "config", &json!({ "jwt_validation_pubkeys": [pem] }));
    jwt_write(&mut bed, "role/ci", role);
    bed
}

/// The issuer.
pub(super) fn signer() -> SigningKey {
    SigningKey::from_seed(&SecretKey::take(&mut [9; 32]))
}

/// A token with these claims, which need not be any.
pub(super) fn sign(claims: &[u8]) -> Vec<u8> {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = signer().sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()
}

/// Who is let in: the name, and metadata.
pub(super) type LoggedIn = (String, Vec<(String, String)>);

/// Who gets in with a token, and with what metadata; or the word why not, which goes to the record.
pub(super) fn login(bed: &Bed, token: &[u8]) -> Result<LoggedIn, &'static str> {
    let Ok(text) = core::str::from_utf8(token) else {
        return Err("malformed");
    };
    let body = sendable(&json!({ "role": "ci", "jwt": text })).ok_or("too long")?;
    let request = Voucher::parse(&body).map_err(|_| "missing")?;
    let challenge = bed
        .plan(|txn| jwt::prepare(txn, MOUNT))
        .0
        .expect("opens")
        .expect("is set up");
    let verified = bounded(token, MEMORY, || {
        Token::parse(token).and_then(|token| match challenge.source() {
            KeySource::Given(keys) => challenge.verify(&token, keys).map(|()| token),
            KeySource::Remote(_) => unreachable!("the keys are given"),
        })
    });
    let verified = challenge.conclude(verified);
    let login = bed.plan(|txn| {
        let login = jwt::login(txn, MOUNT, &request, &verified, HERE);
        assert!(login.is_ok() || txn.is_read_only(), "what is refused writes nothing");
        login
    });
    match login.0 {
        Ok(login) => Ok((login.alias, login.metadata.into_iter().collect())),
        Err(LoginError::Because(why)) => Err(why),
        Err(error) => panic!("a token is refused for a reason: {error}"),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let claims = json!({ "sub": "me", "aud": "aumbry", "iat": 1_700_000_000, "exp": 1_700_000_300 });
    let further = json!({ "sub": "you", "aud": ["x", "aumbry"], "iat": 1_700_000_000, "exp": 1_700_000_300, "groups": ["a", "b"] });
    [claims, further]
        .map(|claims| sign(claims.to_string().as_bytes()))
        .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let found = BED.with(|bed| login(bed, input));
    if let Ok((name, _)) = &found {
        assert!(
            seeds().iter().any(|seed| seed == input),
            "a token is good as it was signed"
        );
        assert!(name == "me" || name == "you");
    }
    Verdict::of(found.is_ok())
}

/// What a public key of Ed25519 begins with.
const ED25519: [u8; 12] = [0x30, 42, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 33, 0];
/// Decoded, and as JSON: each value some ten times its text.
const MEMORY: Memory = Memory {
    per_byte: 64,
    at_least: 64 << 10,
};
