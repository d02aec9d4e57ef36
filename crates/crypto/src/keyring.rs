//! The keyring: every long-lived key of the store, wrapped as one under the root key.
//!
//! ```text
//! keyring = version u8 | 6 series, in the order of `Series`
//! series  = count u16 | count times (number u32 | created at u64 | key 32)       numbers ascending
//! ```
//!
//! What it guarantees: each kind of key is a series of numbered generations, of which the last is current and the older
//! ones open what they sealed; a keyring always has a current key of each kind; no data key is used itself, only keys
//! derived from it for one purpose. The derivations are done once, when the keyring is made, not per request.
//!
//! What it does not do: decide when to rotate, or check that nothing needs a key that is retired.

use aumbry_types::{Entropy, LogIndex, SecretBytes, SecretKey};

use crate::codec::{Reader, Writer};
use crate::derive_key;
use crate::signature::SigningKey;

use generations::Generations;

mod generations;

/// What a key that is derived from a data key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Wraps the data keys of values.
    Wrap,
    /// Seals rows directly: directories, metadata, policies.
    Meta,
    /// Seals rows of tokens.
    Token,
    /// Seals replies that are kept for idempotency.
    Dedup,
    /// Authenticates exported snapshots.
    Snapshot,
    /// Seals rows of leases.
    Lease,
}

/// The kinds of long-lived keys. Each rotates on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// What the keys of every [`Purpose`] are derived from. The number of a generation is a *term*.
    Data,
    /// Hashes names. A rotation re-keys every directory row, so it is rare.
    Names,
    /// Hashes tokens. The number stands in the token.
    Tokens,
    /// Hashes redacted fields of audit records. May be disclosed to an auditor.
    Fields,
    /// Seals audit records. The number of a generation is an *epoch*.
    Audit,
    /// Seeds of the keys that sign checkpoints.
    Checkpoint,
}

/// The bytes are no keyring, although they were authentic: a newer version wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keyring has a form that this version does not know; use the version that wrote it")]
pub struct MalformedKeyring;

/// Why a rotation or retirement was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// A series holds at most 1,024 keys.
    #[error("the keyring is full; rewrap what old keys seal and retire them first")]
    Full,
    /// The current key of a series cannot go.
    #[error("the key is the current one; rotate first")]
    Current,
    /// No key of the series has this number.
    #[error("no such key; it may be retired already")]
    Unknown,
}

/// All keys of an unsealed store. It has neither `Debug` nor `Clone`; dropping it wipes them.
pub struct Keyring {
    series: [Generations; Series::ALL.len()],
    /// Invariant: the derived keys of each generation of [`Series::Data`], in its order.
    derived: Vec<[SecretKey; Purpose::ALL.len()]>,
    /// Invariant: made from the current seed of [`Series::Checkpoint`].
    checkpoint: SigningKey,
}

impl Keyring {
    /// Makes the keyring of a new store: one random key of each kind, all with the number 1.
    #[must_use]
    pub fn make(entropy: &dyn Entropy) -> Self {
        Self::from_series(Series::ALL.map(|_| Generations::make(entropy)))
    }

    /// The bytes to be wrapped under the root key.
    #[must_use]
    pub fn encode(&self) -> SecretBytes {
        let length: usize = self.series.iter().map(Generations::encoded_len).sum();
        let mut writer = Writer::new(1 + length);
        writer.put(&[VERSION]);
        self.series.iter().for_each(|series| series.encode(&mut writer));
        SecretBytes::new(writer.finish())
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`MalformedKeyring`] if there is one byte more or less, or a series is empty or out of order.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedKeyring> {
        let decode = || {
            let mut reader = Reader::new(bytes);
            (reader.byte()? == VERSION).then_some(())?;
            let mut series = Vec::with_capacity(Series::ALL.len());
            for _ in Series::ALL {
                series.push(Generations::decode(&mut reader)?);
            }
            reader.finish()?;
            series.try_into().ok()
        };
        decode().map(Self::from_series).ok_or(MalformedKeyring)
    }

    /// The current term of the data keys.
    #[must_use]
    pub fn term(&self) -> u32 {
        self.current_number(Series::Data)
    }

    /// The key of a purpose and term: `derive_key(data key of the term, purpose, term)`; nothing if the term is retired.
    #[must_use]
    pub fn data_key(&self, purpose: Purpose, term: u32) -> Option<&SecretKey> {
        let position = self.of(Series::Data).position(term)?;
        Some(&self.derived[position][purpose as usize])
    }

    /// The current key that hashes names.
    #[must_use]
    pub fn names(&self) -> &SecretKey {
        self.of(Series::Names).current().1
    }

    /// A key that hashed names, while directory rows move to the current one.
    #[must_use]
    pub fn names_of(&self, number: u32) -> Option<&SecretKey> {
        self.of(Series::Names).key(number)
    }

    /// The current key that hashes tokens.
    #[must_use]
    pub fn tokens(&self) -> &SecretKey {
        self.of(Series::Tokens).current().1
    }

    /// The key that hashed tokens of this number, which stands in the token.
    #[must_use]
    pub fn tokens_of(&self, number: u32) -> Option<&SecretKey> {
        self.of(Series::Tokens).key(number)
    }

    /// The current key that hashes redacted audit fields.
    #[must_use]
    pub fn fields(&self) -> &SecretKey {
        self.of(Series::Fields).current().1
    }

    /// The key that seals audit records of this epoch.
    #[must_use]
    pub fn audit(&self, epoch: u32) -> Option<&SecretKey> {
        self.of(Series::Audit).key(epoch)
    }

    /// The current audit epoch.
    #[must_use]
    pub fn audit_epoch(&self) -> u32 {
        self.current_number(Series::Audit)
    }

    /// The current key that signs checkpoints.
    #[must_use]
    pub const fn checkpoint(&self) -> &SigningKey {
        &self.checkpoint
    }

    /// The number of the current key of a series.
    #[must_use]
    pub fn current_number(&self, series: Series) -> u32 {
        self.of(series).current().0
    }

    /// Number and log index of creation of every key of a series, the oldest first.
    pub fn generations(&self, series: Series) -> impl Iterator<Item = (u32, LogIndex)> {
        self.of(series).iter()
    }

    /// Adds a new random key to a series and makes it the current one. Returns its number.
    ///
    /// # Errors
    /// [`RotationError::Full`].
    pub fn rotate(&mut self, series: Series, at: LogIndex, entropy: &dyn Entropy) -> Result<u32, RotationError> {
        let number = self.series[series as usize].push(at, entropy)?;
        match series {
            Series::Data => self.derived.push(derive(number, self.of(series).current().1)),
            Series::Checkpoint => self.checkpoint = SigningKey::from_seed(self.of(series).current().1),
            _ => {}
        }
        Ok(number)
    }

    /// Wipes an old key. What only it opens is lost for ever, which is the purpose.
    ///
    /// # Errors
    /// [`RotationError::Current`] or [`RotationError::Unknown`].
    pub fn retire(&mut self, series: Series, number: u32) -> Result<(), RotationError> {
        let position = self.series[series as usize].remove(number)?;
        if series == Series::Data {
            self.derived.remove(position);
        }
        Ok(())
    }

    fn from_series(series: [Generations; Series::ALL.len()]) -> Self {
        let derived = series[Series::Data as usize]
            .keys()
            .map(|(number, key)| derive(number, key));
        let derived = derived.collect();
        let checkpoint = SigningKey::from_seed(series[Series::Checkpoint as usize].current().1);
        Self {
            series,
            derived,
            checkpoint,
        }
    }

    const fn of(&self, series: Series) -> &Generations {
        &self.series[series as usize]
    }
}

impl Purpose {
    const ALL: [Self; 6] = [
        Self::Wrap,
        Self::Meta,
        Self::Token,
        Self::Dedup,
        Self::Snapshot,
        Self::Lease,
    ];

    /// Never changed: what it derives seals what is stored.
    const fn label(self) -> &'static str {
        match self {
            Self::Wrap => "aumbry/data/wrap/1",
            Self::Meta => "aumbry/data/meta/1",
            Self::Token => "aumbry/data/token/1",
            Self::Dedup => "aumbry/data/dedup/1",
            Self::Snapshot => "aumbry/data/snapshot/1",
            Self::Lease => "aumbry/data/lease/1",
        }
    }
}

impl Series {
    const ALL: [Self; 6] = [
        Self::Data,
        Self::Names,
        Self::Tokens,
        Self::Fields,
        Self::Audit,
        Self::Checkpoint,
    ];
}

fn derive(term: u32, key: &SecretKey) -> [SecretKey; Purpose::ALL.len()] {
    Purpose::ALL.map(|purpose| derive_key(key, purpose.label(), &term.to_be_bytes()))
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests;
