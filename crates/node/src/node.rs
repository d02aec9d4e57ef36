//! One node above consensus: its parts, and its seal.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use aumbry_barrier::ListCache;
use aumbry_crypto::seal::{ShareError, StaticKey};
use aumbry_state::Consensus;
use aumbry_types::{Clock, Entropy};

use crate::admission::Admission;
use crate::audit_floor::Obeyed;
use crate::audit_query::AuditIndex;
use crate::browser::{Beginnings, TriedStates};
use crate::checkpoints::Checkpoints;
use crate::clocks::Clocks;
use crate::erasure::Erasures;
use crate::logins::Hashing;
use crate::outside::Outside;
use crate::planner::Planner;
use crate::quotas::Measures;
use crate::refusals::Refusals;
use crate::request::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::rooms::Rooms;
use crate::seal::{KeySeals, KeyUnsealError, SHARES, Seal, SealStatus, UnsealError};
use crate::sequencer::Sequencer;
use crate::unsealing::Unsealing;
use crate::vouchers::Vouchers;
use crate::{Class, Failure, Request, stack};

/// One node above consensus.
pub struct Node {
    pub(crate) consensus: Arc<dyn Consensus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) outside: Outside,
    pub(crate) sequencer: Sequencer,
    pub(crate) seal: Seal,
    pub(crate) lists: ListCache,
    pub(crate) refusals: Refusals,
    pub(crate) measures: Measures,
    pub(crate) clocks: Clocks,
    pub(crate) rooms: Rooms,
    pub(crate) erasures: Erasures,
    pub(crate) checkpoints: Checkpoints,
    /// The turn to add to the hashes of the audit tree, or to throw them away.
    pub(crate) audit_turn: Mutex<()>,
    /// How far it has removed what was pruned.
    pub(crate) audit_obeyed: Obeyed,
    /// The first audit record that this node's archive does not have.
    pub(crate) archived: AtomicU64,
    pub(crate) admission: Admission,
    pub(crate) hashing: Hashing,
    pub(crate) vouchers: Vouchers,
    pub(crate) tried: TriedStates,
    pub(crate) beginnings: Beginnings,
    pub(crate) audit_index: AuditIndex,
    pub(crate) unsealing: Unsealing,
}

impl Node {
    /// A sealed node. Run [`crate::run_duties`] beside it.
    #[must_use]
    pub fn new(
        consensus: Arc<dyn Consensus>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        outside: Outside,
    ) -> Arc<Self> {
        let planner = Planner::new(consensus.view());
        Arc::new(Self {
            consensus,
            clock,
            entropy,
            outside,
            sequencer: Sequencer::new(planner),
            seal: Seal::default(),
            lists: ListCache::default(),
            refusals: Refusals::default(),
            measures: Measures::default(),
            clocks: Clocks::default(),
            rooms: Rooms::default(),
            erasures: Erasures::default(),
            checkpoints: Checkpoints::default(),
            audit_turn: Mutex::default(),
            audit_obeyed: Obeyed::default(),
            archived: AtomicU64::default(),
            admission: Admission::new(),
            hashing: Hashing::default(),
            vouchers: Vouchers::default(),
            tried: TriedStates::default(),
            beginnings: Beginnings::default(),
            audit_index: AuditIndex::default(),
            unsealing: Unsealing::default(),
        })
    }

    /// The seal, as anyone may see it.
    #[must_use]
    pub fn seal_status(&self) -> SealStatus {
        self.seal.status(&*self.consensus.view())
    }

    /// Whether the node holds its keys.
    #[must_use]
    pub fn is_unsealed(&self) -> bool {
        self.seal.barrier().is_some()
    }

    /// Takes one key share. The caller has made sure that this node has applied what the cluster committed.
    ///
    /// # Errors
    /// [`UnsealError`]; shares shown before still count.
    pub fn unseal(&self, share: &[u8]) -> Result<SealStatus, UnsealError> {
        self.unseal_from(share, "")
    }

    /// As [`Self::unseal`], from this address.
    ///
    /// # Errors
    /// [`UnsealError`]; shares shown before still count.
    pub fn unseal_from(&self, share: &[u8], address: &str) -> Result<SealStatus, UnsealError> {
        if self.is_unsealed() {
            return Ok(self.seal_status());
        }
        match self.seal.submit(&*self.consensus.view(), share) {
            Ok(is_open) => {
                self.unsealing.right(address);
                if is_open {
                    self.unsealing.opened(SHARES, address, self.clock.wall());
                }
            }
            // It is right, and counts once.
            Err(error @ UnsealError::Share(ShareError::Repeated { .. })) => return Err(error),
            Err(error) => {
                if matches!(error, UnsealError::Share(_)) {
                    self.unsealing.wrong(address);
                }
                return Err(error);
            }
        }
        self.sequencer.ring();
        Ok(self.seal_status())
    }

    /// Opens the node with the key of a seal. The caller has made sure that this node has applied what the cluster committed.
    ///
    /// # Errors
    /// [`KeyUnsealError`]; a node that was sealed since it was started stays so.
    pub fn unseal_with_key(&self, key: &StaticKey) -> Result<(), KeyUnsealError> {
        let was_open = self.is_unsealed();
        let kind = self.seal.open_with_key(&*self.consensus.view(), key)?;
        if !was_open {
            self.unsealing.opened(kind.name(), "", self.clock.wall());
        }
        self.sequencer.ring();
        Ok(())
    }

    /// Looks whether the key of a seal would open the node as it is stored here, and opens nothing.
    ///
    /// # Errors
    /// [`KeyUnsealError`]
    pub fn test_key(&self, key: &StaticKey) -> Result<(), KeyUnsealError> {
        crate::seal::try_key(&*self.consensus.view(), key).map(drop)
    }

    /// The seals that keys open. `None` if the cluster is not initialised.
    #[must_use]
    pub fn key_seals(&self) -> Option<KeySeals> {
        crate::seal::key_seals(&*self.consensus.view())
    }

    /// Signs a backup with the key that signs the audit log. `None` if sealed. The bytes begin with a label
    /// that no checkpoint begins with.
    #[must_use]
    pub fn sign_backup(&self, statement: &[u8]) -> Option<[u8; 64]> {
        self.seal
            .barrier()
            .map(|barrier| barrier.keyring().checkpoint().sign(statement))
    }

    /// The key that verifies what [`Self::sign_backup`] signs. `None` if sealed.
    #[must_use]
    pub fn backup_key(&self) -> Option<[u8; 32]> {
        let barrier = self.seal.barrier()?;
        Some(*barrier.keyring().checkpoint().verifying_key().as_bytes())
    }

    /// Forgets the key shares shown so far.
    ///
    /// # Errors
    /// [`Failure`] if there are some, and none of them came from this address.
    pub fn reset_unseal(&self, address: &str) -> Result<(), Failure> {
        if self.seal_status().progress > 0 && !self.unsealing.has_shown(address) {
            let text = "shares that count are thrown away by those who showed one, from the same address; each is right, so that it harms nobody";
            return Err(Failure::new(Class::PermissionDenied, "NOT_SHOWN_FROM_HERE", text));
        }
        if self.seal.reset() {
            self.unsealing.reset();
        }
        Ok(())
    }

    /// Wipes the keys. Requests in flight fail.
    pub fn seal(&self) {
        self.seal.close();
        stack::wipe();
        self.forget_plans();
    }

    /// Drops all that was opened with the keys.
    fn forget_plans(&self) {
        self.sequencer.lock().reset();
        self.lists.clear();
        self.audit_index.clear();
        self.sequencer.ring();
    }

    /// Wipes the keys because an operator sealed the whole cluster, which this node may not have applied yet.
    pub fn seal_with_cluster(&self) {
        self.seal.close_with_cluster();
        self.forget_plans();
    }

    /// Wipes the keys if the whole cluster was sealed since this node was opened.
    pub(crate) fn obey_cluster_seal(&self) {
        if self.seal.obey(&*self.consensus.view()) {
            self.forget_plans();
        }
    }

    /// What consensus knows, on this node.
    #[must_use]
    pub fn consensus(&self) -> &Arc<dyn Consensus> {
        &self.consensus
    }

    /// What can be said before anything is looked at.
    pub(crate) fn check(&self, request: &Request) -> Result<(), Failure> {
        if !self.is_unsealed() {
            let is_initialised = self.seal_status().initialised;
            return Err(if is_initialised {
                Failure::sealed()
            } else {
                Failure::uninitialised()
            });
        }
        let key = &request.idempotency_key;
        if key.len() > IDEMPOTENCY_KEY_BYTES_MAX || key.chars().any(char::is_control) {
            return Err(Failure::invalid(
                "an idempotency key has at most 128 bytes and no control characters",
            ));
        }
        Ok(())
    }

    /// Whether the keys that this node holds are those of the committed seal. They are not if the cluster was initialised again
    /// between the node's unsealing and its first plan.
    pub(crate) fn holds_the_clusters_keys(&self) -> bool {
        let config = crate::seal::read_config(&*self.consensus.view());
        let held = self.seal.barrier().map(|barrier| barrier.storage_id());
        held.is_none() || held == config.map(|config| config.storage_id)
    }
}
