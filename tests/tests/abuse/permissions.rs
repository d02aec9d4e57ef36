//! Every method of every service, read from the protocol files: what it needs, whom it refuses, and what a sealed node says to it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::Cluster;
use aumbry_types::SecretBytes;
use futures::future::BoxFuture;

use crate::bed::{ask, each, get, list, put, reason, shared, token_with};
use crate::raw::{GRPC, Raw, bearer, framed};

/// A method that a policy must allow.
struct Method {
    /// Service and method.
    name: &'static str,
    /// The path and capability that it needs; with `sudo` before the capability if the path is protected.
    needs: (&'static str, &'static str),
    /// Asks for something that does no harm if it is allowed.
    ask: fn(&Client) -> BoxFuture<'_, String>,
}

macro_rules! methods {
    ($($name:literal needs $capability:literal on $path:literal: $request:expr;)*) => {
        vec![$(Method {
            name: $name,
            needs: ($path, $capability),
            ask: |client| ask(client, $request),
        }),*]
    };
}

/// What each method needs. A method that is in a protocol file and not here fails the test.
fn methods() -> Vec<Method> {
    let saves = Method {
        name: "ClusterService/SnapshotSave",
        needs: ("sys/storage/raft/snapshot", "sudo read"),
        ask: |client| Box::pin(async move { reason(client.save_backup(None).await) }),
    };
    let mut methods = methods! {
        "KvService/Put" needs "create" on "secret/data/a013/new": put("secret/a013/new", "{}");
        "KvService/Put" needs "update" on "secret/data/a013/x": put("secret/a013/x", "{}");
        "KvService/Get" needs "read" on "secret/data/a013/x": get("secret/a013/x");
        "KvService/BatchGet" needs "read" on "secret/data/a013/x": v1::KvBatchGetRequest {
            paths: vec!["secret/a013/x".to_owned()],
            ..Default::default()
        };
        "KvService/Patch" needs "patch" on "secret/data/a013/x": v1::KvPatchRequest {
            path: "secret/a013/x".to_owned(),
            data: "{}".into(),
            ..Default::default()
        };
        "KvService/List" needs "list" on "secret/metadata/a013": list("secret/a013");
        "KvService/Delete" needs "delete" on "secret/data/a013/none": v1::KvDeleteRequest {
            path: "secret/a013/none".to_owned(),
            ..Default::default()
        };
        "KvService/Delete" needs "update" on "secret/delete/a013/none": v1::KvDeleteRequest {
            path: "secret/a013/none".to_owned(),
            versions: vec![1],
            ..Default::default()
        };
        "KvService/Undelete" needs "update" on "secret/undelete/a013/none": v1::KvUndeleteRequest {
            path: "secret/a013/none".to_owned(),
            versions: vec![1],
            ..Default::default()
        };
        "KvService/Destroy" needs "update" on "secret/destroy/a013/none": v1::KvDestroyRequest {
            path: "secret/a013/none".to_owned(),
            versions: vec![1],
            ..Default::default()
        };
        "KvService/GetMetadata" needs "read" on "secret/metadata/a013/x": v1::KvGetMetadataRequest {
            path: "secret/a013/x".to_owned(),
            ..Default::default()
        };
        "KvService/PutMetadata" needs "update" on "secret/metadata/a013/x": v1::KvPutMetadataRequest {
            path: "secret/a013/x".to_owned(),
            max_versions: Some(9),
            ..Default::default()
        };
        "KvService/DeleteMetadata" needs "delete" on "secret/metadata/a013/none": v1::KvDeleteMetadataRequest {
            path: "secret/a013/none".to_owned(),
            ..Default::default()
        };
        "LogicalService/Call" needs "read" on "secret/data/a013/x": v1::LogicalRequest {
            path: "secret/data/a013/x".to_owned(),
            ..Default::default()
        };
        "LogicalService/Call" needs "update" on "nowhere/a013": v1::LogicalRequest {
            verb: v1::Verb::Write as i32,
            path: "nowhere/a013".to_owned(),
            ..Default::default()
        };
        "TokenService/Create" needs "update" on "auth/token/create": v1::TokenCreateRequest {
            ttl_s: 60,
            ..Default::default()
        };
        "TokenService/Create" needs "sudo update" on "auth/token/create-orphan": v1::TokenCreateRequest {
            ttl_s: 60,
            orphan: true,
            ..Default::default()
        };
        "TokenService/Lookup" needs "read" on "auth/token/lookup-self": v1::TokenLookupRequest::default();
        "TokenService/Lookup" needs "update" on "auth/token/lookup": v1::TokenLookupRequest {
            token: named_by_token(),
            ..Default::default()
        };
        "TokenService/Lookup" needs "update" on "auth/token/lookup-accessor": v1::TokenLookupRequest {
            token: named_by_accessor(),
            ..Default::default()
        };
        "TokenService/Renew" needs "update" on "auth/token/renew-self": v1::TokenRenewRequest::default();
        "TokenService/Renew" needs "update" on "auth/token/renew": v1::TokenRenewRequest {
            token: named_by_token(),
            ..Default::default()
        };
        "TokenService/Renew" needs "update" on "auth/token/renew-accessor": v1::TokenRenewRequest {
            token: named_by_accessor(),
            ..Default::default()
        };
        "TokenService/Revoke" needs "update" on "auth/token/revoke": v1::TokenRevokeRequest {
            token: named_by_token(),
            ..Default::default()
        };
        "TokenService/Revoke" needs "update" on "auth/token/revoke-accessor": v1::TokenRevokeRequest {
            token: named_by_accessor(),
            ..Default::default()
        };
        "TokenService/Revoke" needs "update" on "auth/token/revoke-self": v1::TokenRevokeRequest::default();
        "PolicyService/Put" needs "update" on "sys/policies/acl/a013-new": v1::PolicyPutRequest {
            name: "a013-new".to_owned(),
            ..Default::default()
        };
        "PolicyService/Get" needs "read" on "sys/policies/acl/a013-none": v1::PolicyGetRequest {
            name: "a013-none".to_owned(),
            ..Default::default()
        };
        "PolicyService/List" needs "list" on "sys/policies/acl": v1::PolicyListRequest::default();
        "PolicyService/Delete" needs "delete" on "sys/policies/acl/a013-none": v1::PolicyDeleteRequest {
            name: "a013-none".to_owned(),
            ..Default::default()
        };
        "MountService/Enable" needs "update" on "sys/mounts/secret": v1::MountEnableRequest {
            path: "secret".to_owned(),
            r#type: "kv".to_owned(),
            ..Default::default()
        };
        "MountService/Disable" needs "delete" on "sys/mounts/a013-none": v1::MountDisableRequest {
            path: "a013-none".to_owned(),
            ..Default::default()
        };
        "MountService/List" needs "read" on "sys/mounts": v1::MountListRequest::default();
        "AuditService/Read" needs "sudo read" on "sys/audit-log": v1::AuditReadRequest {
            limit: 1,
            ..Default::default()
        };
        "AuditService/Checkpoint" needs "read" on "sys/audit-log/checkpoint": v1::AuditCheckpointRequest::default();
        "AuditService/Prove" needs "read" on "sys/audit-log/proof": v1::AuditProofRequest::default();
        "AuditService/ProveConsistency" needs "read" on "sys/audit-log/consistency": v1::AuditConsistencyRequest::default();
        "SysService/Status" needs "read" on "sys/status": v1::StatusRequest::default();
        "SysService/StepDown" needs "sudo update" on "sys/step-down": v1::StepDownRequest::default();
        "SysService/AddSeal" needs "sudo update" on "sys/seals": v1::SealAddRequest {
            static_key: STATIC_KEY.into(),
            ..Default::default()
        };
        "SysService/ListSeals" needs "read" on "sys/seals": v1::SealListRequest::default();
        "SysService/RemoveSeal" needs "sudo delete" on "sys/seals/00000000000000000000000000000000": v1::SealRemoveRequest {
            key_id: "00000000000000000000000000000000".to_owned(),
            ..Default::default()
        };
        "ClusterService/CreateJoinToken" needs "sudo update" on "sys/storage/raft/join-token":
            v1::JoinTokenCreateRequest::default();
        "ClusterService/Members" needs "read" on "sys/storage/raft/configuration": v1::MembersRequest::default();
        "ClusterService/Promote" needs "sudo update" on "sys/storage/raft/promote": v1::PromoteRequest {
            node_id: 99,
            ..Default::default()
        };
        "ClusterService/Remove" needs "sudo update" on "sys/storage/raft/remove-peer": v1::RemoveRequest {
            node_id: 99,
            ..Default::default()
        };
        "ClusterService/Transfer" needs "sudo update" on "sys/storage/raft/transfer": v1::TransferRequest {
            node_id: 99,
            ..Default::default()
        };
        "ClusterService/SnapshotRelease" needs "sudo update" on "sys/storage/raft/snapshot-release":
            v1::SnapshotReleaseRequest::default();
        // The last one: it ends what the node can be asked.
        "SysService/Seal" needs "sudo update" on "sys/seal": v1::SealRequest::default();
    };
    methods.insert(0, saves);
    methods
}

fn named_by_token() -> Option<v1::TokenName> {
    let by = v1::token_name::By::Token("amb.none".into());
    Some(v1::TokenName { by: Some(by) })
}

fn named_by_accessor() -> Option<v1::TokenName> {
    let by = v1::token_name::By::Accessor("00000000000000000000000000000000".to_owned());
    Some(v1::TokenName { by: Some(by) })
}

/// Each method needs exactly what is declared for it: who has no token, or everything but that, is refused on every node, by whichever way the
/// request reaches the leader; who has that alone is not.
///
/// Abuse cases: 16, 76.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_013_each_method_needs_what_is_declared() -> Result<()> {
    let declared: Vec<&str> = methods().iter().map(|method| method.name).collect();
    for method in in_protocol_files()? {
        ensure!(
            declared.contains(&&*method) || OPEN.contains(&&*method),
            "{method} has no declared permission: add it here"
        );
    }
    let cluster = shared()?;
    let root = cluster.client()?;
    root.call(put("secret/a013/x", "{}")).await?;
    for (n, method) in methods().iter().enumerate() {
        let (path, capability) = method.needs;
        let everything = format!(
            "path \"*\" {{ capabilities = [{ALL}, \"sudo\"] }}\npath \"{path}\" {{ capabilities = [\"deny\"] }}"
        );
        let everything = token_with(&root, &format!("a013-{n}"), &everything).await?;
        for endpoints in each(&cluster) {
            for (token, expected) in [
                (SecretBytes::default(), "TOKEN_INVALID"),
                (SecretBytes::new(b"amb.none".to_vec()), "TOKEN_INVALID"),
                (everything.duplicate(), "PERMISSION_DENIED"),
            ] {
                let client = cluster.builder(token, &endpoints)?.retries(false).build()?;
                let answer = (method.ask)(&client).await;
                ensure!(
                    answer == expected,
                    "{} needs {capability} on {path}, and on {endpoints:?} said {answer}",
                    method.name
                );
            }
        }
    }
    Ok(())
}

/// The other half: what is declared is enough, and on a protected path `sudo` must be named: not even `*` stands for it.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_019_sudo_must_be_named_and_what_is_declared_is_enough() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = cluster.client()?;
    root.call(put("secret/a013/x", "{}")).await?;
    let endpoints = cluster.endpoints();
    let no_sudo = token_with(&root, "no-sudo", &format!("path \"*\" {{ capabilities = [{ALL}] }}")).await?;
    let no_sudo = cluster.builder(no_sudo, &endpoints)?.retries(false).build()?;
    let mut protected = 0;
    let mut answers = BTreeMap::new();
    for (n, method) in methods().iter().enumerate() {
        let (path, needed) = method.needs;
        let words: Vec<String> = needed.split(' ').map(|word| format!("\"{word}\"")).collect();
        let text = format!("path \"{path}\" {{ capabilities = [{}] }}", words.join(", "));
        let exact = token_with(&root, &format!("exact-{n}"), &text).await?;
        let exact = cluster.builder(exact, &endpoints)?.retries(false).build()?;
        if words.len() == 2 {
            protected += 1;
            let answer = (method.ask)(&no_sudo).await;
            ensure!(
                answer == "PERMISSION_DENIED",
                "{} on {path} said {answer} without sudo",
                method.name
            );
        }
        let answer = (method.ask)(&exact).await;
        ensure!(
            !["PERMISSION_DENIED", "TOKEN_INVALID"].contains(&&*answer),
            "{} needs more than {needed} on {path}",
            method.name
        );
        *answers.entry(answer).or_insert(0) += 1;
    }
    ensure!(protected == 12, "{protected} paths are protected");
    ensure!(answers.get("OK").is_some_and(|count| *count > 15), "{answers:?}");
    Ok(())
}

/// A sealed node says nothing to any method but to those that everybody may call, and to these no more than its state.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_058_a_sealed_node_answers_no_method() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = cluster.client_on(1)?;
    let canary = "canarycanarycanary";
    root.call(put(&format!("secret/{canary}"), "{}")).await?;
    root.call(v1::SealRequest::default()).await?;
    let anonymous = cluster.builder(SecretBytes::default(), &cluster.endpoints())?;
    let anonymous = anonymous.retries(false).build()?;
    for method in methods() {
        for client in [&root, &anonymous] {
            let answer = (method.ask)(client).await;
            ensure!(answer == "SEALED", "{} said {answer}", method.name);
        }
    }
    let raw = Raw::connect(&cluster.endpoints()[0], cluster.ca_file()).await?;
    let bearer = bearer(cluster.root_token().expose_str().unwrap_or_default());
    for method in OPEN {
        let path = format!("/aumbry.v1.{method}");
        let answer = raw
            .post(&path, &[GRPC, ("authorization", &bearer)], framed(&[]))
            .await?;
        let tells_state = ["SysService/SealStatus", "SysService/Health", "SysService/ResetUnseal"].contains(&method);
        ensure!(answer.is_served() == tells_state, "{method}: {answer:?}");
        ensure!(!answer.text().contains(canary), "{method}: {answer:?}");
    }
    Ok(())
}

/// What nodes say to each other, and what a leader does by itself, is nothing that a client can ask for: not even with a root token.
///
/// Abuse cases: 71, 77.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_017_no_client_can_ask_for_what_is_internal() -> Result<()> {
    let cluster = shared()?;
    let bearer = bearer(cluster.root_token().expose_str().unwrap_or_default());
    let mut internal: Vec<String> = methods_in("../proto/aumbry/peer/v1/peer.proto")?
        .iter()
        .map(|method| format!("/aumbry.peer.v1.{method}"))
        .collect();
    ensure!(internal.len() >= 10, "{internal:?}");
    internal.extend(
        [
            "/aumbry.v1.SysService/Revoke",
            "/aumbry.v1.SysService/Apply",
            "/aumbry.v1.SysService/Confirm",
            "/aumbry.v1.SysService/Tick",
            "/aumbry.v1.SysService/GenerateRoot",
            "/aumbry.v1.AuditService/Disable",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            "/debug/pprof/profile",
            "/metrics",
            "/",
        ]
        .map(str::to_owned),
    );
    for endpoint in cluster.endpoints() {
        let raw = Raw::connect(&endpoint, cluster.ca_file()).await?;
        for path in &internal {
            let headers = [GRPC, ("authorization", &*bearer)];
            let answer = raw.post(path, &headers, framed(&[])).await?;
            ensure!(answer.code() == Some(UNIMPLEMENTED), "{path}: {answer:?}");
            ensure!(answer.body.is_empty(), "{path}: {answer:?}");
        }
        // Whose request it is, and what was decided, is nothing that headers can say.
        let root = cluster.root_token();
        let forged = [
            GRPC,
            ("aumbry-from", "1"),
            ("aumbry-to", "1"),
            ("x-forwarded-user", "root"),
            ("x-vault-token", root.expose_str().unwrap_or_default()),
        ];
        let answer = raw.post("/aumbry.v1.SysService/Status", &forged, framed(&[])).await?;
        ensure!(answer.code() == Some(UNAUTHENTICATED), "{answer:?}");
    }
    Ok(())
}

/// Nobody can turn the audit log off, or tell it where to write: there is no method for either.
///
/// Abuse cases: 90.
#[test]
fn abuse_091_no_method_turns_the_audit_log_off() -> Result<()> {
    let of_audit: Vec<String> = in_protocol_files()?
        .into_iter()
        .filter(|method| method.to_lowercase().contains("audit"))
        .collect();
    ensure!(
        of_audit
            == [
                "AuditService/Read",
                "AuditService/Checkpoint",
                "AuditService/Prove",
                "AuditService/ProveConsistency"
            ],
        "{of_audit:?}"
    );
    Ok(())
}

/// Service and method of each that clients can call.
fn in_protocol_files() -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir("../proto/aumbry/v1")?.collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::path);
    for file in files {
        found.extend(methods_in(&file.path().to_string_lossy())?);
    }
    ensure!(found.len() > 40, "{found:?}");
    Ok(found)
}

fn methods_in(file: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
    let mut service = "";
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split([' ', '(']).filter(|word| !word.is_empty()).collect();
        match words[..] {
            ["service", name, ..] => service = name,
            ["rpc", method, ..] => found.push(format!("{service}/{method}")),
            _ => {}
        }
    }
    Ok(found)
}

/// What has no token: the state of a node, and what is done before there can be one, which is protected otherwise.
const OPEN: [&str; 11] = [
    // They show what they log in with.
    "AuthService/AppRoleLogin",
    "AuthService/UserpassLogin",
    "AuthService/ValidateSecondFactor",
    "SysService/Init",
    "SysService/Unseal",
    "SysService/ResetUnseal",
    "SysService/SealStatus",
    "SysService/Health",
    // Shows a join token.
    "ClusterService/Join",
    "ClusterService/JoinCluster",
    "ClusterService/SnapshotRestore",
];
const ALL: &str = r#""create", "read", "update", "patch", "delete", "list", "scan""#;
const STATIC_KEY: &str = "aumbry-seal-key-0000000000000000000000000000000000000000000000000000000000000000";
const UNIMPLEMENTED: u32 = 12;
const UNAUTHENTICATED: u32 = 16;
