//! The seal of one node: closed until enough key shares were shown, or another seal's key, and then the keys.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aumbry_barrier::Barrier;
use aumbry_crypto::envelope;
use aumbry_crypto::seal::{KeyId, KeyKind, KeySeal, KeyringKey, SealConfig, ShareError, StaticKey, Submitted, Unseal};
use aumbry_state::{Row, View, key};
use aumbry_types::{CommandId, SecretKey, StorageId};
use serde::{Deserialize, Serialize};

use crate::cluster_seal::ClusterSeal;

/// The seal.
#[derive(Default)]
pub(crate) struct Seal {
    open: RwLock<Open>,
    progress: Mutex<Option<Progress>>,
}

#[derive(Default)]
struct Open {
    held: Option<Held>,
    /// Whether it was closed in the life of this process: then somebody wanted it closed, and only shares open it.
    was_closed: bool,
}

/// What an open seal has.
#[derive(Clone)]
pub(crate) struct Held {
    barrier: Arc<Barrier>,
    /// The command that wrote the keyring that the barrier was opened from.
    keyring: CommandId,
    /// What stood in the seal of the whole cluster when it was opened.
    mark: [u8; 16],
}

/// The shares shown so far. They count until the whole cluster is sealed.
struct Progress {
    unseal: Unseal,
    mark: [u8; 16],
}

/// What everyone may know of the seal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealStatus {
    /// Whether the cluster was initialised.
    pub initialised: bool,
    /// Whether this node is sealed.
    pub sealed: bool,
    /// How many shares open it.
    pub threshold: u32,
    /// How many shares there are.
    pub shares: u32,
    /// How many have been shown.
    pub progress: u32,
    /// The epoch of the shares.
    pub epoch: u32,
    /// The kinds of seals, each once: `shares`, then those of keys.
    pub seals: Vec<&'static str>,
    /// Whether seals of keys open nothing, since an operator sealed the whole cluster and has not released them.
    pub keys_held_back: bool,
}

/// One seal of the cluster. Any one opens a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealInfo {
    /// `shares`, or the kind of its key.
    pub kind: String,
    /// Which key opens it; nothing for shares.
    pub key_id: String,
    /// The epoch of the shares, or of the root key.
    pub epoch: u32,
    /// When it was added, in log time (ms).
    pub added: u64,
    /// How many shares open it, and how many there are; zeros for keys.
    pub shares: (u8, u8),
    /// Whether it opens the present root key.
    pub current: bool,
    /// The name of the key outside that wraps its key. Not kept with a reply that is repeated, whose layout is older.
    #[serde(skip)]
    pub name: String,
}

/// The seals that keys open, and what a new one is bound to. Nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySeals {
    /// The storage that they open.
    pub storage_id: StorageId,
    /// The epoch of the root key that the keyring is wrapped under.
    pub root_epoch: u32,
    /// By the id of their key.
    pub seals: Vec<KeySeal>,
}

/// Why a share did not help. The shares shown before still count.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// No cluster yet.
    #[error("the cluster is not initialised; run `aumbry operator init`")]
    NotInitialised,
    /// The share.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The stored keys do not open with the root key that the shares gave.
    #[error(
        "the shares are right, but the stored keys do not open: the data of this node is damaged; wipe it and join again"
    )]
    Damaged,
}

/// Why a key did not open the node. The shares shown before still count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyUnsealError {
    /// No cluster yet.
    #[error("the cluster is not initialised; run `aumbry operator init`")]
    NotInitialised,
    /// Somebody closed it since the node was started.
    #[error("the node was sealed by an operator: key shares open it, or a restart")]
    Closed,
    /// Somebody sealed the whole cluster.
    #[error(
        "an operator sealed the whole cluster: keys open nothing until `aumbry operator seal --release`, which takes a node that key shares opened"
    )]
    HeldBack,
    /// No seal is opened by this key.
    #[error(
        "the key {0} opens no seal of this cluster; see `aumbry operator seals list`, and add it with `aumbry operator seals add`"
    )]
    Unknown(KeyId),
    /// The root key was replaced since the seal was added.
    #[error(
        "the seal of the key {0} holds a root key that was replaced; remove it and add it again with `aumbry operator seals`"
    )]
    Replaced(KeyId),
    /// The seal is damaged, or the stored keys are.
    #[error(
        "the seal of the key {0} does not open: it is damaged; open the node with key shares and add the seal again"
    )]
    Damaged(KeyId),
}

impl Seal {
    /// The keys, if open.
    pub(crate) fn barrier(&self) -> Option<Arc<Barrier>> {
        self.held().map(|held| held.barrier)
    }

    fn held(&self) -> Option<Held> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).held.clone()
    }

    /// Closes it. The keys are wiped when the last request that holds them ends.
    pub(crate) fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Open {
            held: None,
            was_closed: true,
        };
        self.reset();
    }

    /// Closes it because the whole cluster is sealed: keys open it again once they are released.
    pub(crate) fn close_with_cluster(&self) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).held = None;
        self.reset();
    }

    /// Closes it if the whole cluster was sealed since it was opened. True if it was.
    pub(crate) fn obey(&self, view: &dyn View) -> bool {
        let Some(before) = self.held() else { return false };
        if ClusterSeal::read(view).mark == before.mark {
            return false;
        }
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever closed and opened it meanwhile knew of it.
        if open.held.as_ref().is_none_or(|held| held.mark != before.mark) {
            return false;
        }
        open.held = None;
        drop(open);
        tracing::warn!("an operator sealed the whole cluster: this node has wiped its keys; key shares open it");
        true
    }

    /// Forgets the shares shown so far. True if there were some.
    pub(crate) fn reset(&self) -> bool {
        let shown = self.progress.lock().unwrap_or_else(PoisonError::into_inner).take();
        shown.is_some_and(|shown| shown.unseal.have() > 0)
    }

    /// Whether this is a share of the configuration that this node has applied.
    pub(crate) fn knows(view: &dyn View, share: &[u8]) -> bool {
        read_config(view).is_some_and(|config| Unseal::new(config).submit(share).is_ok())
    }

    pub(crate) fn status(&self, view: &dyn View) -> SealStatus {
        let config = read_config(view);
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        SealStatus {
            initialised: config.is_some(),
            sealed: self.barrier().is_none(),
            threshold: config.as_ref().map_or(0, |c| u32::from(c.threshold)),
            shares: config.as_ref().map_or(0, |c| u32::from(c.shares)),
            progress: progress
                .as_ref()
                .map_or(0, |progress| u32::from(progress.unseal.have())),
            keys_held_back: !ClusterSeal::read(view).is_released,
            seals: config.as_ref().map_or_else(Vec::new, |_| kinds(view)),
            epoch: config.map_or(0, |c| c.epoch),
        }
    }

    /// Takes one share. True once the seal is open.
    pub(crate) fn submit(&self, view: &dyn View, share: &[u8]) -> Result<bool, UnsealError> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if self.barrier().is_some() {
            return Ok(true);
        }
        // Before everything else: what is sealed from here on closes it again.
        let mark = ClusterSeal::read(view).mark;
        let config = read_config(view).ok_or(UnsealError::NotInitialised)?;
        let (storage_id, epoch) = (config.storage_id, config.epoch);
        // Shares of an epoch that has ended meanwhile count for nothing, nor do those shown before the whole cluster was sealed.
        let is_of = |before: &Unseal| before.config().epoch == epoch && before.config().storage_id == storage_id;
        let shown = match progress.take() {
            Some(before) if is_of(&before.unseal) && before.mark == mark => progress.insert(before),
            _ => progress.insert(Progress {
                unseal: Unseal::new(config),
                mark,
            }),
        };
        let root = match shown.unseal.submit(share)? {
            Submitted::Progress { .. } => return Ok(false),
            Submitted::Opened(root) => root,
        };
        *progress = None;
        let opened = open_keyring(view, storage_id, &root, mark).ok_or(UnsealError::Damaged)?;
        self.open.write().unwrap_or_else(PoisonError::into_inner).held = Some(opened);
        Ok(true)
    }

    /// Takes up the keyring that is stored, if it is another than the one that the barrier was opened from. A keyring that opens neither with the key of
    /// the one before, nor with the one that is handed over, closes the seal: this node could not read what is written from now on.
    pub(crate) fn follow(&self, view: &dyn View) {
        let Some(before) = self.held() else { return };
        let Some(row) = keyring_row(view).filter(|row| row.writer != before.keyring) else {
            return;
        };
        let handover = view.get(&key::keyring_handover());
        let handover = handover.and_then(|row| Row::decode(&row).ok()).map(|row| row.body);
        let next = before.barrier.follow(&row.body, handover.as_deref()).ok();
        if next.is_none() {
            tracing::warn!(
                "the stored keys were wrapped anew, and this node cannot open them: it seals itself; use the key shares"
            );
        }
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // What a person closes meanwhile stays closed.
        if open.held.is_some() {
            open.held = next.map(|next| Held {
                barrier: Arc::new(next),
                keyring: row.writer,
                mark: before.mark,
            });
        }
    }

    /// Opens it with the key of a seal, unless it was closed since the node was started, or the whole cluster was sealed and keys are held back.
    /// Gives the kind of that seal, as its row has it.
    pub(crate) fn open_with_key(&self, view: &dyn View, seal_key: &StaticKey) -> Result<KeyKind, KeyUnsealError> {
        if read_config(view).is_some() && !ClusterSeal::read(view).is_released {
            return Err(KeyUnsealError::HeldBack);
        }
        let (opened, kind) = try_key(view, seal_key)?;
        {
            let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
            // Looked at under the lock that closing takes: what a person closes meanwhile stays closed.
            if open.was_closed {
                return Err(KeyUnsealError::Closed);
            }
            open.held.get_or_insert(opened);
        }
        self.reset();
        Ok(kind)
    }
}

/// What a key opens: the keys of the store. Who drops them has tested the seal.
pub(crate) fn try_key(view: &dyn View, seal_key: &StaticKey) -> Result<(Held, KeyKind), KeyUnsealError> {
    // Before everything else: what is sealed from here on closes it again.
    let mark = ClusterSeal::read(view).mark;
    let config = read_config(view).ok_or(KeyUnsealError::NotInitialised)?;
    let id = seal_key.id();
    let row = view
        .get(&key::key_seal(*id.as_bytes()))
        .ok_or(KeyUnsealError::Unknown(id))?;
    let seal = Row::decode(&row).ok().and_then(|row| KeySeal::decode(&row.body).ok());
    let seal = seal.ok_or(KeyUnsealError::Damaged(id))?;
    if root_epoch(view) != Some(seal.root_epoch) {
        return Err(KeyUnsealError::Replaced(id));
    }
    let root = seal.open(seal_key, config.storage_id);
    let root = root.map_err(|_| KeyUnsealError::Damaged(id))?;
    let held = open_keyring(view, config.storage_id, &root, mark).ok_or(KeyUnsealError::Damaged(id))?;
    Ok((held, seal.kind))
}

/// The seals that keys open, as far as this version can read them, and what they are bound to.
pub(crate) fn key_seals(view: &dyn View) -> Option<KeySeals> {
    let config = read_config(view)?;
    let rows = view.scan(&key::key_seals_prefix(), None, KEY_SEALS_MAX).into_iter();
    let seals = rows.filter_map(|(_, row)| KeySeal::decode(&Row::decode(&row).ok()?.body).ok());
    Some(KeySeals {
        storage_id: config.storage_id,
        root_epoch: root_epoch(view)?,
        seals: seals.collect(),
    })
}

/// The keys of the store, opened with its root key.
fn open_keyring(view: &dyn View, storage_id: StorageId, root: &SecretKey, mark: [u8; 16]) -> Option<Held> {
    let row = keyring_row(view)?;
    let key = Arc::new(KeyringKey::of_root(root, storage_id));
    let barrier = Barrier::unwrap(storage_id, key, &row.body).ok()?;
    Some(Held {
        barrier: Arc::new(barrier),
        keyring: row.writer,
        mark,
    })
}

/// The epoch of the root key that the keyring is wrapped under.
fn root_epoch(view: &dyn View) -> Option<u32> {
    envelope::term(&keyring_row(view)?.body).ok()
}

fn keyring_row(view: &dyn View) -> Option<Row> {
    Row::decode(&view.get(&key::keyring())?).ok()
}

/// The kinds of seals, each once.
fn kinds(view: &dyn View) -> Vec<&'static str> {
    let mut kinds = vec![SHARES];
    for (_, row) in view.scan(&key::key_seals_prefix(), None, KEY_SEALS_MAX) {
        let seal = Row::decode(&row).ok().and_then(|row| KeySeal::decode(&row.body).ok());
        let kind = seal.map_or("unknown", |seal| seal.kind.name());
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// The committed seal configuration.
pub(crate) fn read_config(view: &dyn View) -> Option<SealConfig> {
    let row = Row::decode(&view.get(&key::seal_config())?).ok()?;
    SealConfig::decode(&row.body).ok()
}

/// Whether somebody has opened the seal with the shares of the committed configuration.
#[must_use]
pub fn is_confirmed(view: &dyn View) -> bool {
    read_config(view).is_some_and(|config| config.confirmed)
}

/// The kind of the seal that shares open.
pub(crate) const SHARES: &str = "shares";
/// One for each node, or each data centre, and some that are being replaced. Who is asked for the kinds reads them all.
pub(crate) const KEY_SEALS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use aumbry_crypto::keyring::Keyring;
    use aumbry_crypto::seal::{make_seal, wrap_keyring};
    use aumbry_state::MemoryView;
    use aumbry_types::{CommandId, ObjectId, SimulatedEntropy};
    use bytes::Bytes;

    use super::*;

    const ID: StorageId = StorageId::from_bytes([5; 16]);

    /// A store with one seal of a key; what stands in it can be changed.
    struct Bed {
        view: MemoryView,
        entropy: SimulatedEntropy,
        key: StaticKey,
        root: SecretKey,
        keyring: Keyring,
    }

    impl Bed {
        fn make() -> Self {
            let entropy = SimulatedEntropy::new(1);
            let bed = Self {
                view: MemoryView::default(),
                key: StaticKey::make(&entropy),
                root: SecretKey::make(&entropy),
                keyring: Keyring::make(&entropy),
                entropy,
            };
            let (config, _) = make_seal(ID, 1, 3, 2, &bed.root, &bed.entropy).expect("is a threshold");
            bed.put(key::seal_config(), config.encode());
            bed.put(
                key::keyring(),
                wrap_keyring(&bed.root, ID, &bed.keyring, 1, &bed.entropy),
            );
            bed.put_seal(&bed.root, 1);
            bed
        }

        fn put_seal(&self, root: &SecretKey, root_epoch: u32) {
            let seal = KeySeal::make_static(&self.key, ID, root_epoch, root, &self.entropy);
            self.put(key::key_seal(*seal.key_id.as_bytes()), seal.encode());
        }

        fn put(&self, row_key: Bytes, body: Vec<u8>) {
            let row = Row {
                kind: 1,
                flags: 0,
                rev: aumbry_state::Rev::default(),
                writer: CommandId::from_bytes([0; 16]),
                created: 0,
                expires_at: 0,
                counters: [0, 0],
                key_term: 0,
                container: ObjectId::well_known(0),
                body: body.into(),
            };
            self.view.write([(row_key, Some(row.encode()))]);
        }

        fn open(&self) -> Result<(), KeyUnsealError> {
            let seal = Seal::default();
            let opened = seal.open_with_key(&self.view, &self.key);
            assert_eq!(opened.is_ok(), seal.barrier().is_some());
            opened.map(drop)
        }
    }

    /// Abuse cases: 62.
    #[test]
    fn a_root_key_that_was_replaced_leaves_the_seal_behind() {
        let bed = Bed::make();
        let id = bed.key.id();
        assert_eq!(bed.open(), Ok(()));
        let new = SecretKey::make(&bed.entropy);
        bed.put(key::keyring(), wrap_keyring(&new, ID, &bed.keyring, 2, &bed.entropy));
        assert_eq!(bed.open(), Err(KeyUnsealError::Replaced(id)));
        // A seal that only says that it is of the new epoch opens no keyring.
        bed.put_seal(&bed.root, 2);
        assert_eq!(bed.open(), Err(KeyUnsealError::Damaged(id)));
        bed.put_seal(&new, 2);
        assert_eq!(bed.open(), Ok(()));
    }

    /// Abuse cases: 62.
    #[test]
    fn a_seal_that_is_damaged_or_of_another_store_is_told() {
        let bed = Bed::make();
        let id = bed.key.id();
        let good = KeySeal::make_static(&bed.key, ID, 1, &bed.root, &bed.entropy);
        let row_key = key::key_seal(*id.as_bytes());
        let foreign = StorageId::from_bytes([6; 16]);
        let foreign = KeySeal::make_static(&bed.key, foreign, 1, &bed.root, &bed.entropy);
        let mut flipped = good.encode();
        *flipped.last_mut().expect("is not empty") ^= 1;
        for bytes in [foreign.encode(), flipped, Vec::new()] {
            bed.put(row_key.clone(), bytes);
            assert_eq!(bed.open(), Err(KeyUnsealError::Damaged(id)));
            assert!(kinds(&bed.view).len() == 2);
        }
        bed.put(row_key.clone(), good.encode());
        assert_eq!(bed.open(), Ok(()));
        bed.view.write([(row_key, None)]);
        assert_eq!(
            (bed.open(), kinds(&bed.view)),
            (Err(KeyUnsealError::Unknown(id)), vec![SHARES])
        );
        assert_eq!(
            Seal::default().open_with_key(&MemoryView::default(), &bed.key),
            Err(KeyUnsealError::NotInitialised)
        );
    }
}
