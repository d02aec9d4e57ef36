//! Ed25519 signatures (RFC 8032) for checkpoints of the audit log.
//!
//! What it guarantees: signing is deterministic, and a verifying key has a fingerprint to compare by eye. What it does
//! not do: refuse weak public keys when they are read. A key is trusted because it was pinned, or was signed by one that
//! was.

use aumbry_types::SecretKey;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::sha256;

/// A signing key. It has neither `Debug` nor `Clone`.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// The key of this seed (RFC 8032, section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &SecretKey) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose());
        let pair = pair.expect("any 32 bytes are a seed");
        let public = pair.public_key().as_ref().try_into();
        Self {
            verifying: VerifyingKey(public.expect("a public key has 32 bytes")),
            pair,
        }
    }

    /// Signs a message. The caller puts a label into it that says what is signed.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair
            .sign(message)
            .as_ref()
            .try_into()
            .expect("a signature has 64 bytes")
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }
}

/// A public key, as it is published and pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// Takes the bytes as they are. With bytes that are no key, nothing verifies.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The encoding of RFC 8032.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256 of a label and the key: what `init` prints and clients pin.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&[FINGERPRINT_LABEL, &self.0])
    }

    /// Whether this is a signature of the message by the holder of the key.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

const FINGERPRINT_LABEL: &[u8] = b"aumbry/signature/ed25519/1\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, unhex};

    fn check(seed: &str, public: &str, message: &str, signature: &str) {
        let mut seed: [u8; 32] = unhex(seed).try_into().expect("32 bytes");
        let key = SigningKey::from_seed(&SecretKey::take(&mut seed));
        assert_eq!(hex(key.verifying_key().as_bytes()), public);
        let message = unhex(message);
        let mut made = key.sign(&message);
        assert_eq!(hex(&made), signature);
        let verifying = *key.verifying_key();
        assert!(verifying.verify(&message, &made));
        assert!(!verifying.verify(b"other", &made));
        assert!(!VerifyingKey::from_bytes([2; 32]).verify(&message, &made));
        made[63] ^= 1;
        assert!(!verifying.verify(&message, &made));
    }

    #[test]
    fn agrees_with_rfc_8032() {
        check(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b",
        );
        check(
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
             387b2eaeb4302aeeb00d291612bb0c00",
        );
        check(
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659\
             4a7c15e9716ed28dc027beceea1ec40a",
        );
    }

    #[test]
    fn frozen_fingerprint() {
        assert_eq!(
            hex(&VerifyingKey::from_bytes([7; 32]).fingerprint()),
            "fb97c1d20c7eef37e89e6083543883100fe52876412f8db6d5cbd066ef7cfa17"
        );
    }
}
