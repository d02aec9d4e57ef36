//! What is asked, as data that can be asked again, and what it is answered in the checker's words.

use std::collections::BTreeMap;

use aumbry_auth::namespace;
use aumbry_auth::token::Create;
use aumbry_checker::{Content, Fate, Operation as Recorded, Reply as Told};
use aumbry_engines::kv;
use aumbry_logical::{Body, Verb};
use aumbry_node::ceremony::rekey;
use aumbry_node::keys;
use aumbry_node::method::{Asked, MethodAsk};
use aumbry_node::{
    Failure, JoinRequest, MountOptions, MountTable, Operation, OutcomeClass, Reply, TokenName,
};
use aumbry_sim_tokio::net::address_of;
use aumbry_sim_world::HostId;
use aumbry_types::{MountPath, Name, NamespacePath, NodeId, SecretBytes, SecretPath};

/// Something to ask.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Of the KV engine.
    Kv(Recorded),
    /// A token with so many uses.
    CreateToken { uses: u64 },
    /// What the token is that it is asked with: one use of it.
    UseToken,
    /// Ends a token, by its accessor.
    Revoke(String),
    PolicyWrite(String, String),
    JoinToken,
    Join { secret: Vec<u8>, host: HostId, key: Vec<u8> },
    Remove(NodeId),
    Transfer(Option<NodeId>),
    AuditRead { from: u64 },
    /// Makes a namespace right below the one that it is asked in.
    NamespaceMake(String),
    NamespaceDelete(String),
    /// An engine, where secrets are.
    Mount,
    /// A new term of the keys.
    RotateKeys,
    /// Of new shares: what is asked below `sys/rekey/`, with which body.
    Rekey(Verb, &'static str, String),
}

impl Ask {
    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::Kv(recorded) => Operation::Kv(kv_request(recorded)),
            Self::CreateToken { uses } => Operation::TokenCreate(Create {
                policies: vec![POLICY.to_owned()],
                ttl_s: 3_600,
                num_uses: *uses,
                ..Create::default()
            }),
            Self::UseToken => Operation::TokenLookup(TokenName::Own),
            Self::Revoke(accessor) => Operation::TokenRevoke(TokenName::Accessor(accessor.clone())),
            Self::PolicyWrite(name, text) => {
                Operation::PolicyWrite(Name::parse(name).expect("is a name"), text.clone())
            }
            Self::JoinToken => Operation::JoinTokenCreate(3_600),
            Self::Join { secret, host, key } => Operation::Join(JoinRequest {
                secret: SecretBytes::new(secret.clone()),
                spki: key.clone(),
                name: format!("n{host}"),
                peer_addr: address_of(*host),
                client_addr: address_of(*host),
                region: String::new(),
                zone: String::new(),
            }),
            Self::Remove(node) => Operation::Remove(*node),
            Self::Transfer(to) => Operation::Transfer(*to),
            Self::AuditRead { from } => Operation::AuditRead {
                from: *from,
                limit: 1_000,
                wait_size: 0,
            },
            Self::NamespaceMake(name) => namespace_ask(Verb::Write, name),
            Self::NamespaceDelete(name) => namespace_ask(Verb::Delete, name),
            Self::RotateKeys => Operation::Method(MethodAsk {
                path: "sys/rotate".to_owned(),
                verb: Verb::Write,
                asked: Asked::Keys(keys::Request::Rotate),
                said: Vec::new(),
            }),
            Self::Rekey(verb, below, body) => {
                let path = format!("rekey/{below}");
                let body = Body::parse(body.as_bytes()).expect("is JSON");
                let request = rekey::Request::parse(*verb, &path, &body).expect("is a request");
                Operation::Method(MethodAsk {
                    path: format!("sys/{path}"),
                    verb: *verb,
                    asked: Asked::Rekey(request),
                    said: Vec::new(),
                })
            }
            Self::Mount => Operation::MountEnable {
                table: MountTable::Secrets,
                path: MountPath::parse(MOUNT).expect("is a path"),
                kind: "kv".to_owned(),
                description: String::new(),
                options: MountOptions {
                    version: 2,
                    ..MountOptions::default()
                },
            },
        }
    }

    /// Where it is asked: a secret's namespace is the directory that the history has for it.
    pub(crate) fn namespace(&self) -> NamespacePath {
        let Self::Kv(recorded) = self else {
            return NamespacePath::root();
        };
        let text = match recorded {
            Recorded::List { directory } => directory,
            other => other.key().unwrap_or_default(),
        };
        let directory = text.split_once('/').map_or(ROOT, |(directory, _)| directory);
        if directory == ROOT {
            return NamespacePath::root();
        }
        NamespacePath::parse(&directory.replace(BELOW, "/")).expect("the history names namespaces")
    }
}

/// The directory that the history has for a namespace: one beside the other, as a list in one tells nothing of those below.
pub(crate) fn directory(namespace: &str) -> String {
    match namespace {
        "" => format!("{ROOT}/"),
        namespace => format!("{}/", namespace.replace('/', BELOW)),
    }
}

fn namespace_ask(verb: Verb, name: &str) -> Operation {
    let body = Body::parse(b"").expect("nothing is an empty object");
    let request = namespace::Request::parse(verb, Some(name), body).expect("is a request");
    Operation::Method(MethodAsk {
        path: format!("sys/namespaces/{name}"),
        verb,
        asked: Asked::Namespace(request),
        said: Vec::new(),
    })
}

fn path(key: &str) -> SecretPath {
    let below = key.split_once('/').map_or(key, |(_, below)| below);
    SecretPath::parse(&format!("{MOUNT}/{below}")).expect("is a path")
}

fn kv_request(recorded: &Recorded) -> kv::Request {
    let data = |value: &u64| SecretBytes::new(format!("{{\"v\":{value}}}").into_bytes());
    match recorded {
        Recorded::Put { key, value, cas } => kv::Request::Put {
            path: path(key),
            data: data(value),
            cas: *cas,
        },
        Recorded::Patch { key, value, cas } => kv::Request::Patch {
            path: path(key),
            data: data(value),
            cas: *cas,
        },
        Recorded::Get { key, version } => kv::Request::Get {
            path: path(key),
            version: *version,
        },
        Recorded::Delete { key, versions } => kv::Request::Delete {
            path: path(key),
            versions: versions.clone(),
        },
        Recorded::Undelete { key, versions } => kv::Request::Undelete {
            path: path(key),
            versions: versions.clone(),
        },
        Recorded::Destroy { key, versions } => kv::Request::Destroy {
            path: path(key),
            versions: versions.clone(),
        },
        Recorded::ReadMetadata { key } => kv::Request::ReadMetadata { path: path(key) },
        Recorded::DeleteMetadata { key } => kv::Request::DeleteMetadata { path: path(key) },
        Recorded::List { directory } => kv::Request::List {
            path: Some(match directory.split_once('/') {
                None | Some((_, "")) => SecretPath::parse(MOUNT).expect("is a path"),
                Some(_) => path(directory.trim_end_matches('/')),
            }),
            after: String::new(),
            limit: 1_000,
        },
        other => unreachable!("{other:?} is not asked of the engine"),
    }
}

/// What a failure says in the checker's words; none if it says nothing of the state.
pub(crate) fn told_by(failure: &Failure) -> Option<Told> {
    match failure.reason {
        "NOT_FOUND" if failure.message.contains("nothing was changed") => Some(Told::Unchanged),
        "NOT_FOUND" => Some(Told::NotFound),
        "CAS_MISMATCH" => {
            let current = failure.message.split("current version ").nth(1);
            let current = current.and_then(|rest| rest.split(')').next()?.parse().ok());
            Some(Told::CasMismatch { current })
        }
        "CAS_REQUIRED" => Some(Told::CasRequired),
        "VERSION_DESTROYED" => Some(Told::Unchanged),
        "TOKEN_INVALID" => Some(Told::Refused),
        _ => None,
    }
}

/// Whether the outcome of a failed request is not known.
pub(crate) fn is_unknown(failure: &Failure) -> bool {
    failure.outcome == OutcomeClass::Unknown
}

/// An answer of the engine in the checker's words.
///
/// # Panics
/// If a value is none that was written.
pub(crate) fn told(reply: &kv::Reply) -> Told {
    match reply {
        kv::Reply::Written { info, .. } => Told::Written { version: info.version },
        kv::Reply::Item(item) => Told::Item {
            version: item.info.version,
            content: match &item.data {
                Some(data) => Content::Value(value(data)),
                None if item.info.destroyed => Content::Destroyed,
                None => Content::Deleted,
            },
        },
        kv::Reply::Names { names, .. } => Told::Names(names.clone()),
        kv::Reply::Metadata(metadata) => {
            let mut versions = BTreeMap::new();
            for info in metadata_infos(metadata) {
                let fate = match (info.destroyed, info.deleted_at) {
                    (true, _) => Fate::Destroyed,
                    (false, 0) => Fate::Live,
                    (false, _) => Fate::Deleted,
                };
                versions.insert(info.version, fate);
            }
            Told::Metadata {
                current: metadata.current,
                versions: versions.into_iter().collect(),
            }
        }
        kv::Reply::Done => Told::Done,
        kv::Reply::Items(_) => unreachable!("no batch is asked for"),
    }
}

fn metadata_infos(metadata: &kv::Metadata) -> Vec<kv::VersionInfo> {
    metadata.versions.iter().map(|(version, state)| state_info(*version, state)).collect()
}

fn state_info(version: u64, state: &kv::VersionState) -> kv::VersionInfo {
    kv::VersionInfo {
        version,
        deleted_at: state.deleted_at,
        destroyed: state.destroyed,
        ..kv::VersionInfo::default()
    }
}

fn value(data: &SecretBytes) -> u64 {
    let text = data.expose_str().expect("JSON is text");
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().expect("a number was written")
}

/// What the workload's tokens may do.
pub(crate) const POLICY: &str = "work";
pub(crate) const POLICY_TEXT: &str = r#"path "secret/*" { capabilities = ["create", "read", "update", "delete", "list", "patch"] }
path "auth/token/lookup-self" { capabilities = ["read"] }"#;
const MOUNT: &str = "secret";
/// No namespace has this name.
const ROOT: &str = "root";
/// Stands for a slash in the directory of a namespace; no name has one.
const BELOW: &str = "+";

/// The parts of a reply that the operator needs.
pub(crate) fn join_secret(reply: &Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::JoinToken(secret) => Some(secret.expose().to_vec()),
        _ => None,
    }
}
