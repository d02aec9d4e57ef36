//! The key that wraps the keyring.

use aumbry_types::{Entropy, SecretKey, StorageId};

use super::UnwrapError;
use crate::keyring::Keyring;
use crate::{derive_key, envelope};

/// What opens the keyring, and wraps it anew when a key is added to it or taken out: derived from the root key, which it does not give away.
///
/// It stays in the memory of an unsealed node, where the keyring is too. Whoever has it opens no other seal's wrap of the root key and makes none, so
/// that a new way in still takes key shares. It has neither `Debug` nor `Clone`; dropping it wipes it.
pub struct KeyringKey {
    key: SecretKey,
    storage_id: StorageId,
}

impl KeyringKey {
    /// Of this root key, for this storage.
    #[must_use]
    pub fn of_root(root: &SecretKey, storage_id: StorageId) -> Self {
        Self {
            key: derive_key(root, LABEL, storage_id.as_bytes()),
            storage_id,
        }
    }

    /// Wraps the keyring. `epoch` is that of the root key.
    #[must_use]
    pub fn wrap(&self, keyring: &Keyring, epoch: u32, entropy: &dyn Entropy) -> Vec<u8> {
        envelope::seal(&self.key, epoch, &self.aad(), keyring.encode().expose(), entropy)
    }

    /// Opens what [`Self::wrap`] wrapped. The epoch that it was wrapped in is [`envelope::term`] of the bytes.
    ///
    /// # Errors
    /// [`UnwrapError`] if the root key is another one, or the bytes are no keyring of this storage.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<Keyring, UnwrapError> {
        let opened = envelope::open(&self.key, &self.aad(), wrapped).map_err(UnwrapError::Envelope)?;
        Keyring::decode(opened.expose()).map_err(UnwrapError::Keyring)
    }

    fn aad(&self) -> Vec<u8> {
        [LABEL.as_bytes(), self.storage_id.as_bytes()].concat()
    }
}

const LABEL: &str = "aumbry/seal/keyring/1";
