//! What apply appends to the audit segments for one log entry.
//!
//! What it guarantees: one body has one encoding, and holds all that the leaves of the entry commit to. What it does
//! not do: checksums and framing, which the segment file adds, and bounds, which the entry already has.

use aumbry_types::{SecretKey, StorageId};

use crate::codec::{Decoder, Encoder};
use crate::merkle::SIZE_MAX;
use crate::{Leaf, Outcome, blob};

/// The audit side of one applied log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The position of the entry in the Raft log.
    pub index: u64,
    /// The Raft term of the entry.
    pub term: u64,
    /// The position of the entry's first leaf in the tree.
    pub first_seq: u64,
    /// The log's time of the entry after apply clamped it, in milliseconds since 1970.
    pub log_time: u64,
    /// The wall clock of the leader, in milliseconds since 1970. For people only; no leaf commits to it.
    pub wall_time: u64,
    /// For each leaf: the position of its command in the entry, what apply did, and the commitment.
    /// Invariant: positions ascend.
    pub leaves: Vec<(u32, Outcome, [u8; 32])>,
    /// The content of leaves that are in clear: of those with [`Outcome::Clear`], and of all if `blob` is empty
    /// (an entry so malformed that it has no blob is described here by apply).
    pub clear: Vec<u8>,
    /// The sealed records of all other leaves, as the leader sent them.
    pub blob: Vec<u8>,
}

impl Body {
    /// The leaves of the entry, in the order of the tree.
    pub fn leaves(&self) -> impl Iterator<Item = Leaf> {
        self.leaves
            .iter()
            .zip(self.first_seq..)
            .map(|(&(k, outcome, commitment), seq)| Leaf {
                seq,
                index: self.index,
                k,
                log_time: self.log_time,
                outcome,
                commitment,
            })
    }

    /// Whether the content of a leaf with this outcome is in `clear` and not in `blob`.
    #[must_use]
    pub fn is_clear(&self, outcome: Outcome) -> bool {
        outcome == Outcome::Clear || self.blob.is_empty()
    }

    /// Opens the blob: the record and salt of each leaf that is not [in clear](Self::is_clear), in order.
    ///
    /// # Errors
    /// As [`blob::open`].
    #[expect(
        clippy::type_complexity,
        reason = "a record with its salt is a pair here as in the blob"
    )]
    pub fn open(&self, key: &SecretKey, storage_id: &StorageId) -> Result<Vec<(Vec<u8>, [u8; 16])>, blob::OpenError> {
        if self.blob.is_empty() {
            return Ok(Vec::new());
        }
        let sealed = self.leaves.iter().filter(|(_, outcome, _)| !self.is_clear(*outcome));
        let commitments: Vec<_> = sealed.map(|(_, _, commitment)| *commitment).collect();
        blob::open(key, storage_id, &commitments, &self.blob)
    }

    /// The one encoding of the body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(VERSION);
        for number in [self.index, self.term, self.first_seq, self.log_time, self.wall_time] {
            out.number(number);
        }
        out.length(self.leaves.len());
        for (k, outcome, commitment) in &self.leaves {
            out.number(u64::from(*k));
            out.byte(*outcome as u8);
            out.fixed(commitment);
        }
        out.bytes(&self.clear);
        out.bytes(&self.blob);
        out.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(bytes);
        input.version(VERSION)?;
        let (index, term, first_seq) = (input.number()?, input.number()?, input.number()?);
        let (log_time, wall_time) = (input.number()?, input.number()?);
        let count = input.count(LEAF_BYTES_MIN)?;
        let mut leaves: Vec<(u32, Outcome, [u8; 32])> = Vec::with_capacity(count);
        for _ in 0..count {
            let k = input.number_u32()?;
            if leaves.last().is_some_and(|(last, _, _)| *last >= k) {
                return None;
            }
            leaves.push((k, Outcome::from_u8(input.byte()?)?, input.fixed()?));
        }
        let (clear, blob) = (input.bytes()?.to_vec(), input.bytes()?.to_vec());
        input.finish()?;
        (first_seq <= SIZE_MAX).then_some(Self {
            index,
            term,
            first_seq,
            log_time,
            wall_time,
            leaves,
            clear,
            blob,
        })
    }
}

const VERSION: u8 = 1;

/// A position in one byte, an outcome and a commitment.
const LEAF_BYTES_MIN: usize = 34;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hex;

    fn sample() -> Body {
        Body {
            index: 300,
            term: 2,
            first_seq: 70,
            log_time: 1_700_000_000_000,
            wall_time: 1_700_000_000_123,
            leaves: vec![(0, Outcome::Ok, [0xaa; 32]), (2, Outcome::Conflict, [0xbb; 32])],
            clear: Vec::new(),
            blob: vec![1, 2, 3],
        }
    }

    #[test]
    fn frozen_body() {
        let frozen = "01ac02024680d095ffbc31fbd095ffbc31020000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0201bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb0003010203";
        assert_eq!(hex::encode(&sample().encode()), frozen);
        assert_eq!(Body::decode(&sample().encode()), Some(sample()));
    }

    #[test]
    fn frozen_leaf() {
        let hashes: Vec<_> = sample()
            .leaves()
            .map(|leaf| (leaf.seq, hex::encode(&leaf.hash())))
            .collect();
        assert_eq!(
            hashes,
            [
                (
                    70,
                    "538c64c1bc94a32e4ba1cdfcf971053da091b706e6bac5f409761ab208cf7979".to_owned()
                ),
                (
                    71,
                    "bb07e097773faa935cfc157ee77015442d63ff8e36298005f521251d81e3b078".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn outcomes_have_stable_codes_and_words() {
        let words = ["ok", "conflict", "exhausted", "expired", "rejected", "clear"];
        for (code, word) in (0_u8..).zip(words) {
            let outcome = Outcome::from_u8(code).unwrap();
            assert_eq!((outcome as u8, outcome.name()), (code, word));
            assert_eq!(Outcome::from_name(word), Some(outcome));
        }
        assert_eq!(Outcome::from_u8(6), None);
        assert_eq!(Outcome::from_name("OK"), None);
    }

    /// Abuse cases: 103.
    #[test]
    fn a_malformed_body_is_refused() {
        let not_ascending = Body {
            leaves: sample().leaves.into_iter().rev().collect(),
            ..sample()
        };
        let beyond = Body {
            first_seq: u64::MAX,
            ..sample()
        };
        let longer = [sample().encode(), vec![0]].concat();
        let version = [&[2], &sample().encode()[1..]].concat();
        for bytes in [not_ascending.encode(), beyond.encode(), longer, version, Vec::new()] {
            assert_eq!(Body::decode(&bytes), None);
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics_and_is_canonical(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            prop_assert!(Body::decode(&bytes).is_none_or(|body| body.encode() == bytes));
            let mut near = sample().encode();
            let at = at.index(near.len());
            near[at] = byte;
            prop_assert!(Body::decode(&near).is_none_or(|body| body.encode() == near));
        }
    }
}
