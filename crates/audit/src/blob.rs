//! All records of one log entry under one AEAD, so that the price of encryption is paid once an entry.
//!
//! What it guarantees: a blob opens only for the store and the list of commitments that it was sealed for, and what it
//! opens to are the records that the commitments commit to, in their order. So a leader can neither record one thing
//! in clear and another in the blob, nor move a blob to another entry. What it does not do: hide how many records
//! there are, or their size together. It does not compress: records of different tenants share a blob, and a length
//! that depends on both would tell one about the other.

use aumbry_crypto::envelope;
use aumbry_types::{Entropy, SecretBytes, SecretKey, StorageId};

use crate::codec::{Decoder, Encoder};
use crate::commitment;

/// Why a blob did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The key is another epoch's, or the blob, the store or a commitment is not the one it was sealed for.
    #[error("the audit records of the entry do not open; check the key's epoch and that the entry is unaltered")]
    Envelope(#[source] envelope::OpenError),
    /// It opened, and did not hold what a blob holds.
    #[error("the audit records of the entry are malformed; the leader that wrote them was faulty")]
    Malformed,
    /// It opened, and a record is not the one that was committed to.
    #[error("audit record {position} of the entry is not the one committed to; the leader that wrote it was faulty")]
    Mismatch {
        /// Which record of the entry, from 0.
        position: usize,
    },
}

/// Seals the records of one entry, each with the salt of its commitment, under the audit key of an epoch.
///
/// # Panics
/// If there is not one commitment for each record, in the order of the entry's commands: such a blob never opens.
#[must_use]
pub fn seal(
    key: &SecretKey,
    epoch: u32,
    storage_id: &StorageId,
    commitments: &[[u8; 32]],
    records: &[(Vec<u8>, [u8; 16])],
    entropy: &dyn Entropy,
) -> Vec<u8> {
    assert_eq!(commitments.len(), records.len(), "each record has a commitment");
    let mut plain = Encoder::new(VERSION);
    for (record, salt) in records {
        plain.fixed(salt);
        plain.bytes(record);
    }
    // The wrapper wipes the plaintext when the envelope is made.
    let plain = SecretBytes::new(plain.finish());
    envelope::seal(
        key,
        epoch,
        &associated_data(storage_id, commitments),
        plain.expose(),
        entropy,
    )
}

/// Opens the blob of one entry to its records and salts, and checks each against its commitment.
///
/// # Errors
/// See [`OpenError`].
#[expect(
    clippy::type_complexity,
    reason = "a record with its salt is a pair here as in the blob"
)]
pub fn open(
    key: &SecretKey,
    storage_id: &StorageId,
    commitments: &[[u8; 32]],
    blob: &[u8],
) -> Result<Vec<(Vec<u8>, [u8; 16])>, OpenError> {
    let plain = envelope::open(key, &associated_data(storage_id, commitments), blob).map_err(OpenError::Envelope)?;
    let records = decode(plain.expose(), commitments.len()).ok_or(OpenError::Malformed)?;
    let differs = |((record, salt), committed): (&(Vec<u8>, [u8; 16]), &[u8; 32])| {
        commitment(storage_id, salt, record) != *committed
    };
    match records.iter().zip(commitments).position(differs) {
        Some(position) => Err(OpenError::Mismatch { position }),
        None => Ok(records),
    }
}

/// The epoch of the audit key that a blob is sealed under, if the bytes look like a blob at all.
#[must_use]
pub fn epoch(blob: &[u8]) -> Option<u32> {
    envelope::term(blob).ok()
}

fn decode(plain: &[u8], count: usize) -> Option<Vec<(Vec<u8>, [u8; 16])>> {
    let mut input = Decoder::new(plain);
    input.version(VERSION)?;
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        let salt = input.fixed()?;
        records.push((input.bytes()?.to_vec(), salt));
    }
    input.finish()?;
    Some(records)
}

/// `label | storage_id | commitment*`: the label and the id have fixed lengths, so there is one way to read it.
fn associated_data(storage_id: &StorageId, commitments: &[[u8; 32]]) -> Vec<u8> {
    [LABEL, storage_id.as_bytes(), commitments.as_flattened()].concat()
}

const VERSION: u8 = 1;
const LABEL: &[u8] = b"aumbry/audit/blob/1\0";

#[cfg(test)]
mod tests {
    use aumbry_types::SimulatedEntropy;

    use super::*;
    use crate::hex;

    fn store() -> StorageId {
        StorageId::from_bytes([1; 16])
    }

    fn key() -> SecretKey {
        SecretKey::take(&mut [7; 32])
    }

    fn records() -> Vec<(Vec<u8>, [u8; 16])> {
        vec![
            (b"first".to_vec(), [2; 16]),
            (b"".to_vec(), [3; 16]),
            (b"third".to_vec(), [4; 16]),
        ]
    }

    fn commitments(records: &[(Vec<u8>, [u8; 16])]) -> Vec<[u8; 32]> {
        records
            .iter()
            .map(|(record, salt)| commitment(&store(), salt, record))
            .collect()
    }

    fn sealed(commitments: &[[u8; 32]]) -> Vec<u8> {
        seal(&key(), 5, &store(), commitments, &records(), &SimulatedEntropy::new(1))
    }

    #[test]
    fn frozen_blob() {
        let blob = sealed(&commitments(&records()));
        assert_eq!(epoch(&blob), Some(5));
        let frozen = "010100000005c15c0289ec2d0a9167ec8e65a18debbe5e5532fbeea293f811b88c11c2df0790ac0ffe998712\
                      adc6c98dd2cf69aaa5296438aab49258d4adaf3bbccbe2faa71d59a0073ed5c217fabf13ea2b0c60f0632914\
                      49767126cbf54c14419d99b7b90bc8a367e2510d173256cedb07bcb80eaa9ced17b8a446";
        assert_eq!(hex::encode(&blob), frozen);
        assert_eq!(
            open(&key(), &store(), &commitments(&records()), &blob).unwrap(),
            records()
        );
    }

    #[test]
    fn a_blob_opens_for_its_own_entry_only() {
        let own = commitments(&records());
        let blob = sealed(&own);
        let swapped = vec![own[1], own[0], own[2]];
        let mut flipped = blob.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let other_key = SecretKey::take(&mut [8; 32]);
        let other_store = StorageId::from_bytes([9; 16]);
        assert!(matches!(
            open(&other_key, &store(), &own, &blob),
            Err(OpenError::Envelope(_))
        ));
        assert!(matches!(
            open(&key(), &other_store, &own, &blob),
            Err(OpenError::Envelope(_))
        ));
        assert!(matches!(
            open(&key(), &store(), &swapped, &blob),
            Err(OpenError::Envelope(_))
        ));
        assert!(matches!(
            open(&key(), &store(), &own[..2], &blob),
            Err(OpenError::Envelope(_))
        ));
        assert!(matches!(
            open(&key(), &store(), &own, &flipped),
            Err(OpenError::Envelope(_))
        ));
        assert!(matches!(open(&key(), &store(), &own, &[]), Err(OpenError::Envelope(_))));
    }

    #[test]
    fn a_leader_cannot_commit_to_one_record_and_seal_another() {
        let mut lie = records();
        lie[2].0 = b"other".to_vec();
        let commitments = commitments(&lie);
        assert!(matches!(
            open(&key(), &store(), &commitments, &sealed(&commitments)),
            Err(OpenError::Mismatch { position: 2 })
        ));
    }
}
