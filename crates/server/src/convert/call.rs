//! From a call to an operation.

use std::sync::Arc;

use aumbry_api::v1::call::Op;
use aumbry_api::v1::{self, token_name};
use aumbry_auth::identity::mfa;
use aumbry_auth::token::{Create, TEXT_BYTES_MAX};
use aumbry_auth::{approle, canonical, userpass};
use aumbry_crypto::seal::{KeyIdError, KeyKind, OuterBinding, OuterKey, StaticKey};
use aumbry_engines::kv;
use aumbry_logical::Verb;
use aumbry_node::method::{LoginAsk, Shown, failure};
use aumbry_node::{
    Contents, Failure, JoinRequest, LogicalAsk, MountOptions, MountTable, Operation, ProofAsk, Sent, TokenName,
};
use aumbry_types::{MountPath, Name, NodeId, SecretBytes, SecretPath, StorageId};
use bytes::Bytes;

/// Checks a call and turns it into an operation.
pub(crate) fn operation(op: Op) -> Result<Operation, Failure> {
    Ok(match op {
        Op::KvPut(put) => Operation::Kv(kv::Request::Put {
            path: path(&put.path)?,
            data: secret(put.data),
            cas: put.cas,
        }),
        Op::KvPatch(patch) => Operation::Kv(kv::Request::Patch {
            path: path(&patch.path)?,
            data: secret(patch.data),
            cas: patch.cas,
        }),
        Op::KvGet(get) => {
            let version = (get.version > 0).then_some(get.version);
            Operation::Kv(kv::Request::Get {
                path: path(&get.path)?,
                version,
            })
        }
        Op::KvBatchGet(get) => {
            if get.paths.is_empty() || get.paths.len() > 100 {
                return Err(Failure::invalid("name 1 to 100 secrets"));
            }
            let paths = get.paths.iter().map(|text| path(text)).collect::<Result<_, _>>()?;
            Operation::Kv(kv::Request::BatchGet { paths })
        }
        Op::KvList(list) => Operation::Kv(list_request(&list)?),
        Op::KvDelete(delete) => Operation::Kv(kv::Request::Delete {
            path: path(&delete.path)?,
            versions: versions(delete.versions)?,
        }),
        Op::KvUndelete(undelete) => Operation::Kv(kv::Request::Undelete {
            path: path(&undelete.path)?,
            versions: versions(undelete.versions)?,
        }),
        Op::KvDestroy(destroy) => Operation::Kv(kv::Request::Destroy {
            path: path(&destroy.path)?,
            versions: versions(destroy.versions)?,
        }),
        Op::KvGetMetadata(get) => Operation::Kv(kv::Request::ReadMetadata { path: path(&get.path)? }),
        Op::KvPutMetadata(put) => {
            let change = kv::MetadataChange {
                form: kv::ChangeForm::Named,
                max_versions: put.max_versions,
                cas_required: put.cas_required,
                delete_version_after_s: put.delete_version_after_s,
                custom: put
                    .set_custom_metadata
                    .then(|| put.custom_metadata.into_iter().collect()),
                custom_patch: std::collections::BTreeMap::new(),
            };
            Operation::Kv(kv::Request::WriteMetadata {
                path: path(&put.path)?,
                change,
            })
        }
        Op::KvDeleteMetadata(delete) => Operation::Kv(kv::Request::DeleteMetadata {
            path: path(&delete.path)?,
        }),
        Op::TokenCreate(create) => Operation::TokenCreate(token_create(create)),
        Op::TokenLookup(lookup) => Operation::TokenLookup(token_name(lookup.token)?),
        Op::TokenRenew(renew) => Operation::TokenRenew(token_name(renew.token)?, renew.increment_s),
        Op::TokenRevoke(revoke) => Operation::TokenRevoke(token_name(revoke.token)?),
        Op::AppRoleLogin(login) => app_role_login(login)?,
        Op::UserpassLogin(login) => userpass_login(login)?,
        Op::SecondFactor(codes) => second_factor(codes)?,
        Op::PolicyPut(put) => Operation::PolicyWrite(name(&put.name)?, put.policy),
        Op::PolicyGet(get) => Operation::PolicyRead(name(&get.name)?),
        Op::PolicyList(_) => Operation::PolicyList,
        Op::PolicyDelete(delete) => Operation::PolicyDelete(name(&delete.name)?),
        Op::MountEnable(enable) => Operation::MountEnable {
            table: MountTable::Secrets,
            path: mount(&enable.path)?,
            kind: enable.r#type,
            description: enable.description,
            options: MountOptions {
                version: 2,
                ..MountOptions::default()
            },
        },
        Op::MountDisable(disable) => {
            let contents = match disable.with_contents {
                true => Contents::Gone,
                false => Contents::None,
            };
            Operation::MountDisable(MountTable::Secrets, mount(&disable.path)?, contents)
        }
        Op::Logical(asked) => Operation::Logical(LogicalAsk {
            verb: verb(asked.verb()),
            path: asked.path,
            sent: Sent {
                body: Arc::new(secret(asked.body)),
                wrap_ttl_s: asked.wrap_ttl_s,
                codes: Arc::new(passcodes(asked.passcodes)),
            },
        }),
        Op::MountList(_) => Operation::MountList,
        Op::Seal(_) => Operation::Seal,
        Op::SealAdd(add) => seal_add(add)?,
        Op::SealList(_) => Operation::SealList,
        Op::SealRemove(remove) => {
            let key = remove.key_id.parse();
            Operation::SealRemove(key.map_err(|error: KeyIdError| Failure::invalid(error.to_string()))?)
        }
        Op::Status(_) => Operation::Status,
        Op::StepDown(_) => Operation::StepDown,
        Op::JoinTokenCreate(create) => Operation::JoinTokenCreate(match create.ttl_s {
            0 => JOIN_TTL_S,
            seconds => seconds,
        }),
        Op::Join(join) => Operation::Join(JoinRequest {
            secret: secret(join.secret),
            spki: join.spki.to_vec(),
            name: join.name,
            peer_addr: join.peer_addr,
            client_addr: join.client_addr,
            region: join.region,
            zone: join.zone,
        }),
        Op::Members(_) => Operation::Members,
        Op::Promote(promote) => Operation::Promote(NodeId(promote.node_id)),
        Op::Remove(remove) => Operation::Remove(NodeId(remove.node_id)),
        Op::Transfer(transfer) => Operation::Transfer((transfer.node_id > 0).then_some(NodeId(transfer.node_id))),
        Op::SnapshotSave(_) => Operation::SnapshotSave,
        Op::SnapshotRelease(_) => Operation::SnapshotRelease,
        Op::AuditRead(read) => Operation::AuditRead {
            from: read.from,
            limit: page(read.limit, 1_000),
            wait_size: read.wait_size,
        },
        Op::AuditCheckpoint(_) => Operation::AuditCheckpoint,
        Op::AuditProof(ask) => Operation::AuditProof(ProofAsk::Inclusion {
            seq: ask.seq,
            size: ask.size,
        }),
        Op::AuditConsistency(ask) => Operation::AuditProof(ProofAsk::Consistency {
            from: ask.from,
            to: ask.to,
        }),
    })
}

fn app_role_login(login: v1::AppRoleLoginRequest) -> Result<Operation, Failure> {
    let shown = approle::LoginRequest {
        role_id: login.role_id,
        secret_id: secret(login.secret_id),
    };
    let mount = method(&login.mount, "approle")?;
    let path = format!("auth/{}/login", mount.as_str());
    let shown = Shown::AppRole(shown);
    Ok(Operation::Login(LoginAsk::new(mount, path, shown)))
}

fn userpass_login(login: v1::UserpassLoginRequest) -> Result<Operation, Failure> {
    let below = format!("login/{}", canonical(&login.username));
    let shown = userpass::LoginRequest::new(&login.username, secret(login.password));
    let mount = method(&login.mount, "userpass")?;
    // As a path it is decided upon and recorded, so it must be one.
    let path = path(&format!("auth/{}/{below}", mount.as_str()))?.as_str().to_owned();
    let shown = Shown::Userpass(Arc::new(shown));
    Ok(Operation::Login(LoginAsk::new(mount, path, shown)))
}

fn second_factor(codes: v1::SecondFactorRequest) -> Result<Operation, Failure> {
    let given = passcodes(codes.passcodes);
    let shown = mfa::Validation::new(&codes.request_id, given).map_err(failure)?;
    Ok(Operation::Login(LoginAsk::second_factor(Shown::SecondFactor(shown))?))
}

fn passcodes(given: Vec<v1::Passcode>) -> Vec<(String, SecretBytes)> {
    let pairs = given.into_iter();
    pairs.map(|given| (given.method_id, secret(given.passcode))).collect()
}

/// Where a method is mounted: there, if nothing is said.
fn method(text: &str, default: &str) -> Result<MountPath, Failure> {
    mount(if text.is_empty() { default } else { text })
}

fn seal_add(add: v1::SealAddRequest) -> Result<Operation, Failure> {
    if add.shares.len() > SHARES_MAX {
        return Err(Failure::invalid("there are at most 255 key shares"));
    }
    let (text, outer) = match add.outer {
        None => (secret(add.static_key), None),
        Some(_) if !add.static_key.is_empty() => {
            return Err(Failure::invalid(
                "a seal has one key: a static one, or one that is wrapped outside",
            ));
        }
        Some(mut outer) => (secret(std::mem::take(&mut outer.key)), Some(outer)),
    };
    let key = StaticKey::parse(text.expose()).map_err(|error| Failure::invalid(format!("the key: {error}")))?;
    let outer = outer.map(|outer| outer_key(outer, &key)).transpose()?;
    Ok(Operation::SealAdd {
        key,
        shares: add.shares.into_iter().map(secret).collect(),
        outer,
    })
}

fn outer_key(outer: v1::OuterSealKey, key: &StaticKey) -> Result<(OuterKey, OuterBinding), Failure> {
    let kind = match outer.kind.as_str() {
        "pkcs11" => KeyKind::Pkcs11,
        "transit" => KeyKind::Transit,
        _ => return Err(Failure::invalid("a key is wrapped outside by `pkcs11` or `transit`")),
    };
    let storage_id = <[u8; 16]>::try_from(&outer.storage_id[..]);
    let storage_id = storage_id.map_err(|_| Failure::invalid("the id of a storage has 16 bytes"))?;
    let bound = OuterBinding {
        kind,
        storage_id: StorageId::from_bytes(storage_id),
        root_epoch: outer.root_epoch,
        key_id: key.id(),
    };
    let outer = OuterKey::new(outer.name, outer.wrapped.to_vec());
    Ok((outer.map_err(|error| Failure::invalid(error.to_string()))?, bound))
}

fn list_request(list: &v1::KvListRequest) -> Result<kv::Request, Failure> {
    if list.after.len() > 256 {
        return Err(Failure::invalid("`after` is longer than any name"));
    }
    let directory = list.path.strip_suffix('/').unwrap_or(&list.path);
    let path = Some(path(directory)?);
    Ok(kv::Request::List {
        path,
        after: list.after.clone(),
        limit: page(list.limit, 1_000),
    })
}

fn token_create(create: v1::TokenCreateRequest) -> Create {
    Create {
        policies: create.policies,
        ttl_s: create.ttl_s,
        explicit_max_ttl_s: create.explicit_max_ttl_s,
        num_uses: create.num_uses,
        renewable: !create.not_renewable,
        display_name: create.display_name,
        metadata: create.metadata.into_iter().collect(),
        orphan: create.orphan,
        no_default_policy: create.no_default_policy,
        ..Create::default()
    }
}

fn token_name(name: Option<v1::TokenName>) -> Result<TokenName, Failure> {
    Ok(match name.and_then(|name| name.by) {
        None => TokenName::Own,
        Some(token_name::By::Token(token)) if token.len() <= TEXT_BYTES_MAX => TokenName::Text(secret(token)),
        Some(token_name::By::Accessor(accessor)) if accessor.len() <= 64 => TokenName::Accessor(accessor),
        Some(_) => return Err(Failure::invalid("this is neither a token nor an accessor")),
    })
}

fn path(text: &str) -> Result<SecretPath, Failure> {
    SecretPath::parse(text).map_err(|error| Failure::invalid(error.to_string()))
}

fn mount(text: &str) -> Result<MountPath, Failure> {
    MountPath::parse(text).map_err(|error| Failure::invalid(error.to_string()))
}

fn name(text: &str) -> Result<Name, Failure> {
    Name::parse(text).map_err(|error| Failure::invalid(error.to_string()))
}

fn versions(versions: Vec<u64>) -> Result<Vec<u64>, Failure> {
    if versions.len() > 1_000 {
        return Err(Failure::invalid("name at most 1,000 versions"));
    }
    Ok(versions)
}

const fn page(limit: u32, default: usize) -> usize {
    match limit {
        0 => default,
        limit => limit as usize,
    }
}

/// The message's memory is shared with the transport, which does not wipe it; from here on it is wiped.
fn secret(bytes: Bytes) -> SecretBytes {
    SecretBytes::new(Vec::from(bytes))
}

/// As many as a seal can have.
const SHARES_MAX: usize = 255;
/// Ten minutes: long enough to carry a line to another machine.
const JOIN_TTL_S: u64 = 600;

const fn verb(verb: v1::Verb) -> Verb {
    match verb {
        v1::Verb::Read => Verb::Read,
        v1::Verb::Write => Verb::Write,
        v1::Verb::Patch => Verb::Patch,
        v1::Verb::Delete => Verb::Delete,
        v1::Verb::List => Verb::List,
        v1::Verb::Scan => Verb::Scan,
    }
}
