//! Codes, forms and bounds.

use anyhow::{Result, ensure};
use aumbry_tests::Cluster;
use serde_json::{Value, json};

use crate::bed::Http;

/// Every line: a request of root on a three-node cluster, the code that answers it, and a member of the answer that must be so.
#[tokio::test(flavor = "multi_thread")]
async fn codes_and_forms() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let lines: Vec<(&str, &str, Value, u16, &str, Value)> = vec![
        (
            "GET",
            "sys/health?standbyok=true",
            Value::Null,
            200,
            "/sealed",
            json!(false),
        ),
        ("GET", "sys/seal-status", Value::Null, 200, "/t", json!(3)),
        ("GET", "sys/init", Value::Null, 200, "/initialized", json!(true)),
        ("GET", "sys/leader", Value::Null, 200, "/ha_enabled", json!(true)),
        (
            "PUT",
            "sys/init",
            json!({"secret_shares": 1, "secret_threshold": 1}),
            400,
            "/errors/0",
            Value::Null,
        ),
        (
            "POST",
            "secret/data/h/a",
            json!({"data": {"n": 123_456_789_012_345_678_u64}}),
            200,
            "/data/version",
            json!(1),
        ),
        (
            "GET",
            "secret/data/h/a",
            Value::Null,
            200,
            "/data/data/n",
            json!(123_456_789_012_345_678_u64),
        ),
        (
            "GET",
            "secret/data/h/a?version=1",
            Value::Null,
            200,
            "/data/metadata/version",
            json!(1),
        ),
        (
            "GET",
            "secret/data/h/a?version=x",
            Value::Null,
            400,
            "/errors/0",
            json!("version must be a whole number from 0"),
        ),
        (
            "GET",
            "secret/data/h/a?version=9",
            Value::Null,
            404,
            "/errors",
            json!([]),
        ),
        (
            "POST",
            "secret/data/h/a",
            json!({"data": {}, "options": {"cas": 7}}),
            400,
            "/errors/0",
            Value::Null,
        ),
        (
            "POST",
            "secret/data/h/a",
            json!({"options": {}}),
            400,
            "/errors/0",
            json!("no data provided"),
        ),
        (
            "LIST",
            "secret/metadata/h",
            Value::Null,
            200,
            "/data/keys",
            json!(["a"]),
        ),
        (
            "GET",
            "secret/metadata/h?list=true",
            Value::Null,
            200,
            "/data/keys",
            json!(["a"]),
        ),
        (
            "GET",
            "secret/metadata/h/?list=true",
            Value::Null,
            200,
            "/data/keys",
            json!(["a"]),
        ),
        ("LIST", "secret/metadata/none", Value::Null, 404, "/errors", json!([])),
        (
            "GET",
            "secret/subkeys/h/a",
            Value::Null,
            200,
            "/data/subkeys",
            json!({"n": null}),
        ),
        (
            "PATCH",
            "secret/data/h/a",
            json!({"data": {}}),
            415,
            "/errors/0",
            Value::Null,
        ),
        ("DELETE", "secret/data/h/a", Value::Null, 204, "", Value::Null),
        (
            "GET",
            "secret/data/h/a",
            Value::Null,
            404,
            "/data/metadata/version",
            json!(1),
        ),
        (
            "POST",
            "secret/undelete/h/a",
            json!({"versions": [1]}),
            204,
            "",
            Value::Null,
        ),
        (
            "POST",
            "secret/delete/h/a",
            json!({"versions": []}),
            400,
            "/errors/0",
            json!("no version number provided"),
        ),
        (
            "POST",
            "secret/config",
            json!({"max_versions": 4}),
            204,
            "",
            Value::Null,
        ),
        ("GET", "secret/config", Value::Null, 200, "/data/max_versions", json!(4)),
        ("GET", "secret/other/h/a", Value::Null, 404, "/errors/0", Value::Null),
        ("LIST", "secret/data/h", Value::Null, 405, "/errors/0", Value::Null),
        ("GET", "transit/keys/a", Value::Null, 404, "/errors/0", Value::Null),
        ("GET", "pki/ca", Value::Null, 404, "/errors/0", Value::Null),
        ("POST", "sys/mounts/v1", json!({"type": "kv"}), 204, "", Value::Null),
        ("PUT", "v1/x", json!({"a": "b"}), 204, "", Value::Null),
        ("GET", "v1/x", Value::Null, 200, "/data", json!({"a": "b"})),
        ("GET", "v1/x", Value::Null, 200, "/lease_duration", json!(2_764_800)),
        ("LIST", "v1", Value::Null, 200, "/data/keys", json!(["x"])),
        ("DELETE", "v1/x", Value::Null, 204, "", Value::Null),
        ("GET", "v1/x", Value::Null, 404, "/errors", json!([])),
        (
            "POST",
            "sys/mounts/v1/tune",
            json!({"options": {"version": "2"}}),
            204,
            "",
            Value::Null,
        ),
        (
            "POST",
            "sys/mounts/v1/tune",
            json!({"options": {"version": "1"}}),
            400,
            "/errors/0",
            Value::Null,
        ),
        ("DELETE", "sys/mounts/v1", Value::Null, 204, "", Value::Null),
        (
            "POST",
            "sys/mounts/x",
            json!({"type": "nothing"}),
            400,
            "/errors/0",
            Value::Null,
        ),
        (
            "GET",
            "sys/mounts",
            Value::Null,
            200,
            "/secret~1/options/version",
            json!("2"),
        ),
        (
            "GET",
            "sys/mounts",
            Value::Null,
            200,
            "/data/secret~1/type",
            json!("kv"),
        ),
        (
            "GET",
            "sys/auth",
            Value::Null,
            200,
            "/data/token~1/type",
            json!("token"),
        ),
        (
            "PUT",
            "sys/policy/h",
            json!({"policy": "path \"a\" { capabilities = [\"read\"] }"}),
            204,
            "",
            Value::Null,
        ),
        (
            "PUT",
            "sys/policy/h",
            json!({"policy": "nonsense {"}),
            400,
            "/errors/0",
            Value::Null,
        ),
        (
            "PUT",
            "sys/policy/root",
            json!({"policy": ""}),
            400,
            "/errors/0",
            Value::Null,
        ),
        (
            "GET",
            "sys/policy/h",
            Value::Null,
            200,
            "/rules",
            json!("path \"a\" { capabilities = [\"read\"] }"),
        ),
        ("GET", "sys/policies/acl/none", Value::Null, 404, "/errors", json!([])),
        (
            "POST",
            "sys/capabilities-self",
            json!({"paths": ["a"]}),
            200,
            "/capabilities",
            json!(["root"]),
        ),
        (
            "GET",
            "auth/token/lookup-self",
            Value::Null,
            200,
            "/data/policies",
            json!(["root"]),
        ),
        (
            "POST",
            "auth/token/lookup",
            json!({"token": "none"}),
            403,
            "/errors",
            json!(["bad token"]),
        ),
        (
            "POST",
            "auth/token/create",
            json!({"ttl": "1h", "policies": "h"}),
            200,
            "/auth/lease_duration",
            json!(3_600),
        ),
        (
            "POST",
            "auth/token/create",
            json!({"ttl": "soon"}),
            400,
            "/errors/0",
            Value::Null,
        ),
        (
            "GET",
            "sys/storage/raft/configuration",
            Value::Null,
            200,
            "/data/config/servers/0/node_id",
            json!("1"),
        ),
        (
            "GET",
            "sys/internal/ui/mounts/secret/x",
            Value::Null,
            200,
            "/data/path",
            json!("secret/"),
        ),
        ("GET", "secret/data/..%2fx", Value::Null, 400, "/errors/0", Value::Null),
        (
            "GET",
            "secret/data/%252e%252e/x",
            Value::Null,
            400,
            "/errors/0",
            Value::Null,
        ),
        ("GET", "secret//data/x", Value::Null, 400, "/errors/0", Value::Null),
        ("OPTIONS", "sys/health", Value::Null, 405, "/errors/0", Value::Null),
    ];
    for (number, (method, path, body, code, pointer, expected)) in lines.iter().enumerate() {
        // Turn by turn on each node: whoever leads.
        let http = Http::on(
            &cluster,
            number % 3,
            cluster.root_token().expose_str().unwrap_or_default(),
        )?;
        let answer = http.ask(method, path, body).await?;
        ensure!(answer.code == *code, "{method} {path}: {code} was expected: {answer:?}");
        ensure!(
            answer.head.contains("cache-control: no-store"),
            "{method} {path}: {answer:?}"
        );
        if *code == 204 {
            ensure!(answer.body.is_empty(), "{method} {path}: {answer:?}");
        } else if !expected.is_null() {
            let told = answer.json();
            ensure!(
                told.pointer(pointer) == Some(expected),
                "{method} {path}: {pointer}: {answer:?}"
            );
        } else {
            ensure!(
                answer.json().pointer(pointer).is_some(),
                "{method} {path}: {pointer}: {answer:?}"
            );
        }
    }
    Ok(())
}

/// Method, path, headers, body, and the code that answers them.
type Line<'a> = (&'a str, String, Vec<(&'a str, &'a str)>, Value, u16);

/// Abuse cases: 31, 32, 47.
#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_token_in_its_place_is_nobody() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let http = Http::root(&cluster)?;
    let token = cluster.root_token();
    let token = token.expose_str().unwrap_or_default();
    let bearer = format!("Bearer {token}");
    let cookie = format!("vault_token={token}");
    let path = "auth/token/lookup-self";
    let lines: Vec<Line<'_>> = vec![
        ("GET", path.to_owned(), vec![("X-Vault-Token", token)], Value::Null, 200),
        (
            "GET",
            path.to_owned(),
            vec![("Authorization", &bearer)],
            Value::Null,
            200,
        ),
        ("GET", path.to_owned(), vec![], Value::Null, 403),
        ("GET", format!("{path}?token={token}"), vec![], Value::Null, 403),
        ("GET", path.to_owned(), vec![("Cookie", &cookie)], Value::Null, 403),
        (
            "POST",
            path.to_owned(),
            vec![],
            json!({ "token": token, "X-Vault-Token": token }),
            403,
        ),
        (
            "GET",
            path.to_owned(),
            vec![("X-Vault-Token", token), ("Authorization", &bearer)],
            Value::Null,
            400,
        ),
        (
            "GET",
            path.to_owned(),
            vec![("X-Vault-Token", token), ("X-Vault-Token", token)],
            Value::Null,
            400,
        ),
        (
            "GET",
            path.to_owned(),
            vec![("X-Vault-Token", token), ("X-Vault-Namespace", "root")],
            Value::Null,
            400,
        ),
        (
            "GET",
            path.to_owned(),
            vec![("X-Vault-Token", token), ("Origin", "https://a.example")],
            Value::Null,
            403,
        ),
        (
            "PUT",
            "sys/unseal".to_owned(),
            vec![("Origin", "null")],
            json!({ "reset": true }),
            403,
        ),
        (
            "PUT",
            "sys/unseal".to_owned(),
            vec![("Sec-Fetch-Site", "cross-site")],
            json!({ "reset": true }),
            403,
        ),
        // A page may send these without being asked.
        (
            "POST",
            "sys/seal".to_owned(),
            vec![("Content-Type", "text/plain")],
            Value::Null,
            403,
        ),
    ];
    for (method, path, headers, body, code) in lines {
        let answer = http.ask_with(method, &path, &headers, &body).await?;
        ensure!(
            answer.code == code,
            "{method} {path} {}: {code} was expected: {answer:?}",
            headers.len()
        );
        ensure!(
            !answer.body.contains(token) || code == 200,
            "{method} {path}: the token is told"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_bounds() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let http = Http::root(&cluster)?;
    let value = |bytes: usize| json!({ "data": { "v": "x".repeat(bytes) } });
    for (body, code) in [
        (value(1_000_000), 200),
        (value((1 << 20) + 1), 400),
        (value(3 << 20), 413),
        (json!([1]), 400),
        (json!("text"), 400),
    ] {
        let answer = http.ask("POST", "secret/data/big", &body).await?;
        ensure!(
            answer.code == code,
            "{code} was expected: {} {}",
            answer.code,
            answer.body
        );
    }
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let answer = http
        .ask("POST", "secret/data/deep", &json!({ "data": { "a": deep } }))
        .await?;
    ensure!(answer.code == 400, "{answer:?}");
    Ok(())
}
