//! The mount table, the policies and whether custom tokens are allowed: what authorisation is made of. All change only with the
//! namespace's generation, so what was read under a generation serves until the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use aumbry_auth::identity::mfa::Enforcements;
use aumbry_auth::identity::{Groups, Who};
use aumbry_auth::{AUTH_MOUNTS, MOUNTS, NAMESPACE_ROOT, POLICIES};
use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_engines::kv;
use aumbry_policy::{Policy, PolicySet};
use aumbry_types::{MountPath, ObjectId, SecretPath};
use serde::{Deserialize, Serialize};

use crate::identity::WhoKey;
use crate::quotas::Quotas;
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

/// The two tables of mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountTable {
    /// Secrets engines.
    Secrets,
    /// Auth methods. Their paths are below `auth/`, which is left out.
    Auth,
}

/// What a mount is set to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOptions {
    /// The version of a KV engine, 1 or 2; 0 for what has no versions.
    pub version: u8,
    /// For how many seconds its tokens and leases live if nothing else is said; 0 is the system's default.
    pub default_lease_ttl_s: u64,
    /// For how many seconds they live at most; 0 is the system's limit.
    pub max_lease_ttl_s: u64,
    /// The settings of a KV engine of version 2.
    pub kv: kv::Config,
    /// What clients may be shown of it without a token: `unauth`, `hidden` or nothing. Kept for them, and not acted upon.
    pub listing_visibility: String,
}

/// One mount with its settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountRow {
    /// What it is.
    pub info: MountInfo,
    /// What it is set to.
    pub options: MountOptions,
    /// Its own id, as hexadecimal digits.
    pub id: String,
}

/// One mount with the container that holds what is its own.
#[derive(Clone)]
pub(crate) struct Mount {
    pub(crate) path: MountPath,
    pub(crate) root: ObjectId,
    pub(crate) info: MountInfo,
    pub(crate) options: MountOptions,
}

impl Mount {
    /// As it is told.
    pub(crate) fn row(&self) -> MountRow {
        MountRow {
            info: self.info.clone(),
            options: self.options.clone(),
            id: self.root.to_string(),
        }
    }

    /// Stores it whole.
    pub(crate) fn write(&self, txn: &mut Txn<'_>) {
        let plain = record::encode(MOUNT_VERSION, &(&self.info, &self.options));
        txn.put_object(self.root, Kind::Mount, plain.expose(), ObjectOptions::default());
    }

    /// Reads what is stored of one, in any version.
    fn read(txn: &Txn<'_>, root: ObjectId) -> Result<Self, DamagedRow> {
        let object = txn.peek_object(root, Kind::Mount)?.ok_or(DamagedRow)?;
        let plain = object.plain.expose();
        let (info, options) = record::decode::<(MountInfo, MountOptions)>(MOUNT_VERSION, plain)
            .or_else(|_| {
                // Before there were settings, every mount was a KV engine of version 2.
                let options = MountOptions {
                    version: 2,
                    ..MountOptions::default()
                };
                record::decode::<MountInfo>(MOUNT_VERSION_PLAIN, plain).map(|info| (info, options))
            })
            .map_err(|_| DamagedRow)?;
        let path = MountPath::parse(&info.path).map_err(|_| DamagedRow)?;
        Ok(Self {
            path,
            root,
            info,
            options,
        })
    }
}

/// What authorisation needs, as of one generation.
#[derive(Default)]
pub(crate) struct AuthCache {
    generation: Option<u64>,
    custom_tokens: Option<bool>,
    quarantined: Option<bool>,
    mounts: Option<Arc<Vec<Mount>>>,
    auth_mounts: Option<Arc<Vec<Mount>>>,
    policies: BTreeMap<Vec<String>, Arc<PolicySet>>,
    /// What depends on who asks, for those who have an entity; see `identity.rs`.
    pub(crate) sets_of: BTreeMap<(Vec<String>, WhoKey), Arc<PolicySet>>,
    pub(crate) whos: BTreeMap<WhoKey, Arc<Who>>,
    pub(crate) groups: Option<Arc<Groups>>,
    pub(crate) enforcements: Option<Arc<Enforcements>>,
    pub(crate) quotas: Option<Arc<Quotas>>,
    pub(crate) parsed: BTreeMap<String, Option<Arc<Policy>>>,
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

    /// The mounts of a table, in order of their paths.
    pub(crate) fn table(&mut self, txn: &mut Txn<'_>, table: MountTable) -> Result<Arc<Vec<Mount>>, DamagedRow> {
        match table {
            MountTable::Secrets => self.mounts(txn),
            MountTable::Auth => self.auth_mounts(txn),
        }
    }

    pub(crate) fn quotas(&mut self, txn: &mut Txn<'_>) -> Result<Arc<Quotas>, DamagedRow> {
        match &self.quotas {
            Some(quotas) => Ok(Arc::clone(quotas)),
            None => Ok(Arc::clone(self.quotas.insert(Arc::new(Quotas::read(txn)?)))),
        }
    }

    pub(crate) fn mounts(&mut self, txn: &mut Txn<'_>) -> Result<Arc<Vec<Mount>>, DamagedRow> {
        match &self.mounts {
            Some(mounts) => Ok(Arc::clone(mounts)),
            None => Ok(Arc::clone(self.mounts.insert(Arc::new(read_table(txn, MOUNTS)?)))),
        }
    }

    pub(crate) fn auth_mounts(&mut self, txn: &mut Txn<'_>) -> Result<Arc<Vec<Mount>>, DamagedRow> {
        match &self.auth_mounts {
            Some(mounts) => Ok(Arc::clone(mounts)),
            None => Ok(Arc::clone(
                self.auth_mounts.insert(Arc::new(read_table(txn, AUTH_MOUNTS)?)),
            )),
        }
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

fn read_table(txn: &mut Txn<'_>, container: ObjectId) -> Result<Vec<Mount>, DamagedRow> {
    let children = txn.list(container)?;
    children.iter().map(|child| Mount::read(txn, child.id)).collect()
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

/// With settings.
const MOUNT_VERSION: u8 = 2;
/// Without.
const MOUNT_VERSION_PLAIN: u8 = 1;
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
