//! Mounts, and the texts of policies.

use aumbry_auth::Shelf;
use aumbry_auth::lockout::Lockout;
use aumbry_barrier::record::UnreadableRecord;
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
    /// When an auth method shuts out who guesses passwords. It is stored beside the others: replies that are kept for retries have the others alone.
    #[serde(skip)]
    pub lockout: Lockout,
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

    /// Stores it whole; in the older layout as long as that says all.
    pub(crate) fn write(&self, txn: &mut Txn<'_>) {
        let lockout = &self.options.lockout;
        let plain = match *lockout == Lockout::default() {
            true => record::encode(MOUNT_VERSION, &(&self.info, &self.options)),
            false => record::encode(MOUNT_VERSION_LOCKOUT, &(&self.info, &self.options, lockout)),
        };
        txn.put_object(self.root, Kind::Mount, plain.expose(), ObjectOptions::default());
    }

    /// Reads what is stored of one, in any version.
    fn read(txn: &Txn<'_>, root: ObjectId) -> Result<Self, DamagedRow> {
        let object = txn.peek_object(root, Kind::Mount)?.ok_or(DamagedRow)?;
        let (info, options) = decode(object.plain.expose()).map_err(|_| DamagedRow)?;
        let path = MountPath::parse(&info.path).map_err(|_| DamagedRow)?;
        Ok(Self {
            path,
            root,
            info,
            options,
        })
    }
}

fn decode(plain: &[u8]) -> Result<(MountInfo, MountOptions), UnreadableRecord> {
    match plain.first() {
        Some(&MOUNT_VERSION_LOCKOUT) => {
            let (info, options, lockout) = record::decode(MOUNT_VERSION_LOCKOUT, plain)?;
            Ok((info, MountOptions { lockout, ..options }))
        }
        Some(&MOUNT_VERSION_PLAIN) => {
            // Before there were settings, every mount was a KV engine of version 2.
            let options = MountOptions {
                version: 2,
                ..MountOptions::default()
            };
            Ok((record::decode(MOUNT_VERSION_PLAIN, plain)?, options))
        }
        _ => record::decode(MOUNT_VERSION, plain),
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

/// With settings, and those of its lockout.
const MOUNT_VERSION_LOCKOUT: u8 = 3;
/// With settings.
const MOUNT_VERSION: u8 = 2;
/// Without.
const MOUNT_VERSION_PLAIN: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_layout_are_read() {
        let info = MountInfo {
            path: "p".to_owned(),
            kind: "kv".to_owned(),
            description: String::new(),
            accessor: "a".to_owned(),
        };
        let plain = record::encode(MOUNT_VERSION_PLAIN, &info);
        let found = decode(plain.expose()).expect("is read");
        assert_eq!((&found.0, found.1.version), (&info, 2));
        let options = MountOptions {
            max_lease_ttl_s: 7,
            ..MountOptions::default()
        };
        let settled = record::encode(MOUNT_VERSION, &(&info, &options));
        assert_eq!(decode(settled.expose()), Ok((info.clone(), options.clone())));
        // Byte for byte as builds before the lockout wrote it.
        assert_eq!(settled.expose(), b"\x02\x01p\x02kv\0\x01a\0\0\x07\0\0\0\0");
        let lockout = Lockout {
            threshold: 3,
            ..Lockout::default()
        };
        let locking = record::encode(MOUNT_VERSION_LOCKOUT, &(&info, &options, lockout));
        assert_eq!(
            decode(locking.expose()),
            Ok((info, MountOptions { lockout, ..options }))
        );
    }
}
