//! Hashes, MACs and derived keys, the small tools of the other crates.
//!
//! What it guarantees: the parts of a MAC and the label of a key are framed by their lengths, so that no two different
//! calls mean the same bytes. What it does not do: frame [`sha256`], which must hash what RFC 6962 says, byte for byte.

use aumbry_types::SecretKey;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::primitives;

/// Derives the key of one purpose from a key that has many: `HKDF-SHA-256(salt = "", ikm, info = |label| label context)`
/// (RFC 5869), where `|label|` is the length of the label as a `u64` in network order.
///
/// The context is whatever binds the key to one place, such as a term or the id of the storage.
#[must_use]
pub fn derive_key(ikm: &SecretKey, label: &str, context: &[u8]) -> SecretKey {
    let mut key = Zeroizing::new([0; 32]);
    let info = [&length(label.as_bytes())[..], label.as_bytes(), context];
    primitives::hkdf_sha256(&[], ikm.expose(), &info, &mut *key);
    SecretKey::take(&mut key)
}

/// HMAC-SHA-256 (RFC 2104) over the parts, each with its length before it as a `u64` in network order.
///
/// The first part should be a label, if the key serves for more than one kind of message.
#[must_use]
pub fn mac(key: &SecretKey, parts: &[&[u8]]) -> [u8; 32] {
    let lengths: Vec<[u8; 8]> = parts.iter().map(|part| length(part)).collect();
    let framed = lengths.iter().zip(parts).flat_map(|(length, part)| [&length[..], part]);
    primitives::hmac_sha256(key.expose(), framed)
}

/// The first 16 bytes of [`mac`]: for names and look-ups, where 128 bits of a keyed hash are unguessable and unique.
#[must_use]
pub fn mac16(key: &SecretKey, parts: &[&[u8]]) -> [u8; 16] {
    *mac(key, parts).first_chunk().expect("a hash is longer than 16 bytes")
}

/// SHA-256 (FIPS 180-4) of the parts, one after the other and **not** framed: the caller sees to it that no two messages
/// have the same bytes.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    primitives::sha256(parts)
}

/// The hashes of FIPS 180-4 that are computed for others. Aumbry itself has no use for any but [`sha256`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKind {
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashKind {
    /// The hash of these bytes.
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> Vec<u8> {
        primitives::hash(self, bytes)
    }
}

/// Whether the bytes are equal, in a time that depends on the lengths alone.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn length(part: &[u8]) -> [u8; 8] {
    (part.len() as u64).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, key};

    #[test]
    fn parts_are_framed() {
        let key = key(1);
        let all: [&[&[u8]]; 6] = [
            &[],
            &[b""],
            &[b"", b""],
            &[b"ab"],
            &[b"a", b"b"],
            &[b"a\0\0\0\0\0\0\0\x01b"],
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(mac(&key, a), mac(&key, b), "{a:?} {b:?}");
            }
        }
        assert_eq!(mac16(&key, all[4])[..], mac(&key, all[4])[..16]);
    }

    #[test]
    fn derived_keys_differ_by_label_and_context() {
        let parent = key(1);
        let keys = [
            derive_key(&parent, "ab", b"c"),
            derive_key(&parent, "a", b"bc"),
            derive_key(&parent, "ab", b""),
            derive_key(&key(2), "ab", b"c"),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|b| !equal(a.expose(), b.expose())));
        }
    }

    #[test]
    fn equality() {
        assert!(equal(b"", b"") && equal(b"ab", b"ab"));
        assert!(!equal(b"ab", b"ac") && !equal(b"ab", b"abc"));
    }

    #[test]
    fn frozen_bytes() {
        assert_eq!(
            hex(&mac(&key(1), &[b"label", b"value"])),
            "6c89884bbfa1785845a9227f2deeef72ca0804ac4f9c220a02626e380e7338b0"
        );
        assert_eq!(
            hex(derive_key(&key(1), "label", b"context").expose()),
            "b57da1999768979d771c8bc0332a811b43e584418568efedfb479cc0e7162389"
        );
    }
}
