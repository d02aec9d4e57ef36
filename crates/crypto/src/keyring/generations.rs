//! One kind of key through time.

use aumbry_types::{Entropy, LogIndex, SecretKey};

use super::RotationError;
use crate::codec::{Reader, Writer};

/// Numbered keys, the last of which is current.
///
/// Invariant: 1 to `GENERATIONS_MAX` of them, with ascending numbers from 1.
pub(super) struct Generations(Vec<Generation>);

struct Generation {
    number: u32,
    created_at: LogIndex,
    key: SecretKey,
}

impl Generations {
    pub(super) fn make(entropy: &dyn Entropy) -> Self {
        let key = SecretKey::make(entropy);
        Self(vec![Generation {
            number: 1,
            created_at: LogIndex(0),
            key,
        }])
    }

    pub(super) fn current(&self) -> (u32, &SecretKey) {
        let last = self.0.last().expect("a series is never empty");
        (last.number, &last.key)
    }

    pub(super) fn position(&self, number: u32) -> Option<usize> {
        self.0
            .binary_search_by_key(&number, |generation| generation.number)
            .ok()
    }

    pub(super) fn key(&self, number: u32) -> Option<&SecretKey> {
        self.position(number).map(|position| &self.0[position].key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = (u32, &SecretKey)> {
        self.0.iter().map(|generation| (generation.number, &generation.key))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, LogIndex)> {
        self.0
            .iter()
            .map(|generation| (generation.number, generation.created_at))
    }

    /// Adds a key, which becomes the current one, and returns its number.
    pub(super) fn push(&mut self, created_at: LogIndex, entropy: &dyn Entropy) -> Result<u32, RotationError> {
        let number = self.current().0.checked_add(1).ok_or(RotationError::Full)?;
        if self.0.len() >= GENERATIONS_MAX {
            return Err(RotationError::Full);
        }
        self.0.push(Generation {
            number,
            created_at,
            key: SecretKey::make(entropy),
        });
        Ok(number)
    }

    /// Removes a key that is not the current one, and returns where it was.
    pub(super) fn remove(&mut self, number: u32) -> Result<usize, RotationError> {
        if number == self.current().0 {
            return Err(RotationError::Current);
        }
        let position = self.position(number).ok_or(RotationError::Unknown)?;
        self.0.remove(position);
        Ok(position)
    }

    pub(super) const fn encoded_len(&self) -> usize {
        2 + self.0.len() * GENERATION_LEN
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        let count = u16::try_from(self.0.len()).expect("a series is bounded");
        writer.put(&count.to_be_bytes());
        for generation in &self.0 {
            writer.put(&generation.number.to_be_bytes());
            writer.put(&generation.created_at.0.to_be_bytes());
            writer.put(generation.key.expose());
        }
    }

    /// Reads a series; `None` if the invariant does not hold.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let count = usize::from(reader.u16()?);
        if !(1..=GENERATIONS_MAX).contains(&count) {
            return None;
        }
        let mut generations = Vec::with_capacity(count);
        for _ in 0..count {
            let (number, created_at) = (reader.u32()?, LogIndex(reader.u64()?));
            generations.push(Generation {
                number,
                created_at,
                key: reader.key()?,
            });
        }
        let ascending = generations.is_sorted_by(|a, b| a.number < b.number);
        (ascending && generations[0].number > 0).then_some(Self(generations))
    }
}

/// A rotation every month for 85 years; keeps the wrapped keyring below 300 KB, one entry of the log.
const GENERATIONS_MAX: usize = 1_024;
const GENERATION_LEN: usize = 4 + 8 + 32;
