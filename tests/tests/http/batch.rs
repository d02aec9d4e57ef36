//! Batch tokens: good on every node though nothing of them is stored, and for nothing that would have to be stored.

use anyhow::{Result, ensure};
use aumbry_tests::{Cluster, eventually};
use serde_json::{Value, json};

use crate::bed::{Http, done, text};

/// Abuse cases: 38.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_token_is_good_for_what_needs_no_row() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "secret/data/x", json!({ "data": { "k": "v" } })).await?;
    let policy = r#"path "secret/data/x" { capabilities = ["read"] } path "auth/token/*" { capabilities = ["create", "update", "sudo"] }
        path "cubbyhole/*" { capabilities = ["create", "update"] } path "sys/capabilities-self" { capabilities = ["update"] }"#;
    done(&root, "PUT", "sys/policies/acl/app", json!({ "policy": policy })).await?;
    done(&root, "POST", "sys/auth/approle", json!({ "type": "approle" })).await?;
    let role = json!({ "token_type": "batch", "token_policies": "app", "bind_secret_id": false, "token_ttl": "1h", "secret_id_bound_cidrs": "127.0.0.0/8" });
    done(&root, "POST", "auth/approle/role/app", role).await?;
    for bad in [json!({ "token_num_uses": 1 }), json!({ "token_period": "1h" })] {
        let refused = root.ask("POST", "auth/approle/role/app", &bad).await?;
        ensure!(refused.code == 400, "{refused:?}");
    }
    let id = text(&done(&root, "GET", "auth/approle/role/app/role-id", Value::Null).await?["data"]["role_id"])?;
    let login = async || -> Result<Value> {
        let answer = root
            .ask_with("POST", "auth/approle/login", &[], &json!({ "role_id": id }))
            .await?;
        ensure!(answer.code == 200, "{answer:?}");
        Ok(answer.json()["auth"].clone())
    };
    let auth = login().await?;
    ensure!(
        auth["token_type"] == "batch" && auth["renewable"] == false && auth["accessor"] == "",
        "{auth}"
    );
    let token = text(&auth["client_token"])?;
    let code = async |token: &str, node: usize, method: &str, path: &str, body: Value| -> Result<u16> {
        Ok(Http::on(&cluster, node, token)?.ask(method, path, &body).await?.code)
    };
    for node in 0..3 {
        ensure!(code(&token, node, "GET", "secret/data/x", Value::Null).await? == 200);
        let told = done(
            &Http::on(&cluster, node, &token)?,
            "GET",
            "auth/token/lookup-self",
            Value::Null,
        )
        .await?;
        ensure!(
            told["data"]["type"] == "batch" && told["data"]["policies"] == json!(["app", "default"]),
            "{told}"
        );
        ensure!(
            told["data"]["entity_id"] == auth["entity_id"] && auth["entity_id"] != "",
            "{told}"
        );
    }
    let allowed = done(
        &Http::on(&cluster, 0, &token)?,
        "POST",
        "sys/capabilities-self",
        json!({ "paths": ["secret/data/x"] }),
    )
    .await?;
    ensure!(allowed["data"]["secret/data/x"] == json!(["read"]), "{allowed}");
    for (path, body) in [
        ("auth/token/create", json!({})),
        ("auth/token/create-orphan", json!({})),
        ("auth/token/renew-self", json!({})),
        ("auth/token/revoke-self", json!({})),
        ("auth/token/renew", json!({ "token": token })),
        ("auth/token/revoke", json!({ "token": token })),
        ("cubbyhole/x", json!({ "a": "b" })),
    ] {
        let answer = Http::on(&cluster, 1, &token)?.ask("POST", path, &body).await?;
        ensure!(
            answer.code == 400 && answer.body.contains("batch token"),
            "{path}: {answer:?}"
        );
    }
    // A changed text is no token, wherever it is changed.
    for at in [6, token.len() / 2, token.len() - 1] {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        ensure!(
            code(&String::from_utf8(changed)?, 0, "GET", "secret/data/x", Value::Null).await? == 403,
            "{at}"
        );
    }
    // It ends with its parent.
    let parent = done(&root, "POST", "auth/token/create", json!({ "policies": "app" })).await?;
    let parent = Http::on(&cluster, 0, &text(&parent["auth"]["client_token"])?)?;
    let child = done(
        &parent,
        "POST",
        "auth/token/create",
        json!({ "type": "batch", "ttl": "1h" }),
    )
    .await?;
    let child = text(&child["auth"]["client_token"])?;
    ensure!(code(&child, 2, "GET", "secret/data/x", Value::Null).await? == 200);
    done(&parent, "POST", "auth/token/revoke-self", json!({})).await?;
    ensure!(code(&child, 2, "GET", "secret/data/x", Value::Null).await? == 403);
    // With time.
    let short = done(
        &root,
        "POST",
        "auth/token/create",
        json!({ "type": "batch", "ttl": "1s", "policies": "app" }),
    )
    .await?;
    let short = text(&short["auth"]["client_token"])?;
    eventually("it expires", || async {
        code(&short, 1, "GET", "secret/data/x", Value::Null)
            .await
            .is_ok_and(|code| code == 403)
    })
    .await?;
    // With its entity, and with the mount of its login.
    let entity = format!("identity/entity/id/{}", text(&auth["entity_id"])?);
    done(&root, "POST", &entity, json!({ "disabled": true })).await?;
    ensure!(code(&token, 0, "GET", "secret/data/x", Value::Null).await? == 403);
    done(&root, "POST", &entity, json!({ "disabled": false })).await?;
    ensure!(code(&token, 0, "GET", "secret/data/x", Value::Null).await? == 200);
    done(&root, "DELETE", "sys/auth/approle", Value::Null).await?;
    for node in 0..3 {
        ensure!(code(&token, node, "GET", "secret/data/x", Value::Null).await? == 403);
    }
    // Root has none, and what is too large is refused.
    let refused = root
        .ask("POST", "auth/token/create", &json!({ "type": "batch" }))
        .await?;
    ensure!(refused.code == 400, "{refused:?}");
    let large: serde_json::Map<String, Value> = (0..32).map(|n| (format!("k{n}"), "x".repeat(400).into())).collect();
    let body = json!({ "type": "batch", "policies": "app", "meta": large });
    let refused = root.ask("POST", "auth/token/create", &body).await?;
    ensure!(
        refused.code == 400 && refused.body.contains("service token"),
        "{refused:?}"
    );
    Ok(())
}
