//! HTTP and gRPC are two ways to the same operations: the same decision, and the same audit record.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, Recorded, records, records_from};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::bed::Http;

/// One operation, asked both ways.
struct Twin {
    /// Its name in records, and what is special about it.
    name: &'static str,
    typed: Typed,
    http: (&'static str, &'static str, Value),
    /// For whom it is tried.
    callers: Callers,
}

/// How it is asked by gRPC.
enum Typed {
    /// By a call of its own.
    Call(fn(&Client) -> BoxFuture<'_, bool>),
    /// By path, as by HTTP.
    Path,
}

/// For whom an operation is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Callers {
    All,
    /// Those who may not: it ends the test, or what the next caller needs.
    Refused,
    /// Two of them: it takes no token, and of many refusals in one minute only the number is on record.
    Two,
}

macro_rules! twins {
    ($($name:literal: $request:expr, $method:literal $path:literal $body:expr;)*) => {
        vec![$(Twin {
            name: $name,
            typed: Typed::Call(|client| Box::pin(async move { client.call($request).await.is_ok() })),
            http: ($method, $path, $body),
            callers: Callers::All,
        }),*]
    };
}

macro_rules! by_path {
    ($($name:literal: $method:literal $path:literal $body:expr;)*) => {
        vec![$(Twin { name: $name, typed: Typed::Path, http: ($method, $path, $body), callers: Callers::All }),*]
    };
}

fn path() -> String {
    "secret/p/a".to_owned()
}

fn gone() -> String {
    "secret/p/gone".to_owned()
}

/// Operations that have a call of their own and a path.
fn typed_twins() -> Vec<Twin> {
    let policy = "path \"x\" { capabilities = [\"read\"] }";
    let mut twins = twins! {
        "kv.put": v1::KvPutRequest { path: path(), data: "{\"a\":1}".into(), ..Default::default() },
            "POST" "secret/data/p/a" json!({"data": {"a": 1}});
        "kv.put with cas": v1::KvPutRequest { path: path(), data: "{\"a\":1}".into(), cas: Some(99), ..Default::default() },
            "POST" "secret/data/p/a" json!({"data": {"a": 1}, "options": {"cas": 99}});
        "kv.patch": v1::KvPatchRequest { path: path(), data: "{\"b\":2}".into(), ..Default::default() },
            "PATCH" "secret/data/p/a" json!({"data": {"b": 2}});
        "kv.get": v1::KvGetRequest { path: path(), ..Default::default() }, "GET" "secret/data/p/a" Value::Null;
        "kv.get of a version": v1::KvGetRequest { path: path(), version: 1, ..Default::default() },
            "GET" "secret/data/p/a?version=1" Value::Null;
        "kv.get of nothing": v1::KvGetRequest { path: "secret/p/none".to_owned(), ..Default::default() },
            "GET" "secret/data/p/none" Value::Null;
        "kv.list": v1::KvListRequest { path: "secret/p".to_owned(), limit: 10_000, ..Default::default() },
            "LIST" "secret/metadata/p" Value::Null;
        "kv.delete": v1::KvDeleteRequest { path: path(), ..Default::default() }, "DELETE" "secret/data/p/a" Value::Null;
        "kv.delete of versions": v1::KvDeleteRequest { path: path(), versions: vec![1], ..Default::default() },
            "POST" "secret/delete/p/a" json!({"versions": [1]});
        "kv.undelete": v1::KvUndeleteRequest { path: path(), versions: vec![1], ..Default::default() },
            "POST" "secret/undelete/p/a" json!({"versions": [1]});
        "kv.metadata.read": v1::KvGetMetadataRequest { path: path(), ..Default::default() },
            "GET" "secret/metadata/p/a" Value::Null;
        "kv.metadata.write": v1::KvPutMetadataRequest { path: path(), max_versions: Some(5), ..Default::default() },
            "POST" "secret/metadata/p/a" json!({"max_versions": 5});
        "kv.metadata.delete of nothing": v1::KvDeleteMetadataRequest { path: gone(), ..Default::default() },
            "DELETE" "secret/metadata/p/gone" Value::Null;
        "kv.destroy": v1::KvDestroyRequest { path: path(), versions: vec![1], ..Default::default() },
            "PUT" "secret/destroy/p/a" json!({"versions": [1]});
        "token.create": v1::TokenCreateRequest { ttl_s: 3_600, policies: vec!["default".to_owned()], display_name: "token".to_owned(), ..Default::default() },
            "POST" "auth/token/create" json!({"ttl": 3_600, "policies": ["default"]});
        "token.create of an orphan": v1::TokenCreateRequest { ttl_s: 3_600, orphan: true, policies: vec!["default".to_owned()], display_name: "token".to_owned(), ..Default::default() },
            "POST" "auth/token/create-orphan" json!({"ttl": 3_600, "policies": ["default"]});
        "token.lookup of its own": v1::TokenLookupRequest::default(), "GET" "auth/token/lookup-self" Value::Null;
        "token.renew of its own": v1::TokenRenewRequest { increment_s: 36_000, ..Default::default() },
            "POST" "auth/token/renew-self" json!({"increment": 36_000});
        "token.lookup by accessor": v1::TokenLookupRequest { token: accessor(), ..Default::default() },
            "POST" "auth/token/lookup-accessor" json!({"accessor": ACCESSOR});
        "token.revoke by accessor": v1::TokenRevokeRequest { token: accessor(), ..Default::default() },
            "POST" "auth/token/revoke-accessor" json!({"accessor": ACCESSOR});
        "approle.login": v1::AppRoleLoginRequest { role_id: "the-role".to_owned(), ..Default::default() },
            "POST" "auth/approle/login" json!({"role_id": "the-role"});
        "userpass.login": v1::UserpassLoginRequest { username: "Ann".to_owned(), password: "a-password".into(), ..Default::default() },
            "POST" "auth/userpass/login/ann" json!({"password": "a-password"});
        "mfa.validate": v1::SecondFactorRequest { request_id: ACCESSOR.to_owned(), ..Default::default() },
            "POST" "sys/mfa/validate" json!({"mfa_request_id": ACCESSOR, "mfa_payload": {}});
        "policy.write": v1::PolicyPutRequest { name: "p1".to_owned(), policy: "path \"x\" { capabilities = [\"read\"] }".to_owned(), ..Default::default() },
            "PUT" "sys/policies/acl/p1" json!({"policy": policy});
        "policy.read": v1::PolicyGetRequest { name: "p1".to_owned(), ..Default::default() },
            "GET" "sys/policies/acl/p1" Value::Null;
        "policy.list": v1::PolicyListRequest::default(), "LIST" "sys/policies/acl" Value::Null;
        "policy.delete": v1::PolicyDeleteRequest { name: "p9".to_owned(), ..Default::default() },
            "DELETE" "sys/policies/acl/p9" Value::Null;
        "mount.enable where one is": v1::MountEnableRequest { path: "secret".to_owned(), r#type: "kv".to_owned(), ..Default::default() },
            "POST" "sys/mounts/secret" json!({"type": "kv", "options": {"version": "2"}});
        "mount.disable": v1::MountDisableRequest { path: "none".to_owned(), with_contents: true, ..Default::default() },
            "DELETE" "sys/mounts/none" Value::Null;
        "mount.list": v1::MountListRequest::default(), "GET" "sys/mounts" Value::Null;
        "cluster.members": v1::MembersRequest::default(), "GET" "sys/storage/raft/configuration" Value::Null;
        "cluster.remove": v1::RemoveRequest { node_id: 77, ..Default::default() },
            "POST" "sys/storage/raft/remove-peer" json!({"server_id": 77});
        "sys.step-down where nobody takes over": v1::StepDownRequest::default(), "PUT" "sys/step-down" Value::Null;
    };
    let mut refused = twins! {
        "sys.seal": v1::SealRequest::default(), "PUT" "sys/seal" Value::Null;
    };
    for twin in &mut refused {
        twin.callers = Callers::Refused;
    }
    twins.append(&mut refused);
    twins
}

/// Operations that are reached by path alone: by the generic call, and by HTTP.
fn path_twins() -> Vec<Twin> {
    by_path! {
        "kv.subkeys": "GET" "secret/subkeys/p/a" Value::Null;
        "kv.config.read": "GET" "secret/config" Value::Null;
        "kv.config.write": "POST" "secret/config" json!({"max_versions": 7});
        "kv1.put": "POST" "plain/a" json!({"a": "b"});
        "kv1.get": "GET" "plain/a" Value::Null;
        "kv1.list": "LIST" "plain" Value::Null;
        "kv1.delete": "DELETE" "plain/b" Value::Null;
        "approle.write": "POST" "auth/approle/role/other" json!({"token_policies": "default"});
        "approle.read": "GET" "auth/approle/role/ci" Value::Null;
        "userpass.write": "POST" "auth/userpass/users/bob/policies" json!({"token_policies": "default"});
        "userpass.read": "GET" "auth/userpass/users/ann" Value::Null;
        "token.role.write": "POST" "auth/token/roles/r" json!({"orphan": true});
        "token.role.read": "GET" "auth/token/roles/r" Value::Null;
        "cubbyhole.write": "POST" "cubbyhole/a" json!({"a": "b"});
        "cubbyhole.read": "GET" "cubbyhole/a" Value::Null;
        "token.list": "LIST" "auth/token/accessors" Value::Null;
        "token.tidy": "POST" "auth/token/tidy" Value::Null;
        "token.revoke-orphan of nothing": "POST" "auth/token/revoke-orphan" json!({"token": "none"});
        "wrapping.unwrap of nothing": "POST" "sys/wrapping/unwrap" json!({"token": "none"});
        "wrapping.lookup of nothing": "POST" "sys/wrapping/lookup" json!({"token": "none"});
        "wrapping.rewrap of nothing": "POST" "sys/wrapping/rewrap" json!({"token": "none"});
        "sys.capabilities": "POST" "sys/capabilities-self" json!({"paths": ["secret/data/p/a"]});
        "mount.of": "GET" "sys/internal/ui/mounts/secret/p" Value::Null;
        "mount.seen": "GET" "sys/internal/ui/mounts" Value::Null;
        "mount.read": "GET" "sys/mounts/secret" Value::Null;
        "mount.tune": "POST" "sys/mounts/secret/tune" json!({"description": "as before"});
        "mount.move of nothing": "POST" "sys/remount" json!({"from": "none", "to": "some"});
        "mount.move-status of nothing": "GET" "sys/remount/status/none" Value::Null;
        "auth.enable where one is": "POST" "sys/auth/approle" json!({"type": "approle"});
        "auth.disable of nothing": "DELETE" "sys/auth/none" Value::Null;
        "auth.tune": "POST" "sys/auth/approle/tune" json!({"description": "as before"});
        "auth.read": "GET" "sys/auth/approle" Value::Null;
        "auth.list": "GET" "sys/auth" Value::Null;
        "auth.move of nothing": "POST" "sys/remount" json!({"from": "auth/none", "to": "auth/some"});
        "lease.lookup of nothing": "PUT" "sys/leases/lookup" json!({"lease_id": "none"});
        "lease.renew of nothing": "PUT" "sys/leases/renew" json!({"lease_id": "none"});
        "lease.revoke of nothing": "PUT" "sys/leases/revoke" json!({"lease_id": "none"});
        "lease.revoke-prefix of nothing": "PUT" "sys/leases/revoke-prefix/auth/none" Value::Null;
        "lease.list": "LIST" "sys/leases/lookup/auth" Value::Null;
        "lease.count": "GET" "sys/leases/count" Value::Null;
        "sys.audit.list": "GET" "sys/audit" Value::Null;
        "sys.audit.hash": "POST" "sys/audit-hash/log" json!({"input": "a"});
        "audit.query": "POST" "sys/audit-log/query" json!({"path": "secret/p/none", "limit": 1});
        "audit.floor": "GET" "sys/audit-log/floor" Value::Null;
        "audit.prune of nothing": "POST" "sys/audit-log/prune" json!({"before": 1, "without_archive": true});
        "sys.ha-status": "GET" "sys/ha-status" Value::Null;
        "sys.host-info": "GET" "sys/host-info" Value::Null;
        "sys.metrics": "GET" "sys/metrics" Value::Null;
        "sys.version-history": "LIST" "sys/version-history" Value::Null;
        "keys.read": "GET" "sys/key-status" Value::Null;
        "keys.write": "POST" "sys/rotate/config" json!({"enabled": true});
        "keys.rotate": "PUT" "sys/rotate" Value::Null;
        "erasure.read": "GET" "sys/erasure" Value::Null;
        "erasure.begin": "PUT" "sys/erasure" Value::Null;
        "keys.retire of nothing": "PUT" "sys/rotate/retire" json!({});
        "rekey.start of a second": "PUT" "sys/rekey/init" json!({"secret_shares": 3, "secret_threshold": 2});
        "rekey.read": "GET" "sys/rekey/init" Value::Null;
        "rekey.share of nothing": "PUT" "sys/rekey/update" json!({"key": "x", "nonce": "y"});
        "rekey.verify of nothing": "PUT" "sys/rekey/verify" json!({"key": "x", "nonce": "y"});
        "rekey.verify-reset of nothing": "DELETE" "sys/rekey/verify" Value::Null;
        "rekey.cancel": "DELETE" "sys/rekey/init" Value::Null;
        "root.start of a second": "PUT" "sys/generate-root/attempt" Value::Null;
        "root.read": "GET" "sys/generate-root/attempt" Value::Null;
        "root.start-with-share of nobody": "PUT" "sys/generate-root/attempt" json!({"key": "x"});
        "root.share of nobody": "PUT" "sys/generate-root/update" json!({"key": "x", "nonce": "y"});
        "root.cancel-with-share of nobody": "DELETE" "sys/generate-root/attempt" json!({"key": "x"});
        "root.cancel": "DELETE" "sys/generate-root/attempt" Value::Null;
        "sys.tools.random": "POST" "sys/tools/random" json!({"bytes": 8});
        "sys.tools.hash": "POST" "sys/tools/hash" json!({"input": "YQ=="});
        "sys.seal.cluster": "PUT" "sys/seal/cluster" Value::Null;
        "sys.seal.cluster by a flag": "PUT" "sys/seal" json!({"cluster": true});
        "sys.seal.release of nothing": "DELETE" "sys/seal/cluster" Value::Null;
        "sys.cors": "GET" "sys/config/cors" Value::Null;
        "sys.loggers": "GET" "sys/loggers" Value::Null;
        "sys.count.tokens": "GET" "sys/internal/counters/tokens" Value::Null;
        "sys.count.requests": "GET" "sys/internal/counters/requests" Value::Null;
        "sys.count.sweeps": "GET" "sys/internal/counters/sweeps" Value::Null;
        "sys.openapi": "GET" "sys/internal/specs/openapi" Value::Null;
        "sys.help": "GET" "sys/internal/help/sys/mounts" Value::Null;
        "sys.resultant-acl": "GET" "sys/internal/ui/resultant-acl" Value::Null;
        "sys.plugins": "GET" "sys/plugins/catalog" Value::Null;
        "cluster.autopilot": "GET" "sys/storage/raft/autopilot/state" Value::Null;
        "policy.explain": "POST" "sys/policies/explain" json!({"path": "secret/data/p/a", "capability": "read"});
        "identity.write": "POST" "identity/entity/name/ann" json!({"policies": "default"});
        "identity.read": "LIST" "identity/entity/name" Value::Null;
        "password-policy.write": "PUT" "sys/policies/password/usual" json!({"policy": "length = 20 rule \"charset\" { charset = \"abc\" }"});
        "password-policy.read": "GET" "sys/policies/password/usual" Value::Null;
        "password.generate": "GET" "sys/policies/password/usual/generate" Value::Null;
        "lockout.unlock of nothing": "POST" "sys/locked-users/none/unlock/nobody" Value::Null;
        "lockout.list": "GET" "sys/locked-users" Value::Null;
        "quota.write of nothing": "DELETE" "sys/quotas/rate-limit/none" Value::Null;
        "quota.read": "GET" "sys/quotas/config" Value::Null;
        "namespace.write": "POST" "sys/namespaces/tenant" json!({"custom_metadata": {"a": "b"}});
        "namespace.write of nothing": "DELETE" "sys/namespaces/none" Value::Null;
        "namespace.read": "LIST" "sys/namespaces" Value::Null;
        "mfa.write of nothing": "DELETE" "identity/mfa/login-enforcement/none" Value::Null;
        "mfa.read": "LIST" "identity/mfa/method" Value::Null;
        "mfa.validate of nothing": "POST" "sys/mfa/validate" json!({"mfa_request_id": "none", "mfa_payload": {}});
        "jwt.write": "POST" "auth/jwt/role/r" json!({"user_claim": "sub", "bound_audiences": "a", "bound_subject": "b", "role_type": "jwt"});
        "jwt.read": "LIST" "auth/jwt/role" Value::Null;
        "jwt.login of nobody": "POST" "auth/jwt/login" json!({"role": "r", "jwt": "x"});
        "oidc.auth-url of nobody": "POST" "auth/jwt/oidc/auth_url" json!({"role": "r", "redirect_uri": "https://a.example"});
        "oidc.login of nobody": "POST" "auth/jwt/oidc/callback" json!({"state": "x", "code": "y"});
        "kubernetes.write of nothing": "DELETE" "auth/kubernetes/role/none" Value::Null;
        "kubernetes.read": "LIST" "auth/kubernetes/role" Value::Null;
        "kubernetes.login of nobody": "POST" "auth/kubernetes/login" json!({"role": "r", "jwt": "x"});
        "ldap.write of nothing": "DELETE" "auth/ldap/groups/none" Value::Null;
        "ldap.read": "LIST" "auth/ldap/groups" Value::Null;
        "ldap.login of nobody": "POST" "auth/ldap/login/nobody" json!({"password": "x"});
        "cert.write of nothing": "DELETE" "auth/cert/certs/none" Value::Null;
        "cert.read": "LIST" "auth/cert/certs" Value::Null;
        "cert.login of nobody": "POST" "auth/cert/login" json!({});
        "no-route": "GET" "sys/none" Value::Null;
    }
}

fn twins() -> Vec<Twin> {
    let mut twins = typed_twins();
    twins.append(&mut path_twins());
    for twin in &mut twins {
        if twin.name.starts_with("mfa.validate") || twin.name.ends_with(" of nobody") {
            twin.callers = Callers::Two;
        }
        // Of whoever may, once is enough, and behind it the leader seals anew what there is: `keys.rs`.
        // What seals the cluster ends the test.
        if matches!(twin.name, "keys.rotate" | "rekey.cancel" | "root.cancel")
            || twin.name.starts_with("sys.seal.cluster")
        {
            twin.callers = Callers::Refused;
        }
    }
    twins
}

/// Operations that have one way, and why.
const ONE_WAY: [(&str, &str); 19] = [
    ("logical.read", "it is what a path has come to that is recorded"),
    ("logical.write", "as that"),
    ("logical.patch", "as that"),
    ("logical.delete", "as that"),
    ("logical.list", "as that"),
    ("logical.scan", "as that"),
    ("kv.batch-get", "clients of the HTTP interface know no batches"),
    (
        "wrapping.wrap",
        "both ways of wrapping are in the tests of wrapped replies",
    ),
    (
        "sys.status",
        "by gRPC alone: the HTTP interface has the health and the leader",
    ),
    ("sys.seal.add", "by gRPC alone: a key is shown with shares"),
    ("sys.seal.list", "by gRPC alone, as that"),
    ("sys.seal.remove", "by gRPC alone, as that"),
    ("cluster.join-token", "by gRPC alone: nodes join by gRPC"),
    ("cluster.join", "by gRPC alone, as that"),
    ("cluster.promote", "by gRPC alone: learners become voters by themselves"),
    ("cluster.transfer", "by gRPC alone, to a node of one's choice"),
    (
        "cluster.snapshot-save",
        "a stream both ways: the test of backups by HTTP",
    ),
    ("cluster.snapshot-release", "by gRPC alone, after a restore"),
    (
        "login.malformed",
        "a body that no method can read: typed logins are always read",
    ),
];
/// The audit log as a whole is read by gRPC alone. It has grown between two requests, so that checkpoints and proofs are compared with it, and not with
/// each other, in the tests of transparency.
const AUDIT: [&str; 4] = ["audit.read", "audit.checkpoint", "audit.proof", "audit.consistency"];

/// The sources in which operations have their names.
const NAMES: [&str; 7] = [
    include_str!("../../../crates/node/src/operation.rs"),
    include_str!("../../../crates/node/src/method.rs"),
    include_str!("../../../crates/node/src/look.rs"),
    include_str!("../../../crates/node/src/ceremony/rekey/request.rs"),
    include_str!("../../../crates/node/src/ceremony/generate_root/request.rs"),
    include_str!("../../../crates/engines/src/kv/request.rs"),
    include_str!("../../../crates/engines/src/kv/plain.rs"),
];

/// The names that functions called `name` give.
fn names(source: &str) -> Vec<&str> {
    let functions = source.split("const fn name(").skip(1);
    let bodies = functions.map(|rest| rest.split("\n    }\n").next().unwrap_or_default());
    let strings = bodies.flat_map(|body| body.split('"').skip(1).step_by(2));
    strings.filter(|name| name.contains(['.', '-'])).collect()
}

/// A new operation is compared, or has a reason why it is not.
#[test]
fn every_operation_is_compared() {
    let compared: BTreeSet<&str> = twins().iter().filter_map(|twin| twin.name.split(' ').next()).collect();
    let known: BTreeSet<&str> = NAMES.iter().flat_map(|source| names(source)).collect();
    assert!(known.len() > 80, "{}", known.len());
    let excused = |name: &str| ONE_WAY.iter().any(|(one, _)| *one == name) || AUDIT.contains(&name);
    let missing: Vec<&&str> = known
        .iter()
        .filter(|name| !compared.contains(**name) && !excused(name))
        .collect();
    assert!(
        missing.is_empty(),
        "no row of this table, and no reason why: {missing:?}"
    );
    let unknown: Vec<&&str> = compared.iter().filter(|name| !known.contains(**name)).collect();
    assert!(unknown.is_empty(), "no operation has these names: {unknown:?}");
    let needless: Vec<&str> = ONE_WAY
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !known.contains(name))
        .collect();
    assert!(needless.is_empty(), "no operation has these names: {needless:?}");
}

const ACCESSOR: &str = "00000000000000000000000000000000";

fn accessor() -> Option<v1::TokenName> {
    let by = v1::token_name::By::Accessor(ACCESSOR.to_owned());
    Some(v1::TokenName { by: Some(by) })
}

/// What the records of both must have in common: all but when, and which request.
fn told(record: &Recorded) -> Result<Value> {
    let mut event = record.event.clone();
    let members = event.as_object_mut().context("the event is no object")?;
    for own in ["request_id", "client", "response"] {
        members.remove(own);
    }
    // Each makes a token of its own.
    if let Some(fields) = members["fields"].as_object_mut()
        && ["token.create", "approle.login", "userpass.login"].contains(&record.text("operation"))
    {
        fields.remove("accessor");
    }
    // And a version of its own.
    if let Some(fields) = members["fields"].as_object_mut()
        && ["kv.put", "kv.patch"].contains(&record.text("operation"))
    {
        fields.remove("given");
    }
    Ok(event)
}

/// Every operation by every caller, both ways: who may and who may not, and what is on record of it. Abuse cases: 16.
#[tokio::test(flavor = "multi_thread")]
async fn both_ways_are_one() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = cluster.client()?;
    let policies: BTreeMap<&str, &str> = [
        ("none", "path \"nothing\" { capabilities = [\"read\"] }"),
        ("reader", "path \"secret/data/p/*\" { capabilities = [\"read\"] }\npath \"secret/metadata/p/*\" { capabilities = [\"read\", \"list\"] }"),
        ("writer", "secret \"secret/p/*\" { capabilities = [\"create\", \"update\", \"delete\"] }"),
        ("admin", "path \"sys/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"sudo\"] }\npath \"auth/token/*\" { capabilities = [\"update\"] }"),
    ]
    .into();
    for (name, policy) in &policies {
        let (name, policy) = ((*name).to_owned(), (*policy).to_owned());
        root.call(v1::PolicyPutRequest {
            name,
            policy,
            ..Default::default()
        })
        .await?;
    }
    prepare(&Http::root(&cluster)?).await?;
    let mut callers = vec![("root", cluster.root_token())];
    for name in policies.keys() {
        let request = v1::TokenCreateRequest {
            policies: vec![(*name).to_owned()],
            ..Default::default()
        };
        let token = root.call(request).await?.token;
        callers.push((name, aumbry_types::SecretBytes::new(token.to_vec())));
    }
    let mut seen = records(&root).await?.len();
    let mut decided = 0;
    for (caller, token) in &callers {
        let client = cluster.client_as(token.duplicate(), &cluster.endpoints())?;
        let http = Http::on(&cluster, 0, token.expose_str().unwrap_or_default())?;
        for twin in twins() {
            let (method, path, body) = &twin.http;
            let is_tried = match twin.callers {
                Callers::All => true,
                Callers::Refused => !["root", "admin"].contains(caller),
                Callers::Two => ["root", "none"].contains(caller),
            };
            if !is_tried {
                continue;
            }
            let by_grpc = match twin.typed {
                Typed::Call(call) => call(&client).await,
                Typed::Path => client.call(by_path(method, path, body)).await.is_ok(),
            };
            let first = of_caller(&root, &mut seen).await?;
            let headers = [
                ("X-Vault-Token", token.expose_str().unwrap_or_default()),
                ("Content-Type", "application/merge-patch+json"),
            ];
            let answer = http.ask_with(method, path, &headers, body).await?;
            let second = of_caller(&root, &mut seen).await?;
            // A version that was deleted is told as what is known of it, under 404.
            let by_http = (200..300).contains(&answer.code) || answer.json().pointer("/data/metadata").is_some();
            let name = twin.name;
            let [one] = &first[..] else {
                anyhow::bail!("{name} as {caller} by gRPC has not one record: {}", shown(&first));
            };
            let [other] = &second[..] else {
                anyhow::bail!("{name} as {caller} by HTTP has not one record: {}", shown(&second));
            };
            ensure!(
                Some(one.text("operation")) == name.split(' ').next(),
                "{name} as {caller}: {}",
                shown(&first)
            );
            let (one, other) = (told(one)?, told(other)?);
            // Removing what is not there is done, as clients of this interface see it, and on record as what it is.
            let is_absent = answer.code == 204 && other["reason"] == "NOT_FOUND";
            ensure!(
                by_grpc == by_http || is_absent,
                "{name} as {caller}: {by_grpc} by gRPC, by HTTP {answer:?}"
            );
            ensure!(one == other, "{name} as {caller}:\n{one}\n{other}");
            decided += 1;
        }
    }
    ensure!(decided > 400, "{decided}");
    Ok(())
}

/// What the operations are about.
async fn prepare(root: &Http) -> Result<()> {
    let bound = "127.0.0.0/8,::1/128";
    for (path, body) in [
        ("sys/mounts/plain", json!({"type": "kv", "options": {"version": "1"}})),
        ("plain/a", json!({"a": "b"})),
        ("sys/auth/approle", json!({"type": "approle"})),
        (
            "auth/approle/role/ci",
            json!({"bind_secret_id": false, "secret_id_bound_cidrs": bound}),
        ),
        ("auth/approle/role/ci/role-id", json!({"role_id": "the-role"})),
        ("auth/approle/role/other", json!({"token_policies": "default"})),
        ("sys/auth/userpass", json!({"type": "userpass"})),
        ("auth/userpass/users/ann", json!({"password": "a-password"})),
        ("auth/userpass/users/bob", json!({"password": "a-password"})),
        ("sys/auth/jwt", json!({"type": "jwt"})),
        ("sys/auth/kubernetes", json!({"type": "kubernetes"})),
        ("sys/auth/ldap", json!({"type": "ldap"})),
        ("sys/auth/cert", json!({"type": "cert"})),
        ("auth/token/roles/r", json!({"orphan": true})),
        ("sys/namespaces/tenant", json!({})),
        ("sys/rekey/init", json!({"secret_shares": 3, "secret_threshold": 2})),
        ("sys/generate-root/attempt", json!({})),
        ("identity/entity/name/ann", json!({"policies": "default"})),
    ] {
        let answer = root.ask("POST", path, &body).await?;
        ensure!(answer.code < 300, "{path}: {answer:?}");
    }
    Ok(())
}

/// The generic call of the same path.
fn by_path(method: &str, path: &str, body: &Value) -> v1::LogicalRequest {
    let verb = match method {
        "GET" => v1::Verb::Read,
        "LIST" => v1::Verb::List,
        "DELETE" => v1::Verb::Delete,
        _ => v1::Verb::Write,
    };
    v1::LogicalRequest {
        verb: verb.into(),
        path: path.to_owned(),
        body: if body.is_null() {
            String::new()
        } else {
            body.to_string()
        }
        .into(),
        ..Default::default()
    }
}

/// The records since the last look, without those of looking.
async fn of_caller(root: &Client, seen: &mut usize) -> Result<Vec<Recorded>> {
    let mut new = records_from(root, *seen).await?;
    *seen += new.len();
    new.retain(|record| !OWN.contains(&record.text("operation")));
    Ok(new)
}

fn shown(records: &[Recorded]) -> String {
    let events: Vec<String> = records.iter().map(|record| record.event.to_string()).collect();
    events.join("\n")
}

/// What is on record of looking, and of what a leader does by itself.
const OWN: [&str; 5] = ["audit.read", "sys.checkpoint", "sys.expire", "sys.sweep", "sys.unseal"];
