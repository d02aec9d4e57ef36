//! The three digests of a record: what stands in the log in clear, and what stands for a value inside a record.
//!
//! Each begins with its own label that ends in a zero byte, so that no input of one is an input of another.

use aumbry_crypto as crypto;
use aumbry_types::{SecretKey, StorageId};

use crate::Field;

/// The commitment to one record: `SHA-256(label | storage_id | salt | record)`. It hides the record as long as the
/// salt is secret, and opens to one record only. The storage id keeps a record from passing for one of another store.
#[must_use]
pub fn commitment(storage_id: &StorageId, salt: &[u8; 16], record: &[u8]) -> [u8; 32] {
    crypto::sha256(&[RECORD_LABEL, storage_id.as_bytes(), salt, record])
}

/// The commitment to content that stands in clear, because apply, which has no salt and no key, made it:
/// `SHA-256(label | content)`.
#[must_use]
pub fn clear_commitment(content: &[u8]) -> [u8; 32] {
    crypto::sha256(&[CLEAR_LABEL, content])
}

/// The digest of a value that must not stand in a record: HMAC under the key for fields. The same value gives the
/// same digest in every field and record, so that whoever may ask the store for a digest can look a value up.
#[must_use]
pub fn redact(key: &SecretKey, value: &[u8]) -> Field {
    Field::Hmac(crypto::mac16(key, &[FIELD_LABEL, value]))
}

const RECORD_LABEL: &[u8] = b"aumbry/audit/record/1\0";
const CLEAR_LABEL: &[u8] = b"aumbry/audit/clear/1\0";
const FIELD_LABEL: &[u8] = b"aumbry/audit/field/1\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn a_commitment_binds_each_of_its_parts() {
        let here = StorageId::from_bytes([1; 16]);
        let base = commitment(&here, &[2; 16], b"record");
        assert_ne!(base, commitment(&StorageId::from_bytes([3; 16]), &[2; 16], b"record"));
        assert_ne!(base, commitment(&here, &[3; 16], b"record"));
        assert_ne!(base, commitment(&here, &[2; 16], b"recorD"));
        assert_ne!(base, clear_commitment(b"record"));
    }

    #[test]
    fn frozen_commitments() {
        let id = StorageId::from_bytes([1; 16]);
        assert_eq!(
            hex::encode(&commitment(&id, &[2; 16], b"record")),
            "18d270f5727c1e154002675e04ce40854248868dfb3ea8dec2dc6f52d997f7ff"
        );
        assert_eq!(
            hex::encode(&clear_commitment(b"content")),
            "db6e8c7312187f66f19dd42a592262f3dcad695b62272ce037365f224994b026"
        );
        let Field::Hmac(digest) = redact(&SecretKey::take(&mut [7; 32]), b"value") else {
            panic!("a redacted value is a digest");
        };
        assert_eq!(hex::encode(&digest), "fc7db658c5040ac65490bcc70364d62f");
    }
}
