//! What a log is but for the bytes of its entries: pure bookkeeping of what the records did, when they were written and when they are read again.

use std::ops::Range;

use bytes::Bytes;

use super::frame::{u32_at, u64_at};
use crate::log::Meta;

/// The indexes that are there, the small values, and how many votes there were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The retained entries.
    pub(super) entries: Range<u64>,
    /// One past the highest purged index, if the log was ever purged.
    pub(super) purged_end: Option<u64>,
    /// How many votes were stored.
    pub(super) votes: u64,
    /// [`Meta::Vote`], [`Meta::Committed`] and [`Meta::Purged`].
    pub(super) meta: [Option<Bytes>; 3],
}

impl State {
    /// The index that the next entry must have; none if any will do.
    pub(super) fn next(&self) -> Option<u64> {
        match self.entries.is_empty() {
            true => self.purged_end,
            false => Some(self.entries.end),
        }
    }

    /// One past the highest index that the log knows of, retained or purged.
    pub(super) fn end(&self) -> u64 {
        self.next().unwrap_or(0)
    }

    /// Adds an entry, whose index must be [`Self::next`].
    pub(super) fn append(&mut self, index: u64) {
        if self.entries.is_empty() {
            self.entries.start = index;
        }
        self.entries.end = index + 1;
    }

    pub(super) fn truncate(&mut self, from: u64) {
        self.entries.end = self.entries.end.min(from).max(self.entries.start);
    }

    pub(super) fn purge(&mut self, index: u64, marker: Bytes) {
        self.entries.start = self.entries.start.max(index + 1);
        self.entries.end = self.entries.end.max(self.entries.start);
        self.purged_end = self.purged_end.max(Some(index + 1));
        self.meta[Meta::Purged as usize] = Some(marker);
    }

    pub(super) fn put(&mut self, key: Meta, value: Bytes) {
        self.meta[key as usize] = Some(value);
        self.votes = self.votes.saturating_add(u64::from(key == Meta::Vote));
    }

    pub(super) fn encoded_len(&self) -> usize {
        let meta = self.meta.iter().map(|value| 4 + value.as_ref().map_or(0, Bytes::len));
        NUMBERS_BYTES + meta.sum::<usize>()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        for number in [
            self.entries.start,
            self.entries.end,
            self.purged_end.unwrap_or(NONE),
            self.votes,
        ] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        for value in &self.meta {
            let length = value.as_ref().map_or(NO_VALUE, |value| {
                u32::try_from(value.len()).expect("a small value is bounded by the queue, which is far below 4 GiB")
            });
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let numbers = bytes.get(..NUMBERS_BYTES)?;
        let mut rest = &bytes[NUMBERS_BYTES..];
        let mut state = Self {
            entries: u64_at(numbers, 0)..u64_at(numbers, 8),
            purged_end: Some(u64_at(numbers, 16)).filter(|end| *end != NONE),
            votes: u64_at(numbers, 24),
            meta: [None, None, None],
        };
        for value in &mut state.meta {
            let length = u32_at(rest.get(..4)?, 0);
            rest = &rest[4..];
            if length != NO_VALUE {
                *value = Some(Bytes::copy_from_slice(rest.get(..length as usize)?));
                rest = &rest[length as usize..];
            }
        }
        rest.is_empty().then_some(state)
    }
}

const NUMBERS_BYTES: usize = 32;
/// No index is so high: each has a next one.
const NONE: u64 = u64::MAX;
const NO_VALUE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut state = State::default();
        let check = |state: &State| {
            let bytes = state.encode();
            assert_eq!(bytes.len(), state.encoded_len());
            assert_eq!(State::decode(&bytes).as_ref(), Some(state));
            for length in 0..bytes.len() {
                assert_eq!(State::decode(&bytes[..length]), None);
            }
        };
        check(&state);
        state.append(5);
        state.append(6);
        assert_eq!((state.next(), state.end()), (Some(7), 7));
        check(&state);
        state.put(Meta::Vote, Bytes::from_static(b"vote"));
        state.put(Meta::Committed, Bytes::new());
        state.truncate(6);
        assert_eq!(state.entries, 5..6);
        check(&state);
        state.purge(20, Bytes::from_static(b"twenty"));
        assert_eq!(
            (state.entries.is_empty(), state.next(), state.votes),
            (true, Some(21), 1)
        );
        check(&state);
        state.truncate(3);
        assert_eq!(state.next(), Some(21));
    }
}
