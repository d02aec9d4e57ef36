//! Which capability on which path each operation needs, in the forms that Vault's policies use.

use aumbry_barrier::Txn;
use aumbry_engines::kv;
use aumbry_types::Capability;

use crate::mounts::{AuthCache, Mount};
use crate::operation::{Operation, TokenName};
use crate::{Class, Failure, record};

/// One thing that must be allowed.
pub(crate) struct Need {
    pub(crate) path: String,
    pub(crate) capability: Capability,
    /// The path is protected: `sudo` is needed beside the capability.
    pub(crate) sudo: bool,
}

/// What an operation needs, and, if it is on a secret, the mount and the request below it, or what those who may know it are told.
pub(crate) struct Needs {
    pub(crate) all: Vec<Need>,
    pub(crate) kv: Option<Result<(Mount, kv::Request), Failure>>,
}

/// Finds out what must be allowed. Reads the directory, as writing needs `create` or `update` by what is there.
pub(crate) fn needs(txn: &mut Txn<'_>, auth: &mut AuthCache, operation: &Operation) -> Result<Needs, Failure> {
    if let Operation::Kv(request) = operation {
        return kv_needs(txn, auth, request);
    }
    let (path, capability, sudo) = match operation {
        Operation::TokenCreate(create) if create.orphan => {
            ("auth/token/create-orphan".to_owned(), Capability::Update, true)
        }
        Operation::TokenCreate(_) => ("auth/token/create".to_owned(), Capability::Update, false),
        Operation::TokenLookup(name) => (token_path("lookup", name), lookup_capability(name), false),
        Operation::TokenRenew(name, _) => (token_path("renew", name), Capability::Update, false),
        Operation::TokenRevoke(name) => (token_path("revoke", name), Capability::Update, false),
        Operation::PolicyWrite(name, _) => (policy_path(name.as_str()), Capability::Update, false),
        Operation::PolicyRead(name) => (policy_path(name.as_str()), Capability::Read, false),
        Operation::PolicyDelete(name) => (policy_path(name.as_str()), Capability::Delete, false),
        Operation::PolicyList => ("sys/policies/acl".to_owned(), Capability::List, false),
        Operation::MountEnable { path, .. } => (format!("sys/mounts/{}", path.as_str()), Capability::Update, false),
        Operation::MountDisable(path) => (format!("sys/mounts/{}", path.as_str()), Capability::Delete, false),
        Operation::MountList => return Ok(mounts_needs(None)),
        Operation::Status => ("sys/status".to_owned(), Capability::Read, false),
        Operation::Seal => ("sys/seal".to_owned(), Capability::Update, true),
        Operation::SealAdd { .. } => ("sys/seals".to_owned(), Capability::Update, true),
        Operation::SealList => ("sys/seals".to_owned(), Capability::Read, false),
        Operation::SealRemove(key) => (format!("sys/seals/{key}"), Capability::Delete, true),
        Operation::StepDown => ("sys/step-down".to_owned(), Capability::Update, true),
        Operation::JoinTokenCreate(_) => ("sys/storage/raft/join-token".to_owned(), Capability::Update, true),
        Operation::Members => ("sys/storage/raft/configuration".to_owned(), Capability::Read, false),
        Operation::Promote(_) => ("sys/storage/raft/promote".to_owned(), Capability::Update, true),
        Operation::Remove(_) => ("sys/storage/raft/remove-peer".to_owned(), Capability::Update, true),
        Operation::Transfer(_) => ("sys/storage/raft/transfer".to_owned(), Capability::Update, true),
        Operation::AuditRead { .. } => ("sys/audit-log".to_owned(), Capability::Read, true),
        Operation::AuditCheckpoint => ("sys/audit-log/checkpoint".to_owned(), Capability::Read, false),
        Operation::SnapshotSave => ("sys/storage/raft/snapshot".to_owned(), Capability::Read, true),
        Operation::SnapshotRelease => ("sys/storage/raft/snapshot-release".to_owned(), Capability::Update, true),
        // A joining node shows its join token instead; a KV request was handled above.
        Operation::Join(_) | Operation::Kv(_) => return Err(Failure::denied()),
    };
    Ok(Needs {
        all: vec![Need { path, capability, sudo }],
        kv: None,
    })
}

/// The paths that an operation is about, for its audit record, before anything was decided.
pub(crate) fn audit_path(operation: &Operation) -> String {
    match operation {
        Operation::Kv(request) => request.paths().join(","),
        Operation::PolicyWrite(name, _) | Operation::PolicyRead(name) | Operation::PolicyDelete(name) => {
            policy_path(name.as_str())
        }
        Operation::MountEnable { path, .. } | Operation::MountDisable(path) => {
            format!("sys/mounts/{}", path.as_str())
        }
        Operation::SealAdd { key, .. } => format!("sys/seals/{}", key.id()),
        Operation::SealRemove(key) => format!("sys/seals/{key}"),
        Operation::Promote(node) | Operation::Remove(node) => format!("node/{node}"),
        Operation::Join(join) => format!("node/{}", join.name),
        _ => String::new(),
    }
}

fn kv_needs(txn: &mut Txn<'_>, auth: &mut AuthCache, request: &kv::Request) -> Result<Needs, Failure> {
    let mut mount: Option<Mount> = None;
    let paths = match request {
        kv::Request::List { path, .. } => path.iter().collect::<Vec<_>>(),
        kv::Request::BatchGet { paths } if !record::can_name(paths) => {
            return Err(Failure::invalid(
                "the paths of one batch are too long together; ask for fewer at once",
            ));
        }
        kv::Request::BatchGet { paths } => paths.iter().collect(),
        kv::Request::Put { path, .. }
        | kv::Request::Get { path, .. }
        | kv::Request::Patch { path, .. }
        | kv::Request::Delete { path, .. }
        | kv::Request::Undelete { path, .. }
        | kv::Request::Destroy { path, .. }
        | kv::Request::ReadMetadata { path }
        | kv::Request::WriteMetadata { path, .. }
        | kv::Request::DeleteMetadata { path } => vec![path],
    };
    for path in paths {
        let Some(found) = auth.mount_of(txn, path)? else {
            let text = "no mount holds this path; see `aumbry secrets list`";
            return Ok(mounts_needs(Some(Failure::new(Class::NotFound, "NOT_FOUND", text))));
        };
        if mount.as_ref().is_some_and(|mount| mount.root != found.root) {
            let failure = Failure::invalid("the secrets of one batch must be below one mount");
            return Ok(mounts_needs(Some(failure)));
        }
        mount = Some(found);
    }
    let mount = mount.ok_or_else(|| Failure::invalid("name a path that begins with a mount, such as secret/app"))?;
    let inner = match request.below(&mount.path) {
        Ok(inner) => inner,
        Err(error) => return Ok(mounts_needs(Some(Failure::invalid(error.to_string())))),
    };
    let access = kv::access(txn, mount.root, &inner)
        .map_err(|_| Failure::new(Class::Internal, "DAMAGED_ROW", "a stored row is damaged"))?;
    let all = access.into_iter().map(|(path, capability)| Need {
        path: format!("{}/{path}", mount.path.as_str()),
        capability,
        sudo: false,
    });
    Ok(Needs {
        all: all.collect(),
        kv: Some(Ok((mount, inner))),
    })
}

/// What seeing the mounts needs. A failure that shows what is mounted is told to those who may see it; others get the same answer
/// whatever there is.
fn mounts_needs(failure: Option<Failure>) -> Needs {
    Needs {
        all: vec![Need {
            path: "sys/mounts".to_owned(),
            capability: Capability::Read,
            sudo: false,
        }],
        kv: failure.map(Err),
    }
}

fn policy_path(name: &str) -> String {
    format!("sys/policies/acl/{name}")
}

fn token_path(action: &str, name: &TokenName) -> String {
    match name {
        TokenName::Own => format!("auth/token/{action}-self"),
        TokenName::Text(_) => format!("auth/token/{action}"),
        TokenName::Accessor(_) => format!("auth/token/{action}-accessor"),
    }
}

const fn lookup_capability(name: &TokenName) -> Capability {
    match name {
        TokenName::Own => Capability::Read,
        TokenName::Text(_) | TokenName::Accessor(_) => Capability::Update,
    }
}
