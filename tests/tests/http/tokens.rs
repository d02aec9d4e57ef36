//! Tokens: those that lose their parent, those whose text is chosen, and tokens as leases.

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Answered, Cluster, Development, records};
use serde_json::{Value, json};

use crate::bed::{Http, done};

async fn child(cluster: &Cluster, parent: &Http) -> Result<(String, Http)> {
    let made = done(
        parent,
        "POST",
        "auth/token/create",
        json!({ "policies": ["maker"], "ttl": "1h" }),
    )
    .await?;
    let token = made["auth"]["client_token"].as_str().context("a token")?.to_owned();
    let http = Http::on(cluster, 0, &token)?;
    Ok((token, http))
}

async fn is_valid(token: &Http) -> Result<bool> {
    Ok(token.ask("GET", "auth/token/lookup-self", &Value::Null).await?.code == 200)
}

/// What is below a token that is revoked alone lives on, without a parent, and with all that is below it; and ends as ever when it is itself revoked.
#[tokio::test(flavor = "multi_thread")]
async fn children_outlive_a_token_that_is_revoked_alone() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    let policy = "path \"auth/token/*\" { capabilities = [\"create\", \"update\", \"read\"] }";
    done(&root, "PUT", "sys/policies/acl/maker", json!({ "policy": policy })).await?;
    let (parent, as_parent) = child(&cluster, &root).await?;
    let (child_text, as_child) = child(&cluster, &as_parent).await?;
    let (_, as_sibling) = child(&cluster, &as_parent).await?;
    let (_, as_grandchild) = child(&cluster, &as_child).await?;
    let body = json!({ "token": parent });
    let answer = as_child.ask("POST", "auth/token/revoke-orphan", &body).await?;
    ensure!(answer.code == 403, "it takes sudo: {answer:?}");
    ensure!(is_valid(&as_parent).await?, "positive control");
    done(&root, "POST", "auth/token/revoke-orphan", body.clone()).await?;
    ensure!(!is_valid(&as_parent).await?, "it is revoked");
    for token in [&as_child, &as_sibling, &as_grandchild] {
        ensure!(is_valid(token).await?, "those below it are not");
    }
    let told = done(&as_child, "GET", "auth/token/lookup-self", Value::Null).await?;
    ensure!(
        told["data"]["orphan"] == true && told["data"]["ttl"].as_u64() > Some(3_000),
        "{told}"
    );
    let told = done(&as_grandchild, "GET", "auth/token/lookup-self", Value::Null).await?;
    ensure!(told["data"]["orphan"] == false, "{told}");
    done(&as_child, "POST", "auth/token/renew-self", json!({})).await?;
    // One more below it, and then all of it goes.
    let (_, as_new) = child(&cluster, &as_child).await?;
    done(&root, "POST", "auth/token/revoke", json!({ "token": child_text })).await?;
    for token in [&as_child, &as_grandchild, &as_new] {
        ensure!(!is_valid(token).await?, "the tree below it ends with it");
    }
    ensure!(is_valid(&as_sibling).await?, "and nothing else");
    let answer = root.ask("POST", "auth/token/revoke-orphan", &body).await?;
    ensure!(answer.code == 400, "{answer:?}");
    Ok(())
}

/// In a cluster in earnest nobody chooses a token's text; in a development server who has `sudo` may, and it is a token as others are.
#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_text() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let answer = root
        .ask("POST", "auth/token/create", &json!({ "id": "my-own-text" }))
        .await?;
    ensure!(
        answer.code == 400 && answer.body.contains("development clusters only"),
        "{answer:?}"
    );
    let server = Development::start("a-root-token")?;
    let ask = async |token: &str, method: &str, path: &str, body: Value| -> Result<Answered> {
        server.ask(token, method, path, &body).await
    };
    let made = ask(
        "a-root-token",
        "POST",
        "auth/token/create",
        json!({ "id": "my-own-text", "policies": ["default"] }),
    )
    .await?;
    ensure!(
        made.code == 200 && made.json()["auth"]["client_token"] == "my-own-text",
        "{made:?}"
    );
    let told = ask("my-own-text", "GET", "auth/token/lookup-self", Value::Null).await?;
    ensure!(told.json()["data"]["policies"] == json!(["default"]), "{told:?}");
    for (token, id) in [
        ("a-root-token", "my-own-text"),
        ("a-root-token", "a-root-token"),
        ("a-root-token", "abc"),
        ("a-root-token", "with space"),
        ("a-root-token", "s.with.dots"),
    ] {
        let answer = ask(token, "POST", "auth/token/create", json!({ "id": id })).await?;
        ensure!(answer.code == 400, "{id}: {answer:?}");
    }
    // Who may make tokens, and has no `sudo`, chooses none.
    let policy = json!({ "policy": "path \"auth/token/create\" { capabilities = [\"update\"] }" });
    ask("a-root-token", "PUT", "sys/policies/acl/maker", policy).await?;
    ask(
        "a-root-token",
        "POST",
        "auth/token/create",
        json!({ "id": "maker", "policies": ["maker"] }),
    )
    .await?;
    let answer = ask("maker", "POST", "auth/token/create", json!({ "id": "another" })).await?;
    ensure!(answer.code == 400 && answer.body.contains("sudo"), "{answer:?}");
    let answer = ask("maker", "POST", "auth/token/create", json!({})).await?;
    ensure!(answer.code == 200, "positive control: {answer:?}");
    let gone = ask(
        "a-root-token",
        "POST",
        "auth/token/revoke",
        json!({ "token": "my-own-text" }),
    )
    .await?;
    ensure!(gone.code == 204, "{gone:?}");
    ensure!(
        ask("my-own-text", "GET", "auth/token/lookup-self", Value::Null)
            .await?
            .code
            == 403,
        "it is revoked"
    );
    let again = ask(
        "a-root-token",
        "POST",
        "auth/token/create",
        json!({ "id": "my-own-text" }),
    )
    .await?;
    ensure!(
        again.code == 200,
        "it can be had again once nothing is left of it: {again:?}"
    );
    Ok(())
}

/// Tokens as leases: found by path and accessor, ended one by one and by what their path begins with, and by nobody who names something else.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_as_leases() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/userpass", json!({ "type": "userpass" })).await?;
    let mut tokens = Vec::new();
    for user in ["ann", "ann", "annabel", "bob"] {
        done(
            &root,
            "POST",
            &format!("auth/userpass/users/{user}"),
            json!({ "password": "a-password" }),
        )
        .await?;
        let login = done(
            &root,
            "POST",
            &format!("auth/userpass/login/{user}"),
            json!({ "password": "a-password" }),
        )
        .await?;
        let text = |member: &str| login["auth"][member].as_str().unwrap_or_default().to_owned();
        tokens.push((text("accessor"), Http::on(&cluster, 1, &text("client_token"))?));
    }
    let keys = async |prefix: &str| -> Result<Value> {
        let listed = done(&root, "LIST", &format!("sys/leases/lookup/{prefix}"), Value::Null).await?;
        Ok(listed["data"]["keys"].clone())
    };
    ensure!(keys("").await? == json!(["auth/"]), "the top");
    ensure!(keys("auth").await? == json!(["token/", "userpass/"]), "the methods");
    ensure!(keys("auth/userpass").await? == json!(["login/"]), "the paths");
    ensure!(
        keys("auth/userpass/login/").await? == json!(["ann/", "annabel/", "bob/"]),
        "the users"
    );
    ensure!(
        keys("auth/userpass/login/ann").await?.as_array().map(Vec::len) == Some(2),
        "the leases"
    );
    let count = done(&root, "GET", "sys/leases/count", Value::Null).await?;
    ensure!(count["data"]["lease_count"] == 5, "{count}");
    let lease = |user: &str, place: usize| format!("auth/userpass/login/{user}/{}", tokens[place].0);
    let told = done(
        &root,
        "PUT",
        "sys/leases/lookup",
        json!({ "lease_id": lease("ann", 0) }),
    )
    .await?;
    ensure!(
        told["data"]["id"] == json!(lease("ann", 0)) && told["data"]["ttl"].as_u64() > Some(60),
        "{told}"
    );
    for wrong in [lease("bob", 0), "auth/userpass/login/ann".to_owned(), "none".to_owned()] {
        let answer = root
            .ask("PUT", "sys/leases/lookup", &json!({ "lease_id": wrong }))
            .await?;
        ensure!(
            answer.code == 400 && answer.body.contains("invalid lease"),
            "{answer:?}"
        );
        // As clients expect it, what is not there has ended.
        done(&root, "PUT", "sys/leases/revoke", json!({ "lease_id": wrong })).await?;
    }
    let answer = root
        .ask("PUT", "sys/leases/renew", &json!({ "lease_id": lease("ann", 0) }))
        .await?;
    ensure!(
        answer.code == 400 && answer.body.contains("tokens cannot be renewed"),
        "{answer:?}"
    );
    done(
        &root,
        "PUT",
        "sys/leases/revoke",
        json!({ "lease_id": lease("ann", 0) }),
    )
    .await?;
    let valid = async || -> Result<Vec<bool>> {
        let mut valid = Vec::new();
        for (_, token) in &tokens {
            valid.push(is_valid(token).await?);
        }
        Ok(valid)
    };
    ensure!(valid().await? == [false, true, true, true], "one is revoked");
    done(
        &root,
        "PUT",
        "sys/leases/revoke-prefix/auth/userpass/login/ann",
        Value::Null,
    )
    .await?;
    ensure!(
        valid().await? == [false, false, true, true],
        "a name that begins with another is another"
    );
    done(
        &root,
        "PUT",
        &format!("sys/revoke/{}", lease("annabel", 2)),
        Value::Null,
    )
    .await?;
    ensure!(valid().await? == [false, false, false, true], "the old path");
    done(&root, "PUT", "sys/revoke-prefix/auth/userpass", Value::Null).await?;
    ensure!(valid().await? == [false; 4], "all of the method");
    done(
        &root,
        "POST",
        "auth/userpass/login/bob",
        json!({ "password": "a-password" }),
    )
    .await?;
    let recorded = records(&cluster.client()?).await?;
    let names: Vec<&str> = recorded.iter().map(|record| record.text("operation")).collect();
    for name in [
        "lease.lookup",
        "lease.list",
        "lease.renew",
        "lease.revoke",
        "lease.revoke-prefix",
        "lease.count",
    ] {
        ensure!(names.contains(&name), "{name} is not on record");
    }
    Ok(())
}

/// More than one entry takes: who asked is told so, and asks again. So many at once is what an accident looks like.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_at_a_time() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/approle", json!({ "type": "approle" })).await?;
    done(&root, "POST", "auth/approle/role/ci", json!({ "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8,::1/128", "secret_id_bound_cidrs": "127.0.0.0/8,::1/128" })).await?;
    let role = done(&root, "GET", "auth/approle/role/ci/role-id", Value::Null).await?;
    let body = json!({ "role_id": role["data"]["role_id"] });
    let mut left = 1_005;
    while left > 0 {
        let some = left.min(32);
        futures::future::try_join_all((0..some).map(|_| done(&root, "POST", "auth/approle/login", body.clone())))
            .await?;
        left -= some;
    }
    let answer = root
        .ask("PUT", "sys/leases/revoke-prefix/auth/approle", &Value::Null)
        .await?;
    ensure!(answer.code == 400 && answer.body.contains("ask again"), "{answer:?}");
    let count = done(&root, "GET", "sys/leases/count", Value::Null).await?;
    ensure!(count["data"]["lease_count"] == 6, "{count}");
    done(&root, "PUT", "sys/leases/revoke-prefix/auth/approle", Value::Null).await?;
    let count = done(&root, "GET", "sys/leases/count", Value::Null).await?;
    ensure!(count["data"]["lease_count"] == 1, "{count}");
    Ok(())
}
