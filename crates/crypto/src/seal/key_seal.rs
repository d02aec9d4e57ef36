//! A seal that one key opens, beside the one that shares open.
//!
//! ```text
//! key seal = version u8 | kind u8 | key id 16 | root epoch u32 | wrapped root
//! KEK      = derive_key(key, label, storage_id | root epoch)
//! wrapped  = envelope(KEK, associated = label | storage_id | kind | key id | root epoch)
//! ```
//!
//! What it guarantees: it wraps the same root key as the shares do, bound to the storage, the key and the epoch of the root key. A
//! root key that is replaced leaves every such wrap behind: what it opens then opens no keyring.
//!
//! What it does not do: weaken or replace the shares. Any one seal opens the store, so each is to be guarded like all shares
//! together.

use aumbry_types::{Entropy, SecretKey, StorageId};

use super::static_key::{KeyId, StaticKey};
use super::{MalformedSealConfig, root_key};
use crate::codec::{Reader, Writer};
use crate::derive_key;
use crate::envelope::{self, OpenError};

/// What kind of key opens a seal. Numbers are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A key in a file: 1.
    Static,
    /// Of a newer version, which alone can open it: a token's, another cluster's, a service's.
    Unknown(u8),
}

impl KeyKind {
    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Unknown(_) => "unknown",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Static => 1,
            Self::Unknown(number) => number,
        }
    }
}

/// What every node knows about a seal that a key opens. It holds no secret in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySeal {
    /// What kind of key it is.
    pub kind: KeyKind,
    /// Which key.
    pub key_id: KeyId,
    /// The epoch of the root key inside.
    pub root_epoch: u32,
    /// The root key in a form that the key opens. Invariant: of one length if the kind is known, and of at most
    /// [`WRAPPED_BYTES_MAX`] bytes.
    pub wrapped_root: Vec<u8>,
}

impl KeySeal {
    /// Wraps the root key of this epoch under a static key.
    #[must_use]
    pub fn make_static(
        key: &StaticKey,
        storage_id: StorageId,
        root_epoch: u32,
        root: &SecretKey,
        entropy: &dyn Entropy,
    ) -> Self {
        let mut seal = Self {
            kind: KeyKind::Static,
            key_id: key.id(),
            root_epoch,
            wrapped_root: Vec::new(),
        };
        let (wrapping, aad) = (seal.key_encryption_key(key, storage_id), seal.aad(storage_id));
        seal.wrapped_root = envelope::seal(&wrapping, root_epoch, &aad, root.expose(), entropy);
        seal
    }

    /// Opens it with a static key.
    ///
    /// # Errors
    /// [`OpenError::WrongKey`] if it belongs to another key or storage, [`OpenError::Corrupt`] if it was altered, and
    /// [`OpenError::Format`] if no static key opens it.
    pub fn open_static(&self, key: &StaticKey, storage_id: StorageId) -> Result<SecretKey, OpenError> {
        if self.kind != KeyKind::Static {
            return Err(OpenError::Format);
        }
        if key.id() != self.key_id {
            return Err(OpenError::WrongKey);
        }
        let wrapping = self.key_encryption_key(key, storage_id);
        let opened = envelope::open(&wrapping, &self.aad(storage_id), &self.wrapped_root)?;
        root_key(&opened).ok_or(OpenError::Format)
    }

    /// The bytes to store. A seal has one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(FIXED_LEN + self.wrapped_root.len());
        writer
            .put(&[VERSION, self.kind.number()])
            .put(self.key_id.as_bytes())
            .put(&self.root_epoch.to_be_bytes())
            .put(&self.wrapped_root);
        writer.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`MalformedSealConfig`] if there is one byte more or less, or an invariant does not hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedSealConfig> {
        Self::read(bytes).ok_or(MalformedSealConfig)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.byte()? == VERSION).then_some(())?;
        let kind = match reader.byte()? {
            0 => return None,
            1 => KeyKind::Static,
            number => KeyKind::Unknown(number),
        };
        let (key_id, root_epoch) = (KeyId::from_bytes(reader.array()?), reader.u32()?);
        let wrapped_len = bytes.len().checked_sub(FIXED_LEN)?;
        let is_length = match kind {
            KeyKind::Static => wrapped_len == STATIC_LEN,
            KeyKind::Unknown(_) => wrapped_len <= WRAPPED_BYTES_MAX,
        };
        is_length.then_some(())?;
        Some(Self {
            kind,
            key_id,
            root_epoch,
            wrapped_root: reader.take(wrapped_len)?.to_vec(),
        })
    }

    fn key_encryption_key(&self, key: &StaticKey, storage_id: StorageId) -> SecretKey {
        let context = [&storage_id.as_bytes()[..], &self.root_epoch.to_be_bytes()].concat();
        derive_key(key.key(), WRAP_LABEL, &context)
    }

    fn aad(&self, storage_id: StorageId) -> Vec<u8> {
        [
            WRAP_LABEL.as_bytes(),
            storage_id.as_bytes(),
            &[self.kind.number()],
            self.key_id.as_bytes(),
            &self.root_epoch.to_be_bytes(),
        ]
        .concat()
    }
}

/// The longest wrapped root key: what an RSA key of 16,384 bits gives has room, beside what names the key at a service.
pub const WRAPPED_BYTES_MAX: usize = 4_096;

const VERSION: u8 = 1;
const FIXED_LEN: usize = 1 + 1 + 16 + 4;
const STATIC_LEN: usize = envelope::OVERHEAD + 32;
const WRAP_LABEL: &str = "aumbry/seal/static/root/1";

#[cfg(test)]
mod tests;
