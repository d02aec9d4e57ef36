//! The open barrier: the keys, and how rows are sealed with them.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use aumbry_crypto::keyring::{Keyring, Purpose};
use aumbry_crypto::seal::{KeyringKey, UnwrapError};
use aumbry_crypto::{envelope, mac16, two_layer};
use aumbry_types::{Entropy, ObjectId, SecretBytes, SecretKey, StorageId};
use bytes::Bytes;

use crate::Kind;
use crate::opened::Opened;

/// A row does not open with the keys of this barrier: damage, or a row of another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored row is damaged or does not belong here; compare `aumbry operator status` of the nodes")]
pub struct DamagedRow;

/// The keys that an unsealed node holds. Dropping it seals.
pub struct Barrier {
    storage_id: StorageId,
    keyring: Keyring,
    opened: Opened,
    /// What opens and wraps the keyring, where it is known: in an unsealed node.
    keyring_key: Option<Arc<KeyringKey>>,
    /// How often keys of the current term have sealed something.
    uses: AtomicU64,
}

impl Barrier {
    /// Takes over the keyring.
    #[must_use]
    pub fn new(storage_id: StorageId, keyring: Keyring) -> Self {
        Self {
            storage_id,
            keyring,
            opened: Opened::new(),
            keyring_key: None,
            uses: AtomicU64::new(0),
        }
    }

    /// Opens the keyring.
    ///
    /// # Errors
    /// [`UnwrapError`] if it is wrapped by another key, or damaged.
    pub fn unwrap(storage_id: StorageId, key: Arc<KeyringKey>, wrapped: &[u8]) -> Result<Self, UnwrapError> {
        let keyring = key.unwrap(wrapped)?;
        Ok(Self {
            keyring_key: Some(key),
            ..Self::new(storage_id, keyring)
        })
    }

    /// The barrier of a keyring that took this one's place. Where the root key was replaced, `handover` has the key that wraps it now, for nodes that are open.
    ///
    /// # Errors
    /// [`DamagedRow`] if it is wrapped neither by the key that this one was opened with, nor by the one that is handed over.
    pub fn follow(&self, wrapped: &[u8], handover: Option<&[u8]>) -> Result<Self, DamagedRow> {
        let key = self.keyring_key.as_ref().ok_or(DamagedRow)?;
        let next = Self::unwrap(self.storage_id, Arc::clone(key), wrapped).or_else(|error| {
            let next = key.take_over(handover.ok_or(error)?)?;
            Self::unwrap(self.storage_id, Arc::new(next), wrapped)
        });
        let next = next.map_err(|_| DamagedRow)?;
        if next.keyring.term() == self.keyring.term() {
            next.uses.store(self.uses(), Ordering::Relaxed);
        }
        Ok(next)
    }

    /// The wrapped keyring, changed.
    ///
    /// # Errors
    /// What `change` fails with; [`DamagedRow`] if the keyring does not open.
    pub fn change_keyring<E: From<DamagedRow>>(
        &self,
        wrapped: &[u8],
        entropy: &dyn Entropy,
        change: impl FnOnce(&mut Keyring) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let key = self.keyring_key.as_ref().ok_or(DamagedRow)?;
        let epoch = envelope::term(wrapped).map_err(|_| DamagedRow)?;
        let mut keyring = key.unwrap(wrapped).map_err(|_| DamagedRow)?;
        change(&mut keyring)?;
        Ok(key.wrap(&keyring, epoch, entropy).into())
    }

    /// The keyring as another root key wraps it, and what hands the key that opens it over to nodes that are open.
    ///
    /// # Errors
    /// [`DamagedRow`] if the keyring does not open.
    pub fn change_root(
        &self,
        wrapped: &[u8],
        root: &SecretKey,
        entropy: &dyn Entropy,
    ) -> Result<(Bytes, Bytes), DamagedRow> {
        let key = self.keyring_key.as_ref().ok_or(DamagedRow)?;
        let epoch = envelope::term(wrapped).map_err(|_| DamagedRow)?;
        let epoch = epoch.checked_add(1).ok_or(DamagedRow)?;
        let keyring = key.unwrap(wrapped).map_err(|_| DamagedRow)?;
        let next = KeyringKey::of_root(root, self.storage_id);
        let handover = key.hand_over(&next, epoch, entropy);
        Ok((next.wrap(&keyring, epoch, entropy).into(), handover.into()))
    }

    /// How often keys of the current term have sealed something since this barrier was made.
    #[must_use]
    pub fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Seals the body of a row, or the key of its value, with a key of the current term. Nothing if it has that term already, or is clear.
    ///
    /// # Errors
    /// [`DamagedRow`] if it does not open.
    pub fn rewrap(
        &self,
        row: &[u8],
        kind: u8,
        body: &Bytes,
        entropy: &dyn Entropy,
    ) -> Result<Option<(u32, Bytes)>, DamagedRow> {
        let kind = Kind::from_u8(kind).ok_or(DamagedRow)?;
        let term = self.keyring.term();
        let aad = self.associated_data(row, kind);
        if kind == Kind::SecretVersion {
            let old = two_layer::term(body).map_err(|_| DamagedRow)?;
            if old == term {
                return Ok(None);
            }
            let key = self.keyring.data_key(Purpose::Wrap, old).ok_or(DamagedRow)?;
            let sealed = two_layer::rewrap(key, self.current_key(Purpose::Wrap), term, &aad, body, entropy);
            return sealed.map(|sealed| Some((term, sealed.into()))).map_err(|_| DamagedRow);
        }
        let old = envelope::term(body).map_err(|_| DamagedRow)?;
        if old == term {
            return Ok(None);
        }
        let key = self.keyring.data_key(Purpose::Meta, old).ok_or(DamagedRow)?;
        let plain = envelope::open(key, &aad, body).map_err(|_| DamagedRow)?;
        Ok(Some(self.seal(row, kind, plain.expose(), entropy)))
    }

    /// The identity of the stored data.
    #[must_use]
    pub const fn storage_id(&self) -> StorageId {
        self.storage_id
    }

    /// The keys.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The keyed hash under which a name stands in a container.
    #[must_use]
    pub fn hash_name(&self, container: ObjectId, name: &str) -> [u8; 16] {
        mac16(self.keyring.names(), &[b"name", container.as_bytes(), name.as_bytes()])
    }

    /// The keyed hash under which the reply to an idempotency key stands.
    #[must_use]
    pub fn hash_idempotency_key(&self, identity: &[u8], key: &str) -> [u8; 16] {
        mac16(self.keyring.names(), &[b"idempotency", identity, key.as_bytes()])
    }

    /// Seals the body of a row with a key of the current term.
    pub(crate) fn seal(&self, row: &[u8], kind: Kind, plaintext: &[u8], entropy: &dyn Entropy) -> (u32, Bytes) {
        let term = self.keyring.term();
        let aad = self.associated_data(row, kind);
        let sealed = envelope::seal(self.current_key(Purpose::Meta), term, &aad, plaintext, entropy);
        (term, sealed.into())
    }

    /// Opens the body of a row.
    pub(crate) fn open(&self, row: &[u8], kind: Kind, body: &Bytes) -> Result<SecretBytes, DamagedRow> {
        if let Some(plain) = self.opened.find(row, kind, body) {
            return Ok(plain);
        }
        let term = envelope::term(body).map_err(|_| DamagedRow)?;
        let key = self.keyring.data_key(Purpose::Meta, term).ok_or(DamagedRow)?;
        let plain = envelope::open(key, &self.associated_data(row, kind), body).map_err(|_| DamagedRow)?;
        self.opened.keep(row, kind, body, &plain);
        Ok(plain)
    }

    /// Seals a value with a key of its own, which a key of the current term wraps.
    pub(crate) fn seal_value(&self, row: &[u8], kind: Kind, plaintext: &[u8], entropy: &dyn Entropy) -> (u32, Bytes) {
        let term = self.keyring.term();
        let aad = self.associated_data(row, kind);
        let sealed = two_layer::seal(self.current_key(Purpose::Wrap), term, &aad, plaintext, entropy);
        (term, sealed.into())
    }

    /// Opens a value.
    pub(crate) fn open_value(&self, row: &[u8], kind: Kind, body: &[u8]) -> Result<SecretBytes, DamagedRow> {
        let term = two_layer::term(body).map_err(|_| DamagedRow)?;
        let key = self.keyring.data_key(Purpose::Wrap, term).ok_or(DamagedRow)?;
        two_layer::open(key, &self.associated_data(row, kind), body).map_err(|_| DamagedRow)
    }

    /// Seals what a token that is not stored holds, with a key of the current term.
    #[must_use]
    pub fn seal_token(&self, plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        self.seal(NO_ROW, Kind::BatchToken, plaintext, entropy).1.into()
    }

    /// Opens what [`Self::seal_token`] sealed with a key of a term that is not retired.
    #[must_use]
    pub fn open_token(&self, sealed: &[u8]) -> Option<SecretBytes> {
        self.open(NO_ROW, Kind::BatchToken, &Bytes::copy_from_slice(sealed))
            .ok()
    }

    /// Seals the state of a login by a browser, which whoever logs in carries, with a key of the current term. It opens in the same place alone.
    #[must_use]
    pub fn seal_browser_login(&self, place: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        self.seal(&browser_login(place), Kind::BrowserLogin, plaintext, entropy)
            .1
            .into()
    }

    /// Opens what [`Self::seal_browser_login`] sealed for this place with a key of a term that is not retired.
    #[must_use]
    pub fn open_browser_login(&self, place: &[u8], sealed: &[u8]) -> Option<SecretBytes> {
        let sealed = Bytes::copy_from_slice(sealed);
        self.open(&browser_login(place), Kind::BrowserLogin, &sealed).ok()
    }

    /// The key to seal one thing with, which is counted.
    fn current_key(&self, purpose: Purpose) -> &SecretKey {
        self.uses.fetch_add(1, Ordering::Relaxed);
        let key = self.keyring.data_key(purpose, self.keyring.term());
        key.expect("the keyring holds its current term")
    }

    fn associated_data(&self, row: &[u8], kind: Kind) -> Vec<u8> {
        [&self.storage_id.as_bytes()[..], &[kind as u8], row].concat()
    }
}

/// No row's key begins so.
fn browser_login(place: &[u8]) -> Vec<u8> {
    [b"browser-login/1\0", place].concat()
}

/// No row's key is empty.
const NO_ROW: &[u8] = b"";

#[cfg(test)]
mod tests {
    use aumbry_types::SimulatedEntropy;

    use super::*;

    /// Every kind there is, so that one that is added is looked at here.
    fn kinds() -> impl Iterator<Item = Kind> {
        (0..=u8::MAX).filter_map(Kind::from_u8)
    }

    #[test]
    fn the_state_of_a_login_opens_in_its_place_alone() {
        let entropy = SimulatedEntropy::new(2);
        let (id, keys) = (StorageId::make(&entropy), Keyring::make(&entropy));
        let barrier = Barrier::new(id, keys);
        let sealed = barrier.seal_browser_login(b"here", b"state", &entropy);
        let opened = |barrier: &Barrier, place: &[u8], sealed: &[u8]| {
            let plain = barrier.open_browser_login(place, sealed);
            plain.map(|plain| plain.expose().to_vec())
        };
        assert_eq!(opened(&barrier, b"here", &sealed), Some(b"state".to_vec()));
        assert_eq!(opened(&barrier, b"there", &sealed), None);
        assert!(barrier.open_token(&sealed).is_none());
        let token = barrier.seal_token(b"state", &entropy);
        assert_eq!(opened(&barrier, b"here", &token), None);
        let other = Barrier::new(StorageId::make(&entropy), Keyring::make(&entropy));
        assert_eq!(opened(&other, b"here", &sealed), None);
        let mut torn = sealed;
        *torn.last_mut().expect("is not empty") ^= 1;
        assert_eq!(opened(&barrier, b"here", &torn), None);
    }

    #[test]
    fn only_names_tokens_policies_and_metadata_stay_opened() {
        let entropy = SimulatedEntropy::new(1);
        let barrier = Barrier::new(StorageId::make(&entropy), Keyring::make(&entropy));
        let mut kept = Vec::new();
        for kind in kinds() {
            let row = [b'r', kind as u8];
            let (_, body) = barrier.seal(&row, kind, b"plaintext", &entropy);
            assert!(
                barrier.opened.find(&row, kind, &body).is_none(),
                "{kind:?} before it was opened"
            );
            for _ in 0..2 {
                let plain = barrier.open(&row, kind, &body).expect("opens");
                assert_eq!(plain.expose(), b"plaintext", "{kind:?}");
            }
            if barrier.opened.find(&row, kind, &body).is_some() {
                kept.push(kind);
            }
        }
        let expected = [
            Kind::Directory,
            Kind::Secret,
            Kind::Token,
            Kind::Policy,
            Kind::Mount,
            Kind::TokenRole,
            Kind::AppRole,
            Kind::RoleId,
            Kind::SecretId,
            Kind::Entity,
            Kind::Alias,
            Kind::Group,
            Kind::Quota,
            Kind::MfaMethod,
            Kind::MfaEnforcement,
            Kind::Namespace,
            Kind::PasswordPolicy,
            Kind::MethodRole,
            Kind::KeyCare,
        ];
        assert_eq!(kept, expected);
    }
}
