//! What authorisation is made of: mounts, policies, who is behind tokens, which namespaces there are. What is a namespace's changes only with its
//! generation, and what is the cluster's only with the root's, so what was read under a generation serves until the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use aumbry_auth::identity::mfa::Enforcements;
use aumbry_auth::identity::{Groups, Who};
use aumbry_auth::{NAMESPACE_ROOT, Shelf};
use aumbry_barrier::{DamagedRow, Limits, Txn};
use aumbry_policy::{Policy, PolicySet};
use aumbry_types::{ObjectId, SecretPath};

use crate::identity::WhoKey;
use crate::mounts::{Mount, MountTable, read_policy, read_table};
use crate::namespaces::Tree;
use crate::quotas::Quotas;
use crate::quotas::numbers::Placed;
use crate::{genesis, restored};

/// What authorisation needs, for each namespace that was asked for lately.
///
/// A namespace is looked at in three ways: [`Self::enter`] makes what is known of the one that a plan is in that of its generation, and all else is read in
/// the namespace that the plan is in, or of the cluster. Whoever goes to another namespace does so by [`Self::within`], which enters it.
#[derive(Default)]
pub(crate) struct AuthCache {
    scopes: BTreeMap<ObjectId, Scope>,
    entered: u64,
}

/// What is known of one namespace, as of one generation.
#[derive(Default)]
pub(crate) struct Scope {
    /// When it was entered last.
    entered: u64,
    pub(crate) generation: Option<u64>,
    mounts: Option<Arc<Vec<Mount>>>,
    auth_mounts: Option<Arc<Vec<Mount>>>,
    policies: BTreeMap<Vec<String>, Arc<PolicySet>>,
    /// What depends on who asks, for those who have an entity; see `identity.rs`.
    pub(crate) sets_of: BTreeMap<(Vec<String>, WhoKey), Arc<PolicySet>>,
    pub(crate) whos: BTreeMap<WhoKey, Arc<Who>>,
    pub(crate) groups: Option<Arc<Groups>>,
    pub(crate) enforcements: Option<Arc<Enforcements>>,
    pub(crate) parsed: BTreeMap<String, Option<Arc<Policy>>>,
    /// What is limited here, with the root's generation.
    pub(crate) limits: Option<(Option<u64>, Arc<Limits>)>,
    /// These are the cluster's: they stand with the root namespace.
    custom_tokens: Option<bool>,
    quarantined: Option<bool>,
    quotas: Option<Arc<Quotas>>,
    pub(crate) numbers: Option<Arc<Vec<Placed>>>,
    tree: Option<Arc<Tree>>,
}

impl AuthCache {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Moves what is known of the plan's namespace to the generation that the plan sees.
    pub(crate) fn enter(&mut self, txn: &Txn<'_>) -> Result<u64, DamagedRow> {
        let namespace = txn.namespace();
        let generation = txn.auth_generation(namespace)?;
        self.entered += 1;
        if self.scopes.len() >= SCOPES_MAX && !self.scopes.contains_key(&namespace) {
            let others = self.scopes.iter().filter(|(id, _)| **id != NAMESPACE_ROOT);
            let oldest = others.min_by_key(|(_, scope)| scope.entered).map(|(id, _)| *id);
            self.scopes.retain(|id, _| Some(*id) != oldest);
        }
        let entered = self.entered;
        let scope = self.here(txn);
        if scope.generation != Some(generation) {
            *scope = Scope {
                generation: Some(generation),
                ..Scope::default()
            };
        }
        scope.entered = entered;
        Ok(generation)
    }

    /// Looks at another namespace, and comes back.
    pub(crate) fn within<T>(
        &mut self,
        txn: &mut Txn<'_>,
        namespace: ObjectId,
        look: impl FnOnce(&mut Self, &mut Txn<'_>) -> T,
    ) -> Result<T, DamagedRow> {
        if namespace == txn.namespace() {
            return Ok(look(self, txn));
        }
        let before = txn.enter_namespace(namespace);
        let looked = self.enter(txn).map(|_| look(self, txn));
        txn.enter_namespace(before);
        looked
    }

    /// What is known of the namespace that the plan is in.
    pub(crate) fn here(&mut self, txn: &Txn<'_>) -> &mut Scope {
        self.scopes.entry(txn.namespace()).or_default()
    }

    /// What is known of the cluster. Every plan begins in the root namespace, and so has entered it.
    pub(crate) fn cluster(&mut self) -> &mut Scope {
        self.scopes.entry(NAMESPACE_ROOT).or_default()
    }

    /// Whether tokens of an operator's choice are accepted.
    pub(crate) fn allows_custom_tokens(&mut self, txn: &Txn<'_>) -> bool {
        *self
            .cluster()
            .custom_tokens
            .get_or_insert_with(|| genesis::allows_custom_tokens(txn))
    }

    /// Whether only root is served.
    pub(crate) fn is_quarantined(&mut self, txn: &Txn<'_>) -> bool {
        *self
            .cluster()
            .quarantined
            .get_or_insert_with(|| restored::is_quarantined(txn))
    }

    /// Which namespaces there are.
    pub(crate) fn tree(&mut self, txn: &mut Txn<'_>) -> Result<Arc<Tree>, DamagedRow> {
        if let Some(tree) = &self.cluster().tree {
            return Ok(Arc::clone(tree));
        }
        let tree = Arc::new(Tree::read(txn)?);
        self.cluster().tree = Some(Arc::clone(&tree));
        Ok(tree)
    }

    pub(crate) fn quotas(&mut self, txn: &mut Txn<'_>) -> Result<Arc<Quotas>, DamagedRow> {
        if let Some(quotas) = &self.cluster().quotas {
            return Ok(Arc::clone(quotas));
        }
        let quotas = Arc::new(Quotas::read(txn)?);
        self.cluster().quotas = Some(Arc::clone(&quotas));
        Ok(quotas)
    }

    /// The mount that a path is below: the longest one.
    pub(crate) fn mount_of(&mut self, txn: &mut Txn<'_>, path: &SecretPath) -> Result<Option<Mount>, DamagedRow> {
        let mounts = self.mounts(txn)?;
        let matching = mounts.iter().filter(|mount| path.below(&mount.path).is_some());
        Ok(matching.max_by_key(|mount| mount.path.as_str().len()).cloned())
    }

    /// The mounts of a table, in order of their paths.
    pub(crate) fn table(&mut self, txn: &mut Txn<'_>, table: MountTable) -> Result<Arc<Vec<Mount>>, DamagedRow> {
        match table {
            MountTable::Secrets => self.mounts(txn),
            MountTable::Auth => self.auth_mounts(txn),
        }
    }

    pub(crate) fn mounts(&mut self, txn: &mut Txn<'_>) -> Result<Arc<Vec<Mount>>, DamagedRow> {
        if let Some(mounts) = &self.here(txn).mounts {
            return Ok(Arc::clone(mounts));
        }
        let mounts = Arc::new(read_table(txn, Shelf::Mounts.here(txn))?);
        self.here(txn).mounts = Some(Arc::clone(&mounts));
        Ok(mounts)
    }

    pub(crate) fn auth_mounts(&mut self, txn: &mut Txn<'_>) -> Result<Arc<Vec<Mount>>, DamagedRow> {
        if let Some(mounts) = &self.here(txn).auth_mounts {
            return Ok(Arc::clone(mounts));
        }
        let mounts = Arc::new(read_table(txn, Shelf::AuthMounts.here(txn))?);
        self.here(txn).auth_mounts = Some(Arc::clone(&mounts));
        Ok(mounts)
    }

    /// The compiled policies with these names; one that does not exist grants nothing.
    pub(crate) fn policies(&mut self, txn: &mut Txn<'_>, names: &[String]) -> Result<Arc<PolicySet>, DamagedRow> {
        if is_root(txn, names) {
            return Ok(Arc::new(PolicySet::root()));
        }
        if let Some(set) = self.here(txn).policies.get(names) {
            return Ok(Arc::clone(set));
        }
        let mut parsed = Vec::new();
        for name in names {
            let Some(text) = read_policy(txn, name)? else {
                continue;
            };
            // It was parsed before it was stored; a newer build's policy that this one cannot read must not grant by half.
            parsed.push((name.as_str(), Policy::parse(&text).map_err(|_| DamagedRow)?));
        }
        let set = Arc::new(PolicySet::compile(parsed.iter().map(|(name, policy)| (*name, policy))));
        let scope = self.here(txn);
        if scope.policies.len() >= POLICY_SETS_MAX {
            scope.policies.clear();
        }
        scope.policies.insert(names.to_vec(), Arc::clone(&set));
        Ok(set)
    }
}

/// Whether policies with these names allow everything: `root` is there in the root namespace alone.
pub(crate) fn is_root(txn: &Txn<'_>, names: &[String]) -> bool {
    txn.namespace() == NAMESPACE_ROOT && names.iter().any(|name| name == "root")
}

/// Distinct combinations of policies among the tokens in use.
const POLICY_SETS_MAX: usize = 1_024;
/// Namespaces that are busy at about the same time. What is known of one is some tens of kilobytes, and is read again in about a millisecond.
const SCOPES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aumbry_barrier::{Barrier, Kind, ListCache};
    use aumbry_crypto::keyring::Keyring;
    use aumbry_state::{Overlay, Row, View, key};
    use aumbry_types::{CommandId, LogTime, SimulatedEntropy, StorageId};
    use bytes::Bytes;

    use super::*;

    /// Counts how often the first entry's facts are read.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl View for Counting {
        fn get(&self, row_key: &[u8]) -> Option<Bytes> {
            let is_genesis = *row_key == *key::genesis();
            self.0.fetch_add(usize::from(is_genesis), Ordering::SeqCst);
            None
        }

        fn scan(&self, _: &[u8], _: Option<&[u8]>, _: usize) -> Vec<(Bytes, Bytes)> {
            Vec::new()
        }
    }

    #[test]
    fn the_facts_are_read_once_a_generation() {
        let entropy = SimulatedEntropy::new(5);
        let barrier = Barrier::new(StorageId::make(&entropy), Keyring::make(&entropy));
        let lists = ListCache::default();
        let view = Arc::new(Counting::default());
        let base: Arc<dyn View> = Arc::<Counting>::clone(&view);
        let mut overlay = Overlay::new(base);
        let mut auth = AuthCache::default();
        let mut reads_at = |generation| {
            let row = Row {
                kind: Kind::Cluster as u8,
                flags: 0,
                rev: aumbry_state::Rev::default(),
                writer: CommandId::make(&entropy),
                created: 0,
                expires_at: 0,
                counters: [generation, 0],
                key_term: 0,
                container: ObjectId::well_known(0),
                body: Bytes::new(),
            };
            overlay.set(key::auth_generation(NAMESPACE_ROOT), Some(row.encode()));
            let txn = Txn::new(&overlay, &barrier, &lists, &entropy, LogTime(0));
            assert_eq!(auth.enter(&txn), Ok(generation));
            assert!(!auth.allows_custom_tokens(&txn));
            view.0.load(Ordering::SeqCst)
        };
        assert_eq!([1, 1, 2, 2].map(&mut reads_at), [1, 1, 2, 2]);
    }
}
