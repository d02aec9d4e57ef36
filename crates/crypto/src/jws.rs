//! Signatures of others over JSON web tokens (RFC 7515, 7518, 8037), which are only ever verified.
//!
//! What it guarantees: a key has one type, and verifies only what is signed by an algorithm of that type, so that nobody who writes a token chooses how
//! it is verified. There is no algorithm without a key, and none whose key is a secret: `none` and HMAC cannot be named.
//! What it does not do: read tokens or sets of keys.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// RSA, PKCS #1 v1.5, SHA-384.
    Rs384,
    /// RSA, PKCS #1 v1.5, SHA-512.
    Rs512,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// RSA, PSS, SHA-384.
    Ps384,
    /// RSA, PSS, SHA-512.
    Ps512,
    /// ECDSA, P-256, SHA-256.
    Es256,
    /// ECDSA, P-384, SHA-384.
    Es384,
    /// ECDSA, P-521, SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// Its name in tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA of 2,048 to 8,192 bits: modulus and exponent, big-endian.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
    /// A point of P-256, uncompressed (X9.62).
    P256(Vec<u8>),
    /// A point of P-384, uncompressed.
    P384(Vec<u8>),
    /// A point of P-521, uncompressed.
    P521(Vec<u8>),
    /// Ed25519, as RFC 8032 encodes it.
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// Whether the key is of the type that the algorithm takes.
    #[must_use]
    pub const fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        matches!(
            (self, algorithm),
            (Self::Rsa { .. }, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
                | (Self::P256(_), Es256)
                | (Self::P384(_), Es384)
                | (Self::P521(_), Es512)
                | (Self::Ed25519(_), EdDsa)
        )
    }

    /// Whether this is a signature of the message by the holder of the key. Never for an algorithm that the key does not fit, or a key that is none.
    #[must_use]
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key)
                .verify(message, signature)
                .is_ok()
        };
        match (self, algorithm) {
            (Self::Rsa { n, e }, algorithm) => {
                let key = RsaPublicKeyComponents {
                    n: without_zeros(n),
                    e: without_zeros(e),
                };
                rsa(algorithm).is_some_and(|parameters| key.verify(parameters, message, signature).is_ok())
            }
            (Self::P256(key), Algorithm::Es256) => by(&ECDSA_P256_SHA256_FIXED, key),
            (Self::P384(key), Algorithm::Es384) => by(&ECDSA_P384_SHA384_FIXED, key),
            (Self::P521(key), Algorithm::Es512) => by(&ECDSA_P521_SHA512_FIXED, key),
            (Self::Ed25519(key), Algorithm::EdDsa) => by(&ED25519, key),
            _ => false,
        }
    }
}

const fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => return None,
    })
}

/// DER and some issuers write a zero before a number.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;

    #[test]
    fn a_name_is_one_algorithm_and_none_is_without_a_public_key() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
        }
        for name in ["none", "None", "HS256", "HS512", "rs256", "", "RS256 ", "ES256K"] {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
    }

    /// RFC 8037, appendix A.4.
    #[test]
    fn a_key_verifies_by_its_own_algorithm_alone() {
        let key = PublicKey::Ed25519(unhex(
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ));
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let mut signature = unhex(
            "860c98d2297f3060a33f42739672d61b53cf3adefed3d3c672f320dc021b411e\
             9d59b8628dc351e248b88b29468e0e41855b0fb7d83bb15be902bfccb8cd0a02",
        );
        for algorithm in Algorithm::ALL {
            let is_its_own = algorithm == Algorithm::EdDsa;
            assert_eq!(key.fits(algorithm), is_its_own, "{algorithm:?}");
            assert_eq!(key.verify(algorithm, message, &signature), is_its_own, "{algorithm:?}");
        }
        assert!(!key.verify(Algorithm::EdDsa, b"another", &signature));
        signature[0] ^= 1;
        assert!(!key.verify(Algorithm::EdDsa, message, &signature));
    }

    #[test]
    fn what_is_no_key_verifies_nothing() {
        let keys = [
            PublicKey::Rsa { n: vec![], e: vec![] },
            PublicKey::Rsa {
                n: vec![0; 256],
                e: vec![0],
            },
            PublicKey::Rsa {
                n: vec![7; 64],
                e: vec![3],
            },
            PublicKey::P256(vec![4; 65]),
            PublicKey::P384(vec![]),
            PublicKey::P521(vec![0; 133]),
            PublicKey::Ed25519(vec![2; 31]),
        ];
        for key in keys {
            for algorithm in Algorithm::ALL {
                for length in [0, 64, 96, 132, 256] {
                    assert!(
                        !key.verify(algorithm, b"message", &vec![0; length]),
                        "{key:?} {algorithm:?}"
                    );
                }
            }
        }
    }
}
