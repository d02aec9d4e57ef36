//! Mounts of secrets engines and of auth methods.

use aumbry_auth::lockout::{self, Lockout};
use aumbry_auth::{Caller, Shelf};
use aumbry_barrier::{Kind, Txn};
use aumbry_engines::kv;
use aumbry_policy::{Access, PolicySet};
use aumbry_types::{Capability, LogTime, MountPath, ObjectId, SecretPath};

use crate::mounts::{AuthCache, Mount, MountInfo, MountOptions, MountTable};
use crate::operation::{Contents, MountChange};
use crate::{Class, Failure, Reply};

pub(super) fn enable(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    table: MountTable,
    path: &MountPath,
    info: (&str, &str),
    options: &MountOptions,
) -> Result<Reply, Failure> {
    let (kind, description) = info;
    let (kind, version) = match (table, kind) {
        (MountTable::Secrets, "kv" | "kv-v2") => ("kv", if kind == "kv-v2" { 2 } else { options.version }),
        (MountTable::Secrets, "kv-v1" | "generic") => ("kv", 1),
        (MountTable::Secrets, _) => {
            return Err(Failure::invalid(format!("there is no such engine; there is {ENGINES}")));
        }
        (MountTable::Auth, method) if METHODS.contains(&method) => (method, 0),
        (MountTable::Auth, _) => {
            let methods = METHODS.join(", ");
            return Err(Failure::invalid(format!(
                "there is no such auth method; there is {methods}"
            )));
        }
    };
    if kind == "kv" && !matches!(version, 1 | 2) {
        return Err(Failure::invalid("the version of a kv engine is 1 or 2"));
    }
    check_description(description)?;
    check_place(txn, auth, table, path, None)?;
    let options = MountOptions {
        version,
        ..options.clone()
    };
    check_options(&options)?;
    if options.lockout != Lockout::default() {
        check_lockout(kind)?;
    }
    enter(txn, table, path, (kind, description), options)?;
    txn.bump_auth_generation(txn.namespace());
    Ok(Reply::Done)
}

/// Whether a mount can be there: no other is there, above or below it, but the one that leaves its place for it.
fn check_place(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    table: MountTable,
    path: &MountPath,
    leaves: Option<&MountPath>,
) -> Result<(), Failure> {
    let first = path.as_str().split('/').next().unwrap_or_default();
    let reserved: &[&str] = match table {
        MountTable::Secrets => &RESERVED,
        MountTable::Auth => &RESERVED_AUTH,
    };
    if reserved.contains(&first) {
        return Err(Failure::invalid(format!(
            "{} are reserved; mount elsewhere",
            reserved
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        )));
    }
    if table == MountTable::Secrets {
        let here = auth.path_here(txn)?;
        if auth.tree(txn)?.has(&here, first) {
            return Err(Failure::new(
                Class::AlreadyExists,
                "NAMESPACE_EXISTS",
                "a namespace is at this path; mount elsewhere, or in the namespace",
            ));
        }
    }
    let overlaps = |other: &str| {
        let (short, long) = if other.len() < path.as_str().len() {
            (other, path.as_str())
        } else {
            (path.as_str(), other)
        };
        long == short || long.strip_prefix(short).is_some_and(|rest| rest.starts_with('/'))
    };
    if auth
        .table(txn, table)?
        .iter()
        .any(|mount| (leaves != Some(&mount.path) || mount.path == *path) && overlaps(mount.path.as_str()))
    {
        return Err(Failure::new(
            Class::AlreadyExists,
            "MOUNT_EXISTS",
            "path is already in use: a mount is there, above or below it",
        ));
    }
    Ok(())
}

/// Enters a mount without bumping the generation, as the first entry of a cluster does.
pub(crate) fn enter(
    txn: &mut Txn<'_>,
    table: MountTable,
    path: &MountPath,
    info: (&str, &str),
    options: MountOptions,
) -> Result<(), Failure> {
    let (kind, description) = info;
    let root = ObjectId::make(txn.entropy());
    txn.insert(container(txn, table), path.as_str(), Kind::Mount, root)?;
    let prefix = match table {
        MountTable::Secrets => "",
        MountTable::Auth => "auth_",
    };
    let mount = Mount {
        path: path.clone(),
        root,
        info: MountInfo {
            path: path.as_str().to_owned(),
            kind: kind.to_owned(),
            description: description.to_owned(),
            accessor: format!("{prefix}{kind}_{}", &ObjectId::make(txn.entropy()).to_string()[..8]),
        },
        options,
    };
    mount.write(txn);
    Ok(())
}

/// Removes a mount, with all that it holds if that is wanted: from this entry on nothing of it can be reached, and what it leaves on disk is swept in pieces.
pub(super) fn disable(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    table: MountTable,
    path: &MountPath,
    contents: Contents,
) -> Result<Reply, Failure> {
    let mount = find(txn, auth, table, path)?;
    txn.fence_scan(mount.root)?;
    if table == MountTable::Secrets && contents == Contents::None && txn.container(mount.root)?.children > 0 {
        return Err(Failure::new(
            Class::FailedPrecondition,
            "MOUNT_NOT_EMPTY",
            "the mount holds secrets; delete them first (`aumbry kv metadata delete`), or say that they are to go with it",
        ));
    }
    match table {
        // With all that it let in: whoever disables a method wants nobody to come from there any more.
        MountTable::Auth => aumbry_auth::disable(txn, mount.root)?,
        MountTable::Secrets => kv::disable(txn, mount.root)?,
    }
    txn.remove(container(txn, table), path.as_str())?;
    txn.delete_object(mount.root);
    txn.bump_auth_generation(txn.namespace());
    Ok(Reply::Done)
}

/// Moves a mount with all that it holds: nothing of it knows where it is mounted. Policies speak of paths, so those of the new path hold from now on.
pub(super) fn relocate(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    table: MountTable,
    from: &MountPath,
    to: &MountPath,
) -> Result<Reply, Failure> {
    let mut mount = find(txn, auth, table, from)?;
    check_place(txn, auth, table, to, Some(from))?;
    txn.remove(container(txn, table), from.as_str())?;
    txn.insert(container(txn, table), to.as_str(), Kind::Mount, mount.root)?;
    mount.path = to.clone();
    to.as_str().clone_into(&mut mount.info.path);
    mount.write(txn);
    txn.bump_auth_generation(txn.namespace());
    Ok(Reply::MountRows(vec![mount.row()]))
}

/// Changes what a mount is set to.
pub(super) fn tune(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    table: MountTable,
    path: &MountPath,
    change: &MountChange,
) -> Result<Reply, Failure> {
    let mut mount = find(txn, auth, table, path)?;
    if let Some(description) = &change.description {
        check_description(description)?;
        mount.info.description.clone_from(description);
    }
    let options = &mut mount.options;
    if let Some(version) = change.version {
        // From 1 to 2 the rows stay: each value is the only version of its secret. Back would hide versions.
        if mount.info.kind != "kv" || version != 2 && version != options.version {
            return Err(Failure::invalid(
                "only a kv engine of version 1 can be made one of version 2",
            ));
        }
        options.version = version;
    }
    options.default_lease_ttl_s = change.default_lease_ttl_s.unwrap_or(options.default_lease_ttl_s);
    options.max_lease_ttl_s = change.max_lease_ttl_s.unwrap_or(options.max_lease_ttl_s);
    options.kv.max_versions = change.kv_max_versions.unwrap_or(options.kv.max_versions);
    options.kv.cas_required = change.kv_cas_required.unwrap_or(options.kv.cas_required);
    options.kv.delete_version_after_s = change
        .kv_delete_version_after_s
        .unwrap_or(options.kv.delete_version_after_s);
    if let Some(visibility) = &change.listing_visibility {
        options.listing_visibility.clone_from(visibility);
    }
    if let Some(change) = &change.lockout {
        check_lockout(&mount.info.kind)?;
        change.apply(&mut options.lockout);
    }
    check_options(options)?;
    mount.write(txn);
    txn.bump_auth_generation(txn.namespace());
    Ok(Reply::Done)
}

pub(super) fn list(txn: &mut Txn<'_>, auth: &mut AuthCache) -> Result<Reply, Failure> {
    Ok(Reply::Mounts(
        auth.mounts(txn)?.iter().map(|mount| mount.info.clone()).collect(),
    ))
}

/// The mounts of a table with their settings.
pub(super) fn table(txn: &mut Txn<'_>, auth: &mut AuthCache, table: MountTable) -> Result<Reply, Failure> {
    Ok(Reply::MountRows(
        auth.table(txn, table)?.iter().map(Mount::row).collect(),
    ))
}

pub(super) fn read(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    table: MountTable,
    path: &MountPath,
) -> Result<Reply, Failure> {
    Ok(Reply::MountRows(vec![find(txn, auth, table, path)?.row()]))
}

/// The mount that holds a path, for who may do something on it.
pub(super) fn of(txn: &mut Txn<'_>, auth: &mut AuthCache, caller: &Caller, path: &str) -> Result<Reply, Failure> {
    let secret = SecretPath::parse(path.trim_end_matches('/')).map_err(|_| Failure::denied())?;
    let mount = auth.mount_of(txn, &secret)?.ok_or_else(Failure::denied)?;
    let below = secret.below(&mount.path).flatten();
    let set = auth.policies_of(txn, caller)?;
    let prefix = auth.prefix(txn, caller.namespace)?;
    if may_see(
        &set,
        txn.now(),
        &format!("{prefix}{}", mount.path.as_str()),
        below.as_ref().map_or("", SecretPath::as_str),
    ) {
        Ok(Reply::MountRows(vec![mount.row()]))
    } else {
        Err(Failure::denied())
    }
}

/// The mounts of secrets engines on which the caller may do something at their roots.
pub(super) fn seen(txn: &mut Txn<'_>, auth: &mut AuthCache, caller: &Caller) -> Result<Reply, Failure> {
    let set = auth.policies_of(txn, caller)?;
    let prefix = auth.prefix(txn, caller.namespace)?;
    let mounts = auth.mounts(txn)?;
    let now = txn.now();
    let seen = mounts
        .iter()
        .filter(|mount| may_see(&set, now, &format!("{prefix}{}", mount.path.as_str()), ""));
    Ok(Reply::MountRows(seen.map(Mount::row).collect()))
}

/// Whether anything at all is allowed on a path of a mount, in any of the forms that policies use.
fn may_see(set: &PolicySet, now: LogTime, mount: &str, below: &str) -> bool {
    let forms = ["", "data/", "metadata/", "subkeys/", "delete/", "undelete/", "destroy/"];
    let is_allowed = |form: &&str| {
        let path = format!("{mount}/{form}{below}");
        let allows = |capability: &Capability| {
            let access = Access::new(&path, *capability, now);
            *capability != Capability::Deny && set.decide(&access).allowed
        };
        Capability::ALL.iter().any(allows)
    };
    forms.iter().any(is_allowed)
}

fn find(txn: &mut Txn<'_>, auth: &mut AuthCache, table: MountTable, path: &MountPath) -> Result<Mount, Failure> {
    let mounts = auth.table(txn, table)?;
    let mount = mounts.iter().find(|mount| mount.path == *path).cloned();
    mount.ok_or_else(|| Failure::new(Class::NotFound, "NOT_FOUND", "no such mount"))
}

fn check_description(description: &str) -> Result<(), Failure> {
    if description.len() > 256 || description.chars().any(char::is_control) {
        return Err(Failure::invalid(
            "a description has at most 256 bytes and no control characters",
        ));
    }
    Ok(())
}

fn check_options(options: &MountOptions) -> Result<(), Failure> {
    let most = options.default_lease_ttl_s.max(options.max_lease_ttl_s);
    if most > LEASE_S_MAX {
        return Err(Failure::invalid("a lease is at most 100 years"));
    }
    if options.max_lease_ttl_s != 0 && options.default_lease_ttl_s > options.max_lease_ttl_s {
        return Err(Failure::invalid("default_lease_ttl is longer than max_lease_ttl"));
    }
    if !["", "unauth", "hidden"].contains(&options.listing_visibility.as_str()) {
        return Err(Failure::invalid("listing_visibility is `unauth`, `hidden` or nothing"));
    }
    kv::Config::check(&options.kv).map_err(|error| Failure::invalid(error.to_string()))
}

fn check_lockout(kind: &str) -> Result<(), Failure> {
    if lockout::is_of(kind) {
        return Ok(());
    }
    let methods = lockout::METHODS.join(" and ");
    Err(Failure::invalid(format!(
        "user_lockout_config is for {methods}; other mounts lock nobody"
    )))
}

fn container(txn: &Txn<'_>, table: MountTable) -> ObjectId {
    match table {
        MountTable::Secrets => Shelf::Mounts.here(txn),
        MountTable::Auth => Shelf::AuthMounts.here(txn),
    }
}

const RESERVED: [&str; 5] = ["sys", "auth", "identity", "cubbyhole", "audit"];
/// `token` is there by itself.
const RESERVED_AUTH: [&str; 1] = ["token"];
const ENGINES: &str = "`kv`, with the version 1 or 2";
/// The auth methods that can be mounted.
const METHODS: [&str; 7] = ["approle", "cert", "jwt", "kubernetes", "ldap", "oidc", "userpass"];
/// Their names, for clients that ask what is built in.
#[must_use]
pub const fn auth_methods() -> &'static [&'static str] {
    &METHODS
}
const LEASE_S_MAX: u64 = 100 * 366 * 86_400;
