//! Rules that ask more of a request than its path, and why somebody was refused.

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::Cluster;
use serde_json::{Value, json};

use crate::bed::{Http, done};

/// What a rule restricts is seen in the request as it was sent; and the operator is told why it was refused, by its id, while the caller is not.
#[tokio::test(flavor = "multi_thread")]
async fn restrictions_and_why() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    let policy = r#"
        path "secret/data/a"       { capabilities = ["create", "update"] required_parameters = ["options"] denied_parameters = { note = [] } }
        path "secret/data/wrapped" { capabilities = ["read"] min_wrapping_ttl = "10s" max_wrapping_ttl = "60s" }
        path "secret/metadata/*"   { capabilities = ["list"] pagination_limit = 2 }
        path "auth/token/create"   { capabilities = ["update"] allowed_parameters = { ttl = ["1m"], policies = ["default", "some"] } }"#;
    done(&root, "PUT", "sys/policies/acl/some", json!({ "policy": policy })).await?;
    for name in ["wrapped", "b", "c"] {
        done(&root, "POST", &format!("secret/data/{name}"), json!({ "data": {} })).await?;
    }
    let made = done(&root, "POST", "auth/token/create", json!({ "policies": ["some"] })).await?;
    let token = made["auth"]["client_token"].as_str().context("a token")?.to_owned();
    let accessor = made["auth"]["accessor"].as_str().context("an accessor")?.to_owned();
    let caller = Http::on(&cluster, 1, &token)?;
    let options = json!({ "cas": 0 });
    for (method, path, wrap, body, expect) in [
        ("POST", "secret/data/a", "", json!({ "data": {} }), 403),
        (
            "POST",
            "secret/data/a",
            "",
            json!({ "data": {}, "options": options, "NOTE": 1 }),
            403,
        ),
        (
            "POST",
            "secret/data/a",
            "",
            json!({ "data": {}, "options": options }),
            200,
        ),
        ("GET", "secret/data/wrapped", "", Value::Null, 403),
        ("GET", "secret/data/wrapped", "9", Value::Null, 403),
        ("GET", "secret/data/wrapped", "61", Value::Null, 403),
        ("GET", "secret/data/wrapped", "10s", Value::Null, 200),
        ("LIST", "secret/metadata/?limit=3", "", Value::Null, 403),
        ("LIST", "secret/metadata/?limit=1", "", Value::Null, 200),
        ("POST", "auth/token/create", "", json!({ "ttl": "2m" }), 403),
        (
            "POST",
            "auth/token/create",
            "",
            json!({ "ttl": "1m", "period": "1h" }),
            403,
        ),
        (
            "POST",
            "auth/token/create",
            "",
            json!({ "ttl": "1m", "policies": ["default"] }),
            200,
        ),
    ] {
        let mut headers = vec![("X-Vault-Token", token.as_str())];
        if !wrap.is_empty() {
            headers.push(("X-Vault-Wrap-TTL", wrap));
        }
        let answer = caller.ask_with(method, path, &headers, &body).await?;
        ensure!(answer.code == expect, "{method} {path} {wrap} {body}: {answer:?}");
    }
    let listed = done(&caller, "LIST", "secret/metadata/", Value::Null).await?;
    ensure!(listed["data"]["keys"] == json!(["a", "b"]), "{listed}");

    let refused = caller.ask("POST", "secret/data/a", &json!({ "data": {} })).await?;
    ensure!(
        refused.code == 403 && !refused.body.contains("some") && !refused.body.contains("options"),
        "{refused:?}"
    );
    let head = refused
        .head
        .lines()
        .find_map(|line| line.strip_prefix("x-aumbry-request-id:"));
    let id = head.context("a request id")?.trim().to_owned();
    let explained = cluster.cli(&["policy", "explain", "--request-id", &id], "")?;
    let text = String::from_utf8(explained.stdout)?;
    ensure!(
        explained.status.success(),
        "{}",
        String::from_utf8_lossy(&explained.stderr)
    );
    // The first time the secret was not there yet, now it is.
    for part in ["update secret/data/a: refused", "of some", "restricts parameters"] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    let arguments = [
        "policy",
        "explain",
        "--accessor",
        &accessor,
        "--output",
        "json",
        "update",
        "secret/data/x",
    ];
    let explained = cluster.cli(&arguments, "")?;
    let told: Value = serde_json::from_slice(&explained.stdout)?;
    ensure!(told["allowed"] == false && told["reason"] == "no-rule", "{told}");
    let grant = told["grant"].as_str().context("a grant")?;
    ensure!(grant.contains("secret/data/x") && grant.contains("update"), "{grant}");
    // With the grant it is allowed.
    done(&root, "PUT", "sys/policies/acl/more", json!({ "policy": grant })).await?;
    let explained = cluster.cli(
        &["policy", "explain", "--policy", "more", "update", "secret/data/x"],
        "",
    )?;
    ensure!(String::from_utf8(explained.stdout)?.contains("update secret/data/x: allowed"));
    // Who may do less learns nothing.
    let nosy = caller
        .ask(
            "POST",
            "sys/policies/explain",
            &json!({ "path": "secret/data/x", "capability": "read" }),
        )
        .await?;
    ensure!(nosy.code == 403, "{nosy:?}");
    Ok(())
}
