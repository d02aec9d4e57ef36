//! The paths of the system: what a node tells of itself and of the cluster, and what it says where nothing can be done.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::Cluster;
use serde_json::{Value, json};

use crate::bed::Http;

/// A request of root, the code that answers it, and what a member of the answer must be; null is anything but nothing.
type Line = (&'static str, &'static str, Value, u16, &'static str, Value);

fn lines() -> Vec<Line> {
    let nothing = || Value::Null;
    vec![
        ("GET", "sys/audit", nothing(), 200, "/data/log~1/type", json!("log")),
        ("GET", "sys/audit", nothing(), 200, "/log~1/type", json!("log")),
        (
            "PUT",
            "sys/audit/file",
            json!({"type": "file"}),
            400,
            "/errors/0",
            nothing(),
        ),
        ("DELETE", "sys/audit/log", nothing(), 400, "/errors/0", nothing()),
        (
            "POST",
            "sys/audit-hash/log",
            json!({"input": "a"}),
            200,
            "/data/hash",
            nothing(),
        ),
        ("POST", "sys/audit-hash/log", json!({}), 400, "/errors/0", nothing()),
        ("GET", "sys/key-status", nothing(), 200, "/data/term", json!(1)),
        ("GET", "sys/key-status", nothing(), 200, "/install_time", nothing()),
        (
            "GET",
            "sys/rotate/config",
            nothing(),
            200,
            "/data/max_operations",
            json!(3_865_470_566_u64),
        ),
        (
            "GET",
            "sys/rotate/progress",
            nothing(),
            200,
            "/data/state",
            json!("none"),
        ),
        ("PUT", "sys/rotate/retire", json!({}), 400, "/errors/0", nothing()),
        (
            "GET",
            "sys/ha-status",
            nothing(),
            200,
            "/data/nodes/2/hostname",
            nothing(),
        ),
        ("GET", "sys/host-info", nothing(), 200, "/data/host/hostname", nothing()),
        ("GET", "sys/metrics?format=json", nothing(), 400, "/errors/0", nothing()),
        ("LIST", "sys/version-history", nothing(), 200, "/data/keys/0", nothing()),
        (
            "POST",
            "sys/tools/random/16",
            json!({"format": "hex"}),
            200,
            "/data/random_bytes",
            nothing(),
        ),
        (
            "POST",
            "sys/tools/random",
            nothing(),
            200,
            "/data/random_bytes",
            nothing(),
        ),
        (
            "POST",
            "sys/tools/random/all/200000",
            nothing(),
            400,
            "/errors/0",
            nothing(),
        ),
        (
            "POST",
            "sys/tools/random/none/8",
            nothing(),
            400,
            "/errors/0",
            nothing(),
        ),
        (
            "POST",
            "sys/tools/hash",
            json!({"input": "YWJj"}),
            200,
            "/data/sum",
            json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ),
        (
            "POST",
            "sys/tools/hash/sha2-224",
            json!({"input": "YWJj"}),
            200,
            "/data/sum",
            json!("23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        ),
        (
            "POST",
            "sys/tools/hash/sha2-512",
            json!({"input": "YWJj", "format": "base64"}),
            200,
            "/data/sum",
            nothing(),
        ),
        (
            "POST",
            "sys/tools/hash/md5",
            json!({"input": "YWJj"}),
            400,
            "/errors/0",
            nothing(),
        ),
        (
            "POST",
            "sys/tools/hash",
            json!({"input": "no base64!"}),
            400,
            "/errors/0",
            nothing(),
        ),
        ("GET", "sys/config/cors", nothing(), 200, "/data/enabled", json!(false)),
        ("GET", "sys/config/cors", nothing(), 200, "/enabled", json!(false)),
        (
            "PUT",
            "sys/config/cors",
            json!({"allowed_origins": "*"}),
            400,
            "/errors/0",
            nothing(),
        ),
        ("DELETE", "sys/config/cors", nothing(), 204, "", nothing()),
        ("GET", "sys/loggers", nothing(), 200, "/data/aumbry", nothing()),
        (
            "POST",
            "sys/loggers",
            json!({"level": "trace"}),
            400,
            "/errors/0",
            nothing(),
        ),
        ("GET", "sys/monitor", nothing(), 400, "/errors/0", nothing()),
        (
            "GET",
            "sys/plugins/catalog",
            nothing(),
            200,
            "/data/secret",
            json!(["kv"]),
        ),
        (
            "LIST",
            "sys/plugins/catalog/auth",
            nothing(),
            200,
            "/data/keys/0",
            nothing(),
        ),
        (
            "GET",
            "sys/plugins/catalog/auth/approle",
            nothing(),
            200,
            "/data/builtin",
            json!(true),
        ),
        (
            "GET",
            "sys/plugins/catalog/auth/none",
            nothing(),
            404,
            "/errors/0",
            nothing(),
        ),
        (
            "PUT",
            "sys/plugins/catalog/secret/own",
            json!({"command": "x"}),
            400,
            "/errors/0",
            nothing(),
        ),
        (
            "GET",
            "sys/internal/counters/tokens",
            nothing(),
            200,
            "/data/counters/service_tokens/total",
            json!(1),
        ),
        (
            "GET",
            "sys/internal/counters/requests",
            nothing(),
            200,
            "/data/counters",
            json!([]),
        ),
        (
            "GET",
            "sys/internal/counters/sweeps",
            nothing(),
            200,
            "/data/containers",
            json!(0),
        ),
        (
            "GET",
            "sys/internal/ui/resultant-acl",
            nothing(),
            200,
            "/data/root",
            json!(true),
        ),
        (
            "GET",
            "sys/storage/raft/autopilot/configuration",
            nothing(),
            200,
            "/data/cleanup_dead_servers",
            json!(false),
        ),
        (
            "POST",
            "sys/storage/raft/autopilot/configuration",
            json!({"min_quorum": 3}),
            400,
            "/errors/0",
            nothing(),
        ),
        (
            "POST",
            "sys/storage/raft/snapshot",
            json!({}),
            400,
            "/errors/0",
            nothing(),
        ),
        (
            "POST",
            "sys/storage/raft/join",
            json!({"leader_api_addr": "x"}),
            400,
            "/errors/0",
            nothing(),
        ),
        (
            "GET",
            "sys/replication/status",
            nothing(),
            200,
            "/data/dr/mode",
            json!("disabled"),
        ),
        (
            "GET",
            "sys/generate-root/attempt",
            nothing(),
            200,
            "/started",
            json!(false),
        ),
        (
            "PUT",
            "sys/generate-root/attempt",
            json!({"pgp_key": "x"}),
            400,
            "/errors/0",
            nothing(),
        ),
        ("DELETE", "sys/generate-root/attempt", nothing(), 204, "", nothing()),
        ("GET", "sys/rekey/init", nothing(), 200, "/started", json!(false)),
        (
            "PUT",
            "sys/rekey/init",
            json!({"secret_shares": 5}),
            400,
            "/errors/0",
            nothing(),
        ),
        ("DELETE", "sys/health", nothing(), 405, "/errors/0", nothing()),
        ("DELETE", "sys/ha-status", nothing(), 405, "/errors/0", nothing()),
        ("GET", "sys/none", nothing(), 404, "/errors/0", nothing()),
        ("GET", "sys", nothing(), 404, "/errors/0", nothing()),
        ("GET", "auth", nothing(), 404, "/errors/0", nothing()),
        ("POST", "auth/token/tidy", nothing(), 202, "/warnings/0", nothing()),
        ("GET", "sys/mounts?help=1", nothing(), 200, "/help", nothing()),
        (
            "GET",
            "secret/data/a?help=1",
            nothing(),
            200,
            "/openapi/paths/~1{secret_mount_path}~1data~1{path}/get",
            nothing(),
        ),
        ("GET", "sys/none?help=1", nothing(), 404, "/errors/0", nothing()),
    ]
}

/// Every line on each of three nodes: what is known is answered as clients expect it, and the rest with words and never as a fault of the server.
#[tokio::test(flavor = "multi_thread")]
async fn the_system_tells_of_itself() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let token = cluster.root_token();
    for node in 0..3 {
        let root = Http::on(&cluster, node, token.expose_str().unwrap_or_default())?;
        for (method, path, body, code, pointer, expected) in lines() {
            let answer = root.ask(method, path, &body).await?;
            ensure!(answer.code == code, "{method} {path} on {node}: {answer:?}");
            if !pointer.is_empty() {
                let found = answer.json().pointer(pointer).cloned();
                let found = found.with_context(|| format!("{method} {path} has no {pointer}: {answer:?}"))?;
                ensure!(expected.is_null() || found == expected, "{method} {path}: {found}");
            }
        }
    }
    Ok(())
}

/// Where `sudo` or a rule is needed, who has none is refused, whatever the path would say. Abuse cases: 77, 91.
#[tokio::test(flavor = "multi_thread")]
async fn the_system_tells_nobody_who_may_not_know() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let made = root
        .ask("POST", "auth/token/create", &json!({"policies": ["default"]}))
        .await?;
    let token = made.json()["auth"]["client_token"]
        .as_str()
        .context("a token")?
        .to_owned();
    let poor = Http::on(&cluster, 0, &token)?;
    let open = ["sys/health", "sys/replication", "sys/internal/ui/resultant-acl"];
    for (method, path, body, code, ..) in lines() {
        let answer = poor.ask(method, path, &body).await?;
        // The manual, and what anybody may ask.
        if path.contains("help=1") || open.iter().any(|open| path.starts_with(open)) {
            ensure!(answer.code == code, "{method} {path}: {answer:?}");
            continue;
        }
        ensure!(answer.code == 403, "{method} {path}: {answer:?}");
        ensure!(answer.body == "{\"errors\":[\"permission denied\"]}", "{answer:?}");
    }
    // Read on the path is not enough where `sudo` is asked for.
    let policy =
        json!({"policy": "path \"sys/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }"});
    root.ask("PUT", "sys/policies/acl/almost", &policy).await?;
    let made = root
        .ask("POST", "auth/token/create", &json!({"policies": ["almost"]}))
        .await?;
    let token = made.json()["auth"]["client_token"]
        .as_str()
        .context("a token")?
        .to_owned();
    let almost = Http::on(&cluster, 0, &token)?;
    for (method, path, body) in [
        ("GET", "sys/audit", Value::Null),
        ("GET", "sys/config/cors", Value::Null),
        ("GET", "sys/leases/count", Value::Null),
        ("LIST", "sys/leases/lookup/auth/userpass", Value::Null),
        ("PUT", "sys/leases/revoke-prefix/auth/userpass", Value::Null),
        ("PUT", "sys/revoke-prefix/auth/userpass", Value::Null),
        ("GET", "sys/internal/counters/tokens", Value::Null),
        ("GET", "sys/storage/raft/snapshot", Value::Null),
        ("POST", "sys/remount", json!({"from": "secret", "to": "other"})),
    ] {
        let answer = almost.ask(method, path, &body).await?;
        ensure!(answer.code == 403, "{method} {path}: {answer:?}");
    }
    let answer = almost.ask("GET", "sys/key-status", &Value::Null).await?;
    ensure!(answer.code == 200, "positive control: {answer:?}");
    Ok(())
}

/// What a digest is told for is what the log has; the value itself is in no record.
#[tokio::test(flavor = "multi_thread")]
async fn a_digest_finds_its_value_in_the_log() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let value = "{\"a\":\"canary-in-a-secret\"}";
    root.ask("POST", "secret/data/h", &json!({"data": {"a": "canary-in-a-secret"}}))
        .await?;
    let told = root.ask("POST", "sys/audit-hash/log", &json!({"input": value})).await?;
    let hash = told.json()["data"]["hash"].as_str().context("a digest")?.to_owned();
    let recorded = aumbry_tests::records(&cluster.client()?).await?;
    let put = recorded.iter().find(|record| record.text("operation") == "kv.put");
    let put = put.context("the write is on record")?;
    ensure!(put.event["fields"]["data"] == json!(hash), "{:?} {hash}", put.event);
    ensure!(
        recorded
            .iter()
            .all(|record| !record.event.to_string().contains("canary")),
        "a value is on record"
    );
    Ok(())
}

/// The metrics of the node that is asked, and not those of the leader.
#[tokio::test(flavor = "multi_thread")]
async fn each_node_tells_its_own_metrics() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let leader = cluster.leader().await?;
    let token = cluster.root_token();
    let mut leading = 0;
    let mut names = BTreeSet::new();
    for (place, node) in cluster.nodes().iter().enumerate() {
        let root = Http::on(&cluster, place, token.expose_str().unwrap_or_default())?;
        let answer = root.ask("GET", "sys/metrics?format=prometheus", &Value::Null).await?;
        ensure!(
            answer.code == 200 && answer.head.contains("openmetrics-text"),
            "{answer:?}"
        );
        let is_leading = answer.body.lines().any(|line| line == "aumbry_leader 1");
        ensure!(
            is_leading == (node.id == leader),
            "{} {leader}: {}",
            node.id,
            answer.body
        );
        leading += usize::from(is_leading);
        let host = root.ask("GET", "sys/host-info", &Value::Null).await?;
        names.insert(host.json()["data"]["name"].as_str().context("a name")?.to_owned());
    }
    ensure!(leading == 1 && names.len() == 3, "{leading} {names:?}");
    let wrapped = Http::root(&cluster)?;
    let token = token.expose_str().unwrap_or_default();
    let headers = [("X-Vault-Token", token), ("X-Vault-Wrap-TTL", "60")];
    let answer = wrapped.ask_with("GET", "sys/metrics", &headers, &Value::Null).await?;
    ensure!(answer.json()["wrap_info"]["token"].is_string(), "{answer:?}");
    Ok(())
}

/// All members are well, and one that is killed is told of.
#[tokio::test(flavor = "multi_thread")]
async fn autopilot_sees_who_is_gone() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let leader = cluster.leader().await?;
    let nodes = cluster.nodes();
    let place = nodes
        .iter()
        .position(|node| node.id == leader)
        .context("the leader is there")?;
    let token = cluster.root_token();
    let root = Http::on(&cluster, place, token.expose_str().unwrap_or_default())?;
    let state = async || -> Result<Value> {
        let answer = root
            .ask("GET", "sys/storage/raft/autopilot/state", &Value::Null)
            .await?;
        Ok(answer.json()["data"].clone())
    };
    aumbry_tests::eventually("all are well", async || {
        state()
            .await
            .is_ok_and(|state| state["healthy"] == json!(true) && state["failure_tolerance"] == json!(1))
    })
    .await?;
    let other = nodes
        .iter()
        .find(|node| node.id != leader)
        .context("there are others")?;
    cluster.kill(other.id)?;
    aumbry_tests::eventually("one is gone", async || {
        let state = state().await.unwrap_or_default();
        state["healthy"] == json!(false) && state["servers"][other.id.to_string()]["healthy"] == json!(false)
    })
    .await
}
