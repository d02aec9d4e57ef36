//! A receipt: what whoever made a request is given, to be able to prove later that its record is in the log.
//!
//! It is a signed note (C2SP `signed-note`) by the key that signs checkpoints, so it is evidence against whoever holds that key: a log
//! without that leaf at that place, or without that tree at that size, is not the one that was told of. It does not show what the answer
//! was: the record does, as far as it says so, and the leaf commits to the record.

use aumbry_crypto::signature::{SigningKey, VerifyingKey};
use aumbry_types::{RequestId, StorageId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{check_note, number, sign_note};
use crate::{CheckpointError, hex, text};

/// The place of one record, and the tree that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The store that the log is of.
    pub storage_id: StorageId,
    /// The position of the record in the tree.
    pub seq: u64,
    /// The position of its entry in the Raft log.
    pub index: u64,
    /// The request that it is of.
    pub request_id: RequestId,
    /// The hash of the record's leaf.
    pub leaf: [u8; 32],
    /// The number of leaves of the tree when the receipt was made. Invariant: more than `seq`.
    pub size: u64,
    /// The root of that tree.
    pub root: [u8; 32],
}

/// The file of a receipt.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    receipt: String,
    key: String,
}

impl Receipt {
    /// The signed note in the form of its file: one JSON object with the note and its key, in ASCII, so that it can stand in a header.
    ///
    /// # Panics
    /// Never: the texts in it are always written.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        let origin = origin(&self.storage_id);
        let (leaf, root) = (STANDARD.encode(self.leaf), STANDARD.encode(self.root));
        // Words before the numbers: no checkpoint is read from it, whoever the verifier is.
        let body = format!(
            "{origin}\nseq {}\nindex {}\nrequest {}\nleaf {leaf}\ncheckpoint {} {root}\n",
            self.seq, self.index, self.request_id, self.size
        );
        let form = Form {
            receipt: sign_note(&body, &origin, key),
            key: hex::encode(key.verifying_key().as_bytes()),
        };
        text::json(&form)
            .expect("a receipt has text keys and no failing part")
            .replace('\u{2014}', "\\u2014")
    }

    /// Takes the file of a receipt apart: the signed note, and the key that stands beside it, which is yet to be compared.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<(String, VerifyingKey)> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            return None;
        }
        let form: Form = serde_json::from_slice(bytes).ok()?;
        Some((form.receipt, VerifyingKey::from_bytes(hex::decode(&form.key)?)))
    }

    /// Reads a signed note and checks its signature.
    ///
    /// # Errors
    /// [`CheckpointError`] if it is no receipt, or not signed by this key.
    pub fn verify(note: &str, key: &VerifyingKey) -> Result<Self, CheckpointError> {
        let body = check_note(note, key)?;
        Self::parse(body).ok_or(CheckpointError::Malformed)
    }

    fn parse(body: &str) -> Option<Self> {
        let lines: Vec<&str> = body.split_terminator('\n').collect();
        let [first, seq, index, request, leaf, checkpoint] = lines[..] else {
            return None;
        };
        let storage_id: StorageId = first.strip_prefix(ORIGIN)?.parse().ok()?;
        let (size, root) = checkpoint.strip_prefix("checkpoint ")?.split_once(' ')?;
        let hash = |text: &str| -> Option<[u8; 32]> { STANDARD.decode(text).ok()?.try_into().ok() };
        let receipt = Self {
            storage_id,
            seq: number(seq.strip_prefix("seq ")?)?,
            index: number(index.strip_prefix("index ")?)?,
            request_id: request.strip_prefix("request ")?.parse().ok()?,
            leaf: hash(leaf.strip_prefix("leaf ")?)?,
            size: number(size)?,
            root: hash(root)?,
        };
        (origin(&storage_id) == first && receipt.seq < receipt.size).then_some(receipt)
    }
}

/// The name of a store's receipts, which is also that of the key in them.
fn origin(storage_id: &StorageId) -> String {
    format!("{ORIGIN}{storage_id}")
}

const ORIGIN: &str = "aumbry/receipt/";

/// The longest file of a receipt: its own is below a kilobyte, and further signatures may be on it.
pub const RECEIPT_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&aumbry_types::SecretKey::take(&mut [seed; 32]))
    }

    fn receipt() -> Receipt {
        Receipt {
            storage_id: StorageId::from_bytes([1; 16]),
            seq: 4_711,
            index: 8_212,
            request_id: RequestId::from_bytes([2; 16]),
            leaf: [3; 32],
            size: 4_712,
            root: [4; 32],
        }
    }

    #[test]
    fn frozen_receipt() {
        let frozen = concat!(
            r#"{"receipt":"aumbry/receipt/01010101010101010101010101010101\nseq 4711\nindex 8212\n"#,
            r"request 02020202020202020202020202020202\nleaf AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n",
            r"checkpoint 4712 BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=\n\n\u2014 "
        );
        let text = receipt().sign(&key(7));
        assert!(text.starts_with(frozen), "{text}");
        assert!(text.is_ascii() && !text.contains('\n'), "it can stand in a header");
        let (note, beside) = Receipt::read(text.as_bytes()).unwrap();
        assert_eq!(&beside, key(7).verifying_key());
        assert_eq!(Receipt::verify(&note, &beside), Ok(receipt()));
    }

    /// A receipt that somebody made up, or changed, is none.
    #[test]
    fn an_altered_receipt_is_refused() {
        let text = receipt().sign(&key(7));
        let (note, beside) = Receipt::read(text.as_bytes()).unwrap();
        let (name, _) = note.split_once('\n').unwrap();
        for (from, to) in [
            ("seq 4711", "seq 4710"),
            ("index 8212", "index 8213"),
            ("request 02", "request 03"),
            ("leaf Aw", "leaf Bw"),
            ("checkpoint 4712", "checkpoint 4713"),
            (" BAQ", " BQQ"),
        ] {
            let altered = note.replacen(from, to, 1);
            assert_ne!(altered, note, "{from}");
            assert_eq!(
                Receipt::verify(&altered, &beside),
                Err(CheckpointError::Signature),
                "{from}"
            );
        }
        assert_eq!(
            Receipt::verify(&note, key(8).verifying_key()),
            Err(CheckpointError::Unsigned)
        );
        // What the key signed as something else is no receipt, and the other way round.
        let checkpoint = Checkpoint {
            origin: name.to_owned(),
            size: 4_712,
            root: [4; 32],
        };
        let signed = checkpoint.sign(&key(7)).unwrap();
        assert_eq!(Receipt::verify(&signed, &beside), Err(CheckpointError::Malformed));
        assert_eq!(Checkpoint::verify(&note, &beside), Err(CheckpointError::Malformed));
        // A record that its own tree does not have.
        let later = Receipt {
            seq: 4_712,
            ..receipt()
        };
        let (note, _) = Receipt::read(later.sign(&key(7)).as_bytes()).unwrap();
        assert_eq!(Receipt::verify(&note, &beside), Err(CheckpointError::Malformed));
        for bad in [
            text.replace("\"key\"", "\"keys\""),
            text.replace('}', ",\"more\":1}"),
            text[1..].to_owned(),
            format!("{text}{}", " ".repeat(RECEIPT_BYTES_MAX)),
        ] {
            assert!(Receipt::read(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
