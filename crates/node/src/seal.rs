//! The seal of one node: closed until enough key shares were shown, and then the keys.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aumbry_barrier::Barrier;
use aumbry_crypto::seal::{SealConfig, ShareError, Submitted, Unseal, unwrap_keyring};
use aumbry_state::{Row, View, key};

/// The seal.
#[derive(Default)]
pub(crate) struct Seal {
    open: RwLock<Option<Arc<Barrier>>>,
    progress: Mutex<Option<Unseal>>,
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

impl Seal {
    /// The keys, if open.
    pub(crate) fn barrier(&self) -> Option<Arc<Barrier>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes it. The keys are wiped when the last request that holds them ends.
    pub(crate) fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.reset();
    }

    /// Forgets the shares shown so far.
    pub(crate) fn reset(&self) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn status(&self, view: &dyn View) -> SealStatus {
        let config = read_config(view);
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        SealStatus {
            initialised: config.is_some(),
            sealed: self.barrier().is_none(),
            threshold: config.as_ref().map_or(0, |c| u32::from(c.threshold)),
            shares: config.as_ref().map_or(0, |c| u32::from(c.shares)),
            progress: progress.as_ref().map_or(0, |unseal| u32::from(unseal.have())),
            epoch: config.map_or(0, |c| c.epoch),
        }
    }

    /// Takes one share. True once the seal is open.
    pub(crate) fn submit(&self, view: &dyn View, share: &[u8]) -> Result<bool, UnsealError> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if self.barrier().is_some() {
            return Ok(true);
        }
        let config = read_config(view).ok_or(UnsealError::NotInitialised)?;
        let (storage_id, epoch) = (config.storage_id, config.epoch);
        // Shares of an epoch that has ended meanwhile count for nothing.
        let unseal = match progress.take() {
            Some(unseal) if unseal.config().epoch == epoch && unseal.config().storage_id == storage_id => {
                progress.insert(unseal)
            }
            _ => progress.insert(Unseal::new(config)),
        };
        let root = match unseal.submit(share)? {
            Submitted::Progress { .. } => return Ok(false),
            Submitted::Opened(root) => root,
        };
        *progress = None;
        let wrapped = view
            .get(&key::keyring())
            .and_then(|row| Row::decode(&row).ok())
            .ok_or(UnsealError::Damaged)?;
        let keyring = unwrap_keyring(&root, storage_id, &wrapped.body).map_err(|_| UnsealError::Damaged)?;
        let barrier = Arc::new(Barrier::new(storage_id, keyring));
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(barrier);
        Ok(true)
    }
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
