//! The keys of an issuer, as somebody on the way or the issuer itself may send them: bounded, of public keys alone, and a token is verified by none but its own.

use aumbry_auth::jwt::{KeySet, Token, parse_discovery};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::jwt::{sign, signer};
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "jwks",
    seeds,
    run,
    words: &[
        b"\"kty\":",
        b"\"oct\"",
        b"\"OKP\"",
        b"\"EC\"",
        b"\"RSA\"",
        b"\"crv\":",
        b"\"Ed25519\"",
        b"\"alg\":",
        b"\"none\"",
        b"\"use\":\"enc\"",
        b"\"kid\":",
        b"\"keys\":[",
        b"{},",
    ],
    input_bytes_max: 2_048,
    ..Target::USUAL
};

fn own() -> String {
    URL_SAFE_NO_PAD.encode(signer().verifying_key().as_bytes())
}

fn seeds() -> Vec<Vec<u8>> {
    let own = json!({ "kty": "OKP", "crv": "Ed25519", "x": own(), "kid": "k", "use": "sig", "alg": "EdDSA" });
    let rsa = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xa1; 256]), "e": "AQAB", "kid": "r" });
    let other = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([1; 32]) });
    let secret = json!({ "kty": "oct", "k": "c2VjcmV0" });
    [
        json!({ "keys": [own] }),
        json!({ "keys": [rsa, secret, own, { "kty": "new" }] }),
        json!({ "keys": [other] }),
        json!({ "keys": [secret] }),
        json!({ "issuer": ISSUER, "jwks_uri": "https://issuer.example/keys", "authorization_endpoint": "https://issuer.example/a",
            "token_endpoint": "https://issuer.example/t" }),
    ]
    .map(|set| set.to_string().into_bytes())
    .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let (keys, discovered) = bounded(input, MEMORY, || (KeySet::parse(input), parse_discovery(input, ISSUER)));
    let document: Option<Value> = serde_json::from_slice(input).ok();
    let field = |name: &str| document.as_ref()?.get(name)?.as_str();
    if let Ok(found) = &discovered {
        assert_eq!(
            field("issuer").map(|issuer| issuer.trim_end_matches('/')),
            Some(ISSUER),
            "an issuer speaks for itself"
        );
        assert_eq!(field("jwks_uri"), Some(found.keys.as_str()));
        let addresses = found
            .provider
            .iter()
            .flat_map(|provider| [&provider.authorization, &provider.token]);
        for address in addresses.chain([&found.keys]) {
            assert!(address.starts_with("https://"), "nothing is fetched without TLS");
        }
    }
    let Ok(keys) = keys else {
        return Verdict::of(discovered.is_ok());
    };
    let set = document.as_ref().and_then(|document| document.get("keys")?.as_array());
    let set = set.expect("a set of keys is a list in an object");
    assert!(
        set.iter().any(|key| key.get("kty") != Some(&json!("oct"))),
        "a secret is no public key"
    );
    let token = Token::parse(&sign(b"{}")).expect("is a token");
    let has_own = set.iter().any(|key| key.get("x") == Some(&json!(own())));
    let is_verified = bounded(input, MEMORY, || keys.verify(&token, &[])).is_ok();
    assert!(!is_verified || has_own, "a token is verified by its own key alone");
    Verdict::Accepted
}

const ISSUER: &str = "https://issuer.example";
/// As JSON, and decoded.
const MEMORY: Memory = Memory {
    per_byte: 128,
    at_least: 64 << 10,
};
