//! The key of a seal, wrapped by something outside: a token, another cluster.
//!
//! ```text
//! outer key = name length u8 | name | wrapped key
//! context   = label | storage_id | kind u8 | key id 16 | root epoch u32 | name
//! ```
//!
//! What it guarantees: whoever wraps is given the context to bind the key to. Who does not bind it weakens nothing: the root key is wrapped under the
//! seal's key for the same storage, kind, key and epoch.

use aumbry_types::StorageId;

use super::KeyKind;
use super::key_seal::WRAPPED_BYTES_MAX;
use super::static_key::KeyId;

/// The wrapped key of a seal, and what to ask for to have it unwrapped. It holds no secret in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OuterKey {
    name: String,
    wrapped: Vec<u8>,
}

/// What a seal's key is bound to where it is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterBinding {
    /// Who wraps it.
    pub kind: KeyKind,
    /// The storage that the seal opens.
    pub storage_id: StorageId,
    /// The epoch of the root key inside.
    pub root_epoch: u32,
    /// Which key it is.
    pub key_id: KeyId,
}

/// No key that something outside wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a wrapped key has a name of 1 to 128 visible characters, and 1 to 2048 bytes")]
pub struct OuterKeyError;

impl OuterKey {
    /// What was wrapped by the key of this name.
    ///
    /// # Errors
    /// [`OuterKeyError`] if one of them is empty, or too long.
    pub fn new(name: String, wrapped: Vec<u8>) -> Result<Self, OuterKeyError> {
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| matches!(b, b' '..=b'~'));
        if is_name && (1..=OUTER_BYTES_MAX).contains(&wrapped.len()) {
            Ok(Self { name, wrapped })
        } else {
            Err(OuterKeyError)
        }
    }

    /// The name of the key that wrapped it, where it is kept.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The wrapped key, as whoever wrapped it gave it.
    #[must_use]
    pub fn wrapped(&self) -> &[u8] {
        &self.wrapped
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let length = u8::try_from(self.name.len()).expect("a name has at most 128 bytes");
        [&[length], self.name.as_bytes(), &self.wrapped].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first()?;
        let (name, wrapped) = rest.split_at_checked(usize::from(*length))?;
        Self::new(String::from_utf8(name.to_vec()).ok()?, wrapped.to_vec()).ok()
    }
}

impl OuterBinding {
    /// The bytes to bind the key to, for the key of this name outside.
    #[must_use]
    pub fn context(&self, name: &str) -> Vec<u8> {
        [
            CONTEXT_LABEL,
            self.storage_id.as_bytes(),
            &[self.kind.number()],
            self.key_id.as_bytes(),
            &self.root_epoch.to_be_bytes(),
            name.as_bytes(),
        ]
        .concat()
    }
}

/// A label of a token has 32 characters; a mount and a key of another cluster fit as well.
const NAME_BYTES_MAX: usize = 128;
/// What an RSA key of 16,384 bits gives, or a cluster's text for a hundred bytes.
const OUTER_BYTES_MAX: usize = 2_048;
/// A seal is read if it is no longer than one may be.
const _: () = assert!(1 + NAME_BYTES_MAX + OUTER_BYTES_MAX + 200 < WRAPPED_BYTES_MAX);
const CONTEXT_LABEL: &[u8] = b"aumbry/seal/outer/1";
