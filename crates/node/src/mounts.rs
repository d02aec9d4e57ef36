//! Mounts, and the texts of policies.

use aumbry_auth::Shelf;
use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_engines::kv;
use aumbry_types::{MountPath, ObjectId};
use serde::{Deserialize, Serialize};

pub(crate) use crate::auth_cache::AuthCache;

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

/// The engine of a mount, if it is still there.
pub(crate) fn kind_of(txn: &Txn<'_>, root: ObjectId) -> Result<Option<String>, DamagedRow> {
    match txn.peek_object(root, Kind::Mount)? {
        Some(_) => Mount::read(txn, root).map(|mount| Some(mount.info.kind)),
        None => Ok(None),
    }
}

/// The mounts of a container, in order of their paths.
pub(crate) fn read_table(txn: &mut Txn<'_>, container: ObjectId) -> Result<Vec<Mount>, DamagedRow> {
    let children = txn.list(container)?;
    children.iter().map(|child| Mount::read(txn, child.id)).collect()
}

/// The text of a policy.
pub(crate) fn read_policy(txn: &mut Txn<'_>, name: &str) -> Result<Option<String>, DamagedRow> {
    let Some(child) = txn.lookup(Shelf::Policies.here(txn), name)? else {
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
