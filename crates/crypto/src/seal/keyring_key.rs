//! The key that wraps the keyring.

use aumbry_types::{Entropy, SecretKey, StorageId};

use super::{UnwrapError, root_key};
use crate::derive_key;
use crate::envelope::{self, OpenError};
use crate::keyring::Keyring;

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

    /// Tells the key of the next root key to whoever has this one: a node that is open when the root key is replaced stays open. `epoch` is that of the next
    /// root key.
    ///
    /// Whoever has this key and what is given here has the next key too. So it is taken away again, and nobody has lost a root key for good before that.
    #[must_use]
    pub fn hand_over(&self, next: &Self, epoch: u32, entropy: &dyn Entropy) -> Vec<u8> {
        let (key, aad) = self.handover(epoch);
        envelope::seal(&key, epoch, &aad, next.key.expose(), entropy)
    }

    /// The next key, from what [`Self::hand_over`] gave.
    ///
    /// # Errors
    /// [`UnwrapError`] if it was given by another key, or for another storage.
    pub fn take_over(&self, given: &[u8]) -> Result<Self, UnwrapError> {
        let epoch = envelope::term(given).map_err(UnwrapError::Envelope)?;
        let (key, aad) = self.handover(epoch);
        let opened = envelope::open(&key, &aad, given).map_err(UnwrapError::Envelope)?;
        let key = root_key(&opened).ok_or(UnwrapError::Envelope(OpenError::Corrupt))?;
        Ok(Self {
            key,
            storage_id: self.storage_id,
        })
    }

    fn handover(&self, epoch: u32) -> (SecretKey, Vec<u8>) {
        let context = [&self.storage_id.as_bytes()[..], &epoch.to_be_bytes()].concat();
        let aad = [HANDOVER_LABEL.as_bytes(), &context].concat();
        (derive_key(&self.key, HANDOVER_LABEL, &context), aad)
    }

    fn aad(&self) -> Vec<u8> {
        [LABEL.as_bytes(), self.storage_id.as_bytes()].concat()
    }
}

const HANDOVER_LABEL: &str = "aumbry/seal/keyring-handover/1";
const LABEL: &str = "aumbry/seal/keyring/1";
