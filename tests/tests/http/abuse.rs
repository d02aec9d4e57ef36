//! What somebody could try by HTTP.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, connect, records};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bed::{Http, done};

/// Sends bytes as they are, and gives the code of what comes back; none if the connection is closed without an answer.
async fn raw(cluster: &Cluster, bytes: &[u8]) -> Result<Option<u16>> {
    let authority = std::fs::read_to_string(cluster.ca_file())?;
    let mut stream = connect(&cluster.nodes()[0].http, &authority, "http/1.1").await?;
    // The other side may have seen enough, and close while this is still being sent.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let head = String::from_utf8_lossy(&answer);
    Ok(head.split(' ').nth(1).and_then(|code| code.parse().ok()))
}

/// Paths that lead elsewhere, look like others, or cannot be seen, are refused, and nothing is stored under them. Abuse cases: 3, 4, 5, 6.
#[tokio::test(flavor = "multi_thread")]
async fn odd_paths_lead_nowhere() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let body = json!({ "data": { "a": "b" } });
    for path in [
        "secret/data/../x",
        "secret/data/%2e%2e/x",
        "secret/data/%252e%252e/x",
        "secret/data/..%2fx",
        "secret/data/a%252fb",
        "secret/data/a;b=c",
        "secret/data//a",
        "/secret/data/a",
        "secret//data/a",
        "secret/data/a%0d%0ab",
        "secret/data/a%00",
        "secret/data/a%ff",
        "secret/data/a%e2%80%8b",
        "secret/data/cafe%cc%81",
        "secret/data/%e2%80%aea",
        "SECRET/data/a",
        "secret/DATA/a",
    ] {
        let answer = root.ask("POST", path, &body).await?;
        ensure!((400..500).contains(&answer.code), "{path}: {answer:?}");
    }
    let listed = root.ask("LIST", "secret/metadata", &Value::Null).await?;
    ensure!(listed.code == 404, "something was stored: {listed:?}");
    // What was refused for one spelling is not allowed under another.
    let policy = "path \"secret/data/*\" { capabilities = [\"read\"] }\npath \"secret/data/private/*\" { capabilities = [\"deny\"] }";
    let written = root.ask("PUT", "sys/policy/p", &json!({ "policy": policy })).await?;
    ensure!(written.code == 204, "{written:?}");
    let made = root
        .ask("POST", "auth/token/create", &json!({ "policies": ["p"] }))
        .await?;
    let token = made.json()["auth"]["client_token"]
        .as_str()
        .context("a token")?
        .to_owned();
    let reader = Http::on(&cluster, 0, &token)?;
    for path in [
        "secret/data/private/a",
        "secret/data/private%2Fa",
        "secret/data/privat%65/a",
    ] {
        let answer = reader.ask("GET", path, &Value::Null).await?;
        ensure!(answer.code == 403, "{path}: {answer:?}");
    }
    Ok(())
}

/// The address on record is that of the connection, whatever a header says. Abuse cases: 46.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_that_of_the_connection() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let token = cluster.root_token();
    let token = token.expose_str().context("the token is text")?;
    let headers = [
        ("X-Vault-Token", token),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Real-IP", "203.0.113.7"),
        ("Forwarded", "for=203.0.113.7"),
    ];
    let answer = root
        .ask_with("GET", "auth/token/lookup-self", &headers, &Value::Null)
        .await?;
    ensure!(answer.code == 200, "{answer:?}");
    let recorded = records(&cluster.client()?).await?;
    ensure!(
        recorded
            .iter()
            .all(|record| !record.event.to_string().contains("203.0.113.7")),
        "a header is believed"
    );
    ensure!(
        recorded
            .iter()
            .any(|record| record.text("client").starts_with("127.0.0.1")),
        "no address is on record"
    );
    Ok(())
}

/// A request has one reading, and its size is known or bounded. Abuse cases: 72, 92, 93, 96.
#[tokio::test(flavor = "multi_thread")]
async fn requests_have_one_reading_and_bounds() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let token = cluster.root_token();
    let token = token.expose_str().context("the token is text")?;
    let head = format!("POST /v1/secret/data/x HTTP/1.1\r\nHost: n\r\nX-Vault-Token: {token}\r\n");
    let body = "{\"data\":{}}";
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let lines = [
        (
            format!(
                "{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
            Some(200),
            "one length",
        ),
        (
            format!("{head}Content-Length: 3\r\nContent-Length: 11\r\n\r\n{body}"),
            Some(400),
            "two lengths",
        ),
        (
            format!("{head}Content-Length: -1\r\n\r\n{body}"),
            Some(400),
            "no number",
        ),
        (
            format!(
                "{head}Connection: close\r\nContent-Length: 99999999999\r\n\r\n{}",
                "x".repeat(17 << 20)
            ),
            Some(413),
            "a length beyond the bound",
        ),
        (
            format!("{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}{chunk}0\r\n\r\n"),
            Some(413),
            "no length",
        ),
        (
            format!("{head}Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\u{1f}x\u{8}"),
            Some(400),
            "packed",
        ),
        (
            format!("{head}X-Long: {}\r\n\r\n", "x".repeat(300 << 10)),
            Some(431),
            "a long header",
        ),
        (
            format!("{head}{}\r\n\r\n", "X-Many: x\r\n".repeat(500)),
            Some(431),
            "many headers",
        ),
        (
            "GET /v1/sys/health HTTP/9.9\r\n\r\n".to_owned(),
            Some(400),
            "no such version",
        ),
        ("nonsense\r\n\r\n".to_owned(), Some(400), "no request"),
    ];
    for (bytes, code, what) in &lines {
        let told = raw(&cluster, bytes.as_bytes()).await?;
        // A connection that is closed refuses as well, where the other side was still sending.
        let is_closed = told.is_none() && *code != Some(200);
        ensure!(told == *code || is_closed, "{what}: {told:?}");
    }
    // Both lengths at once: the one that counts must not be a matter of who reads.
    let both = format!("{head}Connection: close\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let told = raw(&cluster, both.as_bytes()).await?;
    ensure!(told != Some(200), "two ways to end a body: {told:?}");
    Ok(())
}

/// A sealed node answers nothing by HTTP but what everybody may know, and an error repeats nothing. Abuse cases: 58, 83, 84.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_node_and_errors_tell_nothing() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    const CANARY: &str = "canary-6d1f0c";
    for (method, path, body) in [
        ("POST", "secret/data/x", json!({ "data": CANARY })),
        (
            "POST",
            "secret/data/x",
            json!({ "data": { "v": CANARY }, "options": { "cas": 9 } }),
        ),
        ("POST", "secret/metadata/x", json!({ "max_versions": CANARY })),
        ("PUT", "sys/policy/x", json!({ "policy": format!("path {CANARY} {{") })),
        ("POST", "auth/token/lookup", json!({ "token": CANARY })),
        ("POST", "auth/token/create", json!({ "ttl": CANARY })),
        ("POST", "nowhere/x", json!({ "password": CANARY })),
        ("PUT", "sys/unseal", json!({ "key": CANARY })),
    ] {
        let answer = root.ask(method, path, &body).await?;
        ensure!(
            !answer.body.contains(CANARY) && !answer.head.contains(CANARY),
            "{method} {path}: {answer:?}"
        );
    }
    let told = records(&cluster.client()?).await?;
    ensure!(
        told.iter().all(|record| !record.event.to_string().contains(CANARY)),
        "a value is on record"
    );
    cluster.client()?.call(v1::SealRequest::default()).await?;
    for (method, path, code) in [
        ("GET", "secret/data/x", 503),
        ("POST", "auth/approle/login", 503),
        ("POST", "sys/wrapping/unwrap", 503),
        ("GET", "auth/token/lookup-self", 503),
        ("GET", "sys/leader", 503),
        ("GET", "sys/health", 503),
        ("GET", "sys/seal-status", 200),
    ] {
        let answer = root.ask(method, path, &json!({})).await?;
        ensure!(answer.code == code, "{method} {path}: {answer:?}");
    }
    Ok(())
}

/// What any path wants to be told, so that it is refused for who asks, and not for what is missing.
fn everything() -> Value {
    json!({
        "type": "kv", "token": "s.none", "accessor": "none", "lease_id": "auth/none/login/x", "path": "none", "paths": ["none"],
        "policy": "path \"none\" { capabilities = [\"read\"] }", "capability": "read", "password": "a-password", "data": { "a": "b" }, "versions": [1],
        "name": "none", "server_id": 77, "from": "none", "to": "other", "input": "none", "role_id": "none", "secret_id": "none", "secret_id_accessor": "none",
        "policies": "default", "from_entity_ids": ["none"], "to_entity_id": "none", "user_claim": "sub", "bound_audiences": "a", "mount_accessor": "none",
        "canonical_id": "none", "rate": 1, "method_id": "none", "entity_id": "none",
    })
}

/// Every path that the server has, by the document that it gives of itself: who has a token that may do nothing is refused on each of them, with each
/// verb, in one way. A path that is open without a token says so in that document, and is on this list. Abuse cases: 13.
#[tokio::test(flavor = "multi_thread")]
async fn every_path_is_guarded() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let policy = json!({ "policy": "path \"none\" { capabilities = [\"read\"] }" });
    done(&root, "PUT", "sys/policies/acl/nothing", policy).await?;
    let create = json!({ "policies": ["nothing"], "no_default_policy": true });
    let made = root.ask("POST", "auth/token/create", &create).await?.json();
    let nobody = Http::on(&cluster, 0, made["auth"]["client_token"].as_str().context("a token")?)?;
    let document = root
        .ask("GET", "sys/internal/specs/openapi", &Value::Null)
        .await?
        .json();
    let paths = document["paths"].as_object().context("paths")?.clone();
    let mut asked = 0;
    let mut open = Vec::new();
    let mut wrong = Vec::new();
    for kind in ["approle", "userpass", "jwt", "oidc", "kubernetes", "ldap", "cert"] {
        done(&root, "POST", &format!("sys/auth/{kind}"), json!({ "type": kind })).await?;
    }
    let plain = json!({ "type": "kv", "options": { "version": "1" } });
    done(&root, "POST", "sys/mounts/kv", plain).await?;
    for (path, item) in &paths {
        let is_login = LOGINS.iter().any(|end| path.ends_with(end));
        if item["x-vault-unauthenticated"] == true || is_login {
            open.push(path.as_str());
            continue;
        }
        let place = |part: &str| match part
            .strip_suffix("_mount_path}")
            .map(|kind| kind.trim_start_matches('{'))
        {
            Some(kind) => kind.to_owned(),
            None if part.starts_with('{') => "none".to_owned(),
            None => part.to_owned(),
        };
        let path = path
            .trim_start_matches('/')
            .split('/')
            .map(place)
            .collect::<Vec<_>>()
            .join("/");
        let verbs = item
            .as_object()
            .context("an item")?
            .iter()
            .filter(|(_, said)| said["operationId"].is_string());
        for (verb, said) in verbs {
            let is_listed = said["parameters"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["name"] == "list"));
            let methods: &[&str] = match verb.as_str() {
                "get" if is_listed => &["GET", "LIST"],
                "get" => &["GET"],
                "post" => &["POST"],
                "patch" => &["PATCH"],
                _ => &["DELETE"],
            };
            for method in methods {
                let body = if ["POST", "PATCH"].contains(method) {
                    everything()
                } else {
                    Value::Null
                };
                let headers = [
                    ("X-Vault-Token", nobody.token()),
                    ("Content-Type", "application/merge-patch+json"),
                ];
                let answer = nobody.ask_with(method, &path, &headers, &body).await?;
                asked += 1;
                let what = format!("{method} {path}");
                if answer.code != 403 && !OWN.contains(&&*what) {
                    wrong.push(format!("{what}: {}", answer.code));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(asked > 200, "{asked}");
    ensure!(open == OPEN, "{open:?}");
    Ok(())
}

/// What any token may: what is told of it is about the token, or about nobody.
const OWN: [&str; 4] = [
    "GET sys/internal/help/none",
    "GET sys/internal/specs/openapi",
    "GET sys/internal/ui/mounts",
    "GET sys/internal/ui/resultant-acl",
];
/// How the paths end that take something else than a token.
const LOGINS: [&str; 5] = [
    "_mount_path}/login",
    "/login/{username}",
    "/oidc/auth_url",
    "/oidc/callback",
    "/sys/mfa/validate",
];
/// What takes no token.
const OPEN: [&str; 19] = [
    "/auth/{approle_mount_path}/login",
    "/auth/{cert_mount_path}/login",
    "/auth/{jwt_mount_path}/login",
    "/auth/{jwt_mount_path}/oidc/auth_url",
    "/auth/{jwt_mount_path}/oidc/callback",
    "/auth/{kubernetes_mount_path}/login",
    "/auth/{ldap_mount_path}/login/{username}",
    "/auth/{oidc_mount_path}/login",
    "/auth/{oidc_mount_path}/oidc/auth_url",
    "/auth/{oidc_mount_path}/oidc/callback",
    "/auth/{userpass_mount_path}/login/{username}",
    "/sys/health",
    "/sys/init",
    "/sys/leader",
    "/sys/mfa/validate",
    "/sys/replication/status",
    "/sys/replication/{mode}/status",
    "/sys/seal-status",
    "/sys/unseal",
];
