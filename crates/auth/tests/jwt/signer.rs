//! An issuer's key: it signs tokens, well or ill, and tells its public part. The black-box tests include this file too.

#![allow(unreachable_pub, reason = "one of those who include this file says it to others")]
#![allow(dead_code, reason = "as that")]

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key with a name.
pub struct Signer {
    kid: String,
    algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// A new key for an algorithm.
    #[must_use]
    pub fn make(kid: &str, algorithm: &'static str) -> Self {
        let rsa = |encoding| {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made");
            Pair::Rsa(Box::new(pair), encoding)
        };
        let ec = |algorithm, curve| Pair::Ec(EcdsaKeyPair::generate(algorithm).expect("a key can be made"), curve);
        let pair = match algorithm {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            "PS512" => rsa(&RSA_PSS_SHA512),
            "ES256" => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            "ES384" => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().expect("a key can be made")),
            other => panic!("no key is made for {other}"),
        };
        Self {
            kid: kid.to_owned(),
            algorithm,
            pair,
        }
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({ "alg": self.algorithm, "kid": self.kid, "typ": "JWT" }), claims)
    }

    /// A token with this head.
    #[must_use]
    pub fn sign_as(&self, head: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(head.to_string()), encode(claims.to_string()));
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).expect("signs");
                signature
            }
            Pair::Ec(pair, _) => pair.sign(&random, message).expect("signs").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key as one of a set (RFC 7517).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.pair {
            Pair::Rsa(pair, _) => {
                // A sequence of two numbers (RFC 8017), the first with a zero before it.
                let der = pair.public_key().as_ref();
                assert_eq!((der.len(), der[8]), (270, 0), "a key of 2,048 bits");
                json!({ "kty": "RSA", "n": text(&der[9..265]), "e": text(&der[267..]) })
            }
            Pair::Ec(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }),
        };
        key["kid"] = json!(self.kid);
        key["use"] = json!("sig");
        key["alg"] = json!(self.algorithm);
        key
    }

    /// The public key in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Rsa(pair, _) => pair.public_key().as_der().expect("has a form"),
            Pair::Ec(pair, _) => pair.public_key().as_der().expect("has a form"),
            Pair::Ed(pair) => pair.public_key().as_der().expect("has a form"),
        };
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = (0..text.len())
            .step_by(64)
            .map(|at| &text[at..text.len().min(at + 64)])
            .collect();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        )
    }
}

/// A token that somebody signed by HMAC-SHA-256 with what everybody knows: the oldest of the attacks.
#[must_use]
pub fn sign_hmac(secret: &[u8], claims: &Value) -> String {
    let head = json!({ "alg": "HS256", "typ": "JWT" });
    let signed = format!("{}.{}", encode(head.to_string()), encode(claims.to_string()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// A token that nobody signed.
#[must_use]
pub fn unsigned(claims: &Value) -> String {
    let head = json!({ "alg": "none" });
    format!("{}.{}.", encode(head.to_string()), encode(claims.to_string()))
}

fn encode(text: String) -> String {
    URL_SAFE_NO_PAD.encode(text)
}
