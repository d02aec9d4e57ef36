//! Mounts.

use aumbry_auth::{MOUNTS, NAMESPACE_ROOT};
use aumbry_barrier::{Kind, ObjectOptions, Txn, record};
use aumbry_types::{MountPath, ObjectId};

use crate::mounts::{AuthCache, MOUNT_VERSION, MountInfo};
use crate::{Class, Failure, Reply};

pub(super) fn enable(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    path: &MountPath,
    kind: &str,
    description: &str,
) -> Result<Reply, Failure> {
    if kind != "kv" && kind != "kv-v2" {
        return Err(Failure::invalid("the only engine is `kv`"));
    }
    if description.len() > 256 || description.chars().any(char::is_control) {
        return Err(Failure::invalid(
            "a description has at most 256 bytes and no control characters",
        ));
    }
    let first = path.as_str().split('/').next().unwrap_or_default();
    if RESERVED.contains(&first) {
        return Err(Failure::invalid(
            "`sys`, `auth`, `identity` and `cubbyhole` are reserved; mount elsewhere",
        ));
    }
    let overlaps = |other: &str| {
        let (short, long) = if other.len() < path.as_str().len() {
            (other, path.as_str())
        } else {
            (path.as_str(), other)
        };
        long == short || long.strip_prefix(short).is_some_and(|rest| rest.starts_with('/'))
    };
    if auth.mounts(txn)?.iter().any(|mount| overlaps(mount.path.as_str())) {
        return Err(Failure::new(
            Class::AlreadyExists,
            "MOUNT_EXISTS",
            "a mount is there, above or below it already",
        ));
    }
    enter(txn, path, description)?;
    txn.bump_auth_generation(NAMESPACE_ROOT);
    Ok(Reply::Done)
}

/// Enters a mount without bumping the generation, as the first entry of a cluster does.
pub(crate) fn enter(txn: &mut Txn<'_>, path: &MountPath, description: &str) -> Result<(), Failure> {
    let root = ObjectId::make(txn.entropy());
    txn.insert(MOUNTS, path.as_str(), Kind::Mount, root)?;
    let info = MountInfo {
        path: path.as_str().to_owned(),
        kind: "kv".to_owned(),
        description: description.to_owned(),
        accessor: format!("kv_{}", &ObjectId::make(txn.entropy()).to_string()[..8]),
    };
    txn.put_object(
        root,
        Kind::Mount,
        record::encode(MOUNT_VERSION, &info).expose(),
        ObjectOptions::default(),
    );
    Ok(())
}

/// Only an empty mount goes: taking thousands of secrets along must be asked for in so many words.
pub(super) fn disable(txn: &mut Txn<'_>, auth: &mut AuthCache, path: &MountPath) -> Result<Reply, Failure> {
    let mounts = auth.mounts(txn)?;
    let mount = mounts.iter().find(|mount| mount.path == *path);
    let mount = mount.ok_or_else(|| Failure::new(Class::NotFound, "NOT_FOUND", "no such mount"))?;
    txn.fence_scan(mount.root)?;
    if txn.container(mount.root)?.children > 0 {
        return Err(Failure::new(
            Class::FailedPrecondition,
            "MOUNT_NOT_EMPTY",
            "the mount holds secrets; delete them first (`aumbry kv metadata delete`)",
        ));
    }
    txn.remove(MOUNTS, path.as_str())?;
    txn.delete_object(mount.root);
    txn.write(aumbry_state::Write::ForgetContainer(mount.root));
    txn.bump_auth_generation(NAMESPACE_ROOT);
    Ok(Reply::Done)
}

pub(super) fn list(txn: &mut Txn<'_>, auth: &mut AuthCache) -> Result<Reply, Failure> {
    Ok(Reply::Mounts(
        auth.mounts(txn)?.iter().map(|mount| mount.info.clone()).collect(),
    ))
}

const RESERVED: [&str; 4] = ["sys", "auth", "identity", "cubbyhole"];
