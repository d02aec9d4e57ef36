//! A seal that one key opens, beside the one that shares open.
//!
//! ```text
//! key seal = version u8 | kind u8 | key id 16 | root epoch u32 | wrapped root | outer key, for some kinds
//! KEK      = derive_key(key, label, storage_id | root epoch)
//! wrapped  = envelope(KEK, associated = label | storage_id | kind | key id | root epoch)
//! ```
//!
//! The key of a static seal lies in a file. That of the other kinds lies nowhere in clear: something outside wraps it (a token, another cluster),
//! and what comes of that stands beside the wrapped root key ([`OuterKey`]).
//!
//! What it guarantees: it wraps the same root key as the shares do, bound to the storage, the key and the epoch of the root key. A
//! root key that is replaced leaves every such wrap behind: what it opens then opens no keyring.
//!
//! What it does not do: weaken or replace the shares. Any one seal opens the store, so each is to be guarded like all shares
//! together.

use aumbry_types::{Entropy, SecretKey, StorageId};

use super::outer_key::{OuterBinding, OuterKey};
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
    /// A key that a PKCS#11 token wraps: 2.
    Pkcs11,
    /// A key that the transit engine of another cluster wraps: 3.
    Transit,
    /// Of a newer version, which alone can open it.
    Unknown(u8),
}

impl KeyKind {
    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Pkcs11 => "pkcs11",
            Self::Transit => "transit",
            Self::Unknown(_) => "unknown",
        }
    }

    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Static => 1,
            Self::Pkcs11 => 2,
            Self::Transit => 3,
            Self::Unknown(number) => number,
        }
    }

    /// Whether the key is wrapped by something outside.
    const fn is_outer(self) -> bool {
        matches!(self, Self::Pkcs11 | Self::Transit)
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
    /// The key of the seal, as something outside wrapped it. Invariant: there for the kinds that have one, and for no other.
    pub outer: Option<OuterKey>,
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
        Self::make(KeyKind::Static, key, None, storage_id, root_epoch, root, entropy)
    }

    /// Wraps the root key under a key that something outside has wrapped, for this storage, this epoch and this key.
    #[must_use]
    pub fn make_outer(
        key: &StaticKey,
        outer: OuterKey,
        bound: &OuterBinding,
        root: &SecretKey,
        entropy: &dyn Entropy,
    ) -> Self {
        Self::make(
            bound.kind,
            key,
            Some(outer),
            bound.storage_id,
            bound.root_epoch,
            root,
            entropy,
        )
    }

    fn make(
        kind: KeyKind,
        key: &StaticKey,
        outer: Option<OuterKey>,
        storage_id: StorageId,
        root_epoch: u32,
        root: &SecretKey,
        entropy: &dyn Entropy,
    ) -> Self {
        let mut seal = Self {
            kind,
            key_id: key.id(),
            root_epoch,
            wrapped_root: Vec::new(),
            outer,
        };
        let (wrapping, aad) = (seal.key_encryption_key(key, storage_id), seal.aad(storage_id));
        seal.wrapped_root = envelope::seal(&wrapping, root_epoch, &aad, root.expose(), entropy);
        seal
    }

    /// What the seal's key is bound to where it is wrapped.
    #[must_use]
    pub fn binding(&self, storage_id: StorageId) -> OuterBinding {
        OuterBinding {
            kind: self.kind,
            storage_id,
            root_epoch: self.root_epoch,
            key_id: self.key_id,
        }
    }

    /// Opens it with its key, wherever that came from.
    ///
    /// # Errors
    /// [`OpenError::WrongKey`] if it belongs to another key or storage, [`OpenError::Corrupt`] if it was altered, and
    /// [`OpenError::Format`] if it is of a newer version.
    pub fn open(&self, key: &StaticKey, storage_id: StorageId) -> Result<SecretKey, OpenError> {
        if let KeyKind::Unknown(_) = self.kind {
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
        let outer = self.outer.as_ref().map(OuterKey::encode).unwrap_or_default();
        let mut writer = Writer::new(FIXED_LEN + self.wrapped_root.len() + outer.len());
        writer
            .put(&[VERSION, self.kind.number()])
            .put(self.key_id.as_bytes())
            .put(&self.root_epoch.to_be_bytes())
            .put(&self.wrapped_root)
            .put(&outer);
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
            2 => KeyKind::Pkcs11,
            3 => KeyKind::Transit,
            number => KeyKind::Unknown(number),
        };
        let (key_id, root_epoch) = (KeyId::from_bytes(reader.array()?), reader.u32()?);
        let rest = bytes.len().checked_sub(FIXED_LEN)?;
        let wrapped_len = match kind {
            KeyKind::Unknown(_) => rest,
            _ => ROOT_LEN,
        };
        (rest <= WRAPPED_BYTES_MAX).then_some(())?;
        let wrapped_root = reader.take(wrapped_len)?.to_vec();
        let outer = match kind.is_outer() {
            true => Some(OuterKey::decode(reader.take(rest.checked_sub(wrapped_len)?)?)?),
            false => None,
        };
        reader.finish()?;
        Some(Self {
            kind,
            key_id,
            root_epoch,
            wrapped_root,
            outer,
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
const ROOT_LEN: usize = envelope::OVERHEAD + 32;
const WRAP_LABEL: &str = "aumbry/seal/static/root/1";

#[cfg(test)]
mod tests;
