//! Which capability on which path each operation needs, in the forms that Vault's policies use.

use aumbry_auth::identity;
use aumbry_auth::token::Create;
use aumbry_barrier::Txn;
use aumbry_engines::kv;
use aumbry_types::{Capability, MountPath};

use crate::look::{Guard, Look};
use crate::method::{Asked, MethodAsk, Unwrapping};
use crate::mounts::{AuthCache, Mount, MountTable};
use crate::operation::{Operation, TokenName};
use crate::{Class, Failure, ProofAsk, ops, record};

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
    pub(crate) plain: Option<Result<(Mount, kv::PlainRequest), Failure>>,
}

impl Needs {
    /// Nothing but a token.
    const fn none() -> Self {
        Self {
            all: Vec::new(),
            kv: None,
            plain: None,
        }
    }
}

/// Finds out what must be allowed. Reads the directory, as writing needs `create` or `update` by what is there.
pub(crate) fn needs(txn: &mut Txn<'_>, auth: &mut AuthCache, operation: &Operation) -> Result<Needs, Failure> {
    match operation {
        Operation::Kv(request) => return kv_needs(txn, auth, request),
        Operation::PlainKv(request) => return plain_needs(txn, auth, request),
        Operation::Method(ask) => return method_needs(txn, auth, ask),
        _ => {}
    }
    let (path, capability, sudo) = match operation {
        Operation::NoRoute(no_route) => (no_route.path.clone(), no_route.verb.capability(), false),
        Operation::Capabilities { token, .. } => {
            let path = match token {
                TokenName::Own => "sys/capabilities-self",
                TokenName::Text(_) => "sys/capabilities",
                TokenName::Accessor(_) => "sys/capabilities-accessor",
            };
            (path.to_owned(), Capability::Update, false)
        }
        Operation::TokenList { .. } => ("auth/token/accessors/".to_owned(), Capability::List, true),
        Operation::TokenCreate(Create { role: Some(role), .. }) => {
            let path = format!("auth/token/create/{}", role.as_str());
            (path, Capability::Update, false)
        }
        Operation::Wrapped(ask) => {
            let path = match ask.what {
                Unwrapping::Open => "sys/wrapping/unwrap",
                Unwrapping::Lookup => "sys/wrapping/lookup",
                Unwrapping::Rewrap => "sys/wrapping/rewrap",
            };
            (path.to_owned(), Capability::Update, false)
        }
        Operation::WrapData => ("sys/wrapping/wrap".to_owned(), Capability::Update, false),
        Operation::TokenCreate(create) if create.orphan => {
            ("auth/token/create-orphan".to_owned(), Capability::Update, true)
        }
        Operation::TokenCreate(_) => ("auth/token/create".to_owned(), Capability::Update, false),
        Operation::TokenLookup(name) => (token_path("lookup", name), lookup_capability(name), false),
        Operation::TokenRenew(name, _) => (token_path("renew", name), Capability::Update, false),
        Operation::TokenRevoke(name) => (token_path("revoke", name), Capability::Update, false),
        Operation::TokenOrphan(_) => ("auth/token/revoke-orphan".to_owned(), Capability::Update, true),
        Operation::TokenTidy => ("auth/token/tidy".to_owned(), Capability::Update, true),
        Operation::Lease(ask) => {
            let (capability, guard) = ask.needs();
            (ask.path.clone(), capability, guard == Guard::Sudo)
        }
        Operation::Look(Look {
            guard: Guard::Token, ..
        }) => return Ok(Needs::none()),
        Operation::Look(look) => (look.path.clone(), look.capability, look.guard == Guard::Sudo),
        Operation::MountMove { .. } => ("sys/remount".to_owned(), Capability::Update, true),
        Operation::PolicyWrite(name, _) => (policy_path(name.as_str()), Capability::Update, false),
        Operation::PolicyRead(name) => (policy_path(name.as_str()), Capability::Read, false),
        Operation::PolicyDelete(name) => (policy_path(name.as_str()), Capability::Delete, false),
        // It tells of policies that the caller may not read, and of tokens that are not its own.
        Operation::PolicyExplain(_) => ("sys/policies/explain".to_owned(), Capability::Update, true),
        Operation::PolicyList => ("sys/policies/acl".to_owned(), Capability::List, false),
        Operation::MountEnable { table, path, .. } => {
            // As in Vault: whoever enables an auth method decides who gets in.
            (mount_path(*table, path), Capability::Update, *table == MountTable::Auth)
        }
        Operation::MountDisable(table, path, _) => {
            (mount_path(*table, path), Capability::Delete, *table == MountTable::Auth)
        }
        Operation::MountTune(table, path, _) => {
            let path = format!("{}/tune", mount_path(*table, path));
            (path, Capability::Update, *table == MountTable::Auth)
        }
        Operation::MountRead(table, path) => (mount_path(*table, path), Capability::Read, false),
        Operation::MountRows(MountTable::Auth) => ("sys/auth".to_owned(), Capability::Read, false),
        Operation::KvConfigRead(path) => (format!("{}/config", path.as_str()), Capability::Read, false),
        Operation::KvConfigWrite(path, _) => (format!("{}/config", path.as_str()), Capability::Update, false),
        Operation::MountList | Operation::MountRows(MountTable::Secrets) => return Ok(mounts_needs(None)),
        Operation::Status => ("sys/status".to_owned(), Capability::Read, false),
        Operation::Seal => ("sys/seal".to_owned(), Capability::Update, true),
        Operation::SealCluster => (CLUSTER_SEAL.to_owned(), Capability::Update, true),
        Operation::SealRelease => (CLUSTER_SEAL.to_owned(), Capability::Delete, true),
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
        // They show hashes and sizes, and nothing of what is recorded.
        Operation::AuditProof(ProofAsk::Inclusion { .. }) => {
            ("sys/audit-log/proof".to_owned(), Capability::Read, false)
        }
        Operation::AuditProof(ProofAsk::Consistency { .. }) => {
            ("sys/audit-log/consistency".to_owned(), Capability::Read, false)
        }
        Operation::AuditFloor => ("sys/audit-log/floor".to_owned(), Capability::Read, false),
        Operation::AuditPrune(_) => ("sys/audit-log/prune".to_owned(), Capability::Update, true),
        Operation::SnapshotSave => ("sys/storage/raft/snapshot".to_owned(), Capability::Read, true),
        Operation::SnapshotRelease => ("sys/storage/raft/snapshot-release".to_owned(), Capability::Update, true),
        // A joining node shows its join token instead; a KV request was handled above.
        Operation::Join(_)
        | Operation::Kv(_)
        | Operation::PlainKv(_)
        | Operation::Method(_)
        | Operation::Login(_)
        | Operation::Logical(_) => {
            return Err(Failure::denied());
        }
        // What they show is what the caller may do anyway.
        Operation::MountOf(_) | Operation::MountsSeen => return Ok(Needs::none()),
    };
    Ok(Needs {
        all: vec![Need { path, capability, sudo }],
        kv: None,
        plain: None,
    })
}

/// The paths that an operation is about, for its audit record, before anything was decided.
pub(crate) fn audit_path(operation: &Operation) -> String {
    match operation {
        Operation::Kv(request) => match request.path() {
            Some(path) => path.as_str().to_owned(),
            None => request.paths().join(","),
        },
        Operation::PlainKv(request) => request.path().map_or_else(String::new, |path| path.as_str().to_owned()),
        Operation::NoRoute(no_route) => no_route.path.clone(),
        Operation::Lease(ask) => ask.path.clone(),
        Operation::Look(look) => look.path.clone(),
        Operation::MountMove { table, from, .. } => mount_path(*table, from),
        Operation::MountOf(path) => path.clone(),
        Operation::Method(ask) => ask.path.clone(),
        Operation::Login(ask) => ask.path.clone(),
        Operation::PolicyWrite(name, _) | Operation::PolicyRead(name) | Operation::PolicyDelete(name) => {
            policy_path(name.as_str())
        }
        Operation::MountEnable { table, path, .. }
        | Operation::MountDisable(table, path, _)
        | Operation::MountTune(table, path, _)
        | Operation::MountRead(table, path) => mount_path(*table, path),
        Operation::KvConfigRead(path) | Operation::KvConfigWrite(path, _) => format!("{}/config", path.as_str()),
        Operation::SealAdd { key, .. } => format!("sys/seals/{}", key.id()),
        Operation::SealCluster | Operation::SealRelease => CLUSTER_SEAL.to_owned(),
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
        | kv::Request::Subkeys { path, .. }
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
    // Its policies speak of other paths: one secret must not have two ways to it.
    if mount.options.version != 2 {
        return Ok(mounts_needs(Some(Failure::invalid(
            "the mount is a kv engine of version 1, which has no versions; read and write its paths as they are",
        ))));
    }
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
        plain: None,
    })
}

fn method_needs(txn: &mut Txn<'_>, auth: &mut AuthCache, ask: &MethodAsk) -> Result<Needs, Failure> {
    let mut capability = ask.verb.capability();
    // What is wrong with a request is told once it is allowed.
    if capability == Capability::Update && ops::method_exists(txn, auth, ask) == Ok(false) {
        capability = Capability::Create;
    }
    let mut all = vec![Need {
        path: ask.path.clone(),
        capability,
        sudo: match &ask.asked {
            Asked::Keys(request) => request.takes_sudo(),
            Asked::Erasure(request) => request.is_write(),
            Asked::Rekey(_) | Asked::GenerateRoot(_) => true,
            _ => false,
        },
    }];
    // Who gives an alias to an entity, or makes two one, gives somebody what the entity may do. What is malformed changes nothing.
    if let Asked::Identity(request) = &ask.asked {
        let touched = identity::touched(txn, request).unwrap_or_default();
        all.extend(touched.into_iter().map(|path| Need {
            path,
            capability: Capability::Update,
            sudo: false,
        }));
    }
    Ok(Needs {
        all,
        kv: None,
        plain: None,
    })
}

fn plain_needs(txn: &mut Txn<'_>, auth: &mut AuthCache, request: &kv::PlainRequest) -> Result<Needs, Failure> {
    let path = request
        .path()
        .ok_or_else(|| Failure::invalid("name a path that begins with a mount"))?;
    let Some(mount) = auth.mount_of(txn, path)?.filter(|mount| mount.options.version == 1) else {
        let text = "no kv engine of version 1 holds this path; see `aumbry secrets list`";
        return Ok(mounts_needs(Some(Failure::new(Class::NotFound, "NOT_FOUND", text))));
    };
    let inner = match request.below(&mount.path) {
        Ok(inner) => inner,
        Err(error) => return Ok(mounts_needs(Some(Failure::invalid(error.to_string())))),
    };
    let (path, capability) = kv::plain_access(txn, mount.root, &inner)
        .map_err(|_| Failure::new(Class::Internal, "DAMAGED_ROW", "a stored row is damaged"))?;
    Ok(Needs {
        all: vec![Need {
            path: format!("{}/{path}", mount.path.as_str()),
            capability,
            sudo: false,
        }],
        kv: None,
        plain: Some(Ok((mount, inner))),
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
        kv: failure.clone().map(Err),
        plain: failure.map(Err),
    }
}

fn mount_path(table: MountTable, path: &MountPath) -> String {
    let table = match table {
        MountTable::Secrets => "mounts",
        MountTable::Auth => "auth",
    };
    format!("sys/{table}/{}", path.as_str())
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

/// The path of the seal of the whole cluster.
const CLUSTER_SEAL: &str = "sys/seal/cluster";
