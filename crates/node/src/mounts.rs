//! The mount table, the policies and whether custom tokens are allowed: what authorisation is made of. All change only with the
//! namespace's generation, so what was read under a generation serves until the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use aumbry_auth::{MOUNTS, NAMESPACE_ROOT, POLICIES};
use aumbry_barrier::{DamagedRow, Kind, Txn, record};
use aumbry_policy::{Policy, PolicySet};
use aumbry_types::{MountPath, ObjectId, SecretPath};
use serde::{Deserialize, Serialize};

use crate::{genesis, restored};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountInfo {
    /// Where, without a slash at its end.
    pub path: String,
    /// The engine.
    pub kind: String,
    /// For people.
    pub description: String,
    /// Names the mount wherever its path may not stand.
    pub accessor: String,
}

/// One mount with the container that holds its secrets.
#[derive(Clone)]
pub(crate) struct Mount {
    pub(crate) path: MountPath,
    pub(crate) root: ObjectId,
    pub(crate) info: MountInfo,
}

/// What authorisation needs, as of one generation.
#[derive(Default)]
pub(crate) struct AuthCache {
    generation: Option<u64>,
    custom_tokens: Option<bool>,
    quarantined: Option<bool>,
    mounts: Option<Arc<Vec<Mount>>>,
    policies: BTreeMap<Vec<String>, Arc<PolicySet>>,
}

impl AuthCache {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Moves to the generation that this plan sees.
    pub(crate) fn enter(&mut self, txn: &Txn<'_>) -> Result<u64, DamagedRow> {
        let generation = txn.auth_generation(NAMESPACE_ROOT)?;
        if self.generation != Some(generation) {
            self.clear();
            self.generation = Some(generation);
        }
        Ok(generation)
    }

    /// Whether tokens of an operator's choice are accepted.
    pub(crate) fn allows_custom_tokens(&mut self, txn: &Txn<'_>) -> bool {
        *self
            .custom_tokens
            .get_or_insert_with(|| genesis::allows_custom_tokens(txn))
    }

    /// Whether only root is served.
    pub(crate) fn is_quarantined(&mut self, txn: &Txn<'_>) -> bool {
        *self.quarantined.get_or_insert_with(|| restored::is_quarantined(txn))
    }

    /// The mount that a path is below: the longest one.
    pub(crate) fn mount_of(&mut self, txn: &mut Txn<'_>, path: &SecretPath) -> Result<Option<Mount>, DamagedRow> {
        let mounts = self.mounts(txn)?;
        let matching = mounts.iter().filter(|mount| path.below(&mount.path).is_some());
        Ok(matching.max_by_key(|mount| mount.path.as_str().len()).cloned())
    }

    pub(crate) fn mounts(&mut self, txn: &mut Txn<'_>) -> Result<Arc<Vec<Mount>>, DamagedRow> {
        if let Some(mounts) = &self.mounts {
            return Ok(Arc::clone(mounts));
        }
        let mut mounts = Vec::new();
        for child in txn.list(MOUNTS)?.iter() {
            let object = txn.peek_object(child.id, Kind::Mount)?.ok_or(DamagedRow)?;
            let info: MountInfo = record::decode(MOUNT_VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
            let path = MountPath::parse(&info.path).map_err(|_| DamagedRow)?;
            mounts.push(Mount {
                path,
                root: child.id,
                info,
            });
        }
        Ok(Arc::clone(self.mounts.insert(Arc::new(mounts))))
    }

    /// The compiled policies with these names; one that does not exist grants nothing.
    pub(crate) fn policies(&mut self, txn: &mut Txn<'_>, names: &[String]) -> Result<Arc<PolicySet>, DamagedRow> {
        if names.iter().any(|name| name == "root") {
            return Ok(Arc::new(PolicySet::root()));
        }
        if let Some(set) = self.policies.get(names) {
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
        if self.policies.len() >= POLICY_SETS_MAX {
            self.policies.clear();
        }
        self.policies.insert(names.to_vec(), Arc::clone(&set));
        Ok(set)
    }
}

/// The text of a policy.
pub(crate) fn read_policy(txn: &mut Txn<'_>, name: &str) -> Result<Option<String>, DamagedRow> {
    let Some(child) = txn.lookup(POLICIES, name)? else {
        return Ok(None);
    };
    let object = txn.read_object(child.id, Kind::Policy)?.ok_or(DamagedRow)?;
    object
        .plain
        .expose_str()
        .map(|text| Some(text.to_owned()))
        .ok_or(DamagedRow)
}

pub(crate) const MOUNT_VERSION: u8 = 1;
/// Distinct combinations of policies among the tokens in use.
const POLICY_SETS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aumbry_barrier::{Barrier, ListCache};
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
