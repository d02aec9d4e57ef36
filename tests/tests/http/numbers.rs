//! Limits on numbers over three nodes: nobody makes more than an operator allows, wherever requests come in and whoever leads.

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Answered, Cluster, eventually};
use serde_json::{Value, json};

use crate::bed::{Http, done, text};

/// Asks for the same many times, at once on all nodes, and gives how many were served. Whoever was refused was told of the limit.
async fn served(cluster: &Cluster, token: &str, namespace: &str, asked: &[(String, Value)]) -> Result<usize> {
    let nodes: Vec<Http> = (0..3)
        .map(|node| Http::on(cluster, node, token))
        .collect::<Result<_>>()?;
    let headers = [("X-Vault-Namespace", namespace), ("X-Vault-Token", token)];
    // Whoever logs in shows no token.
    let headers = &headers[..if token.is_empty() { 1 } else { 2 }];
    let asked = asked.iter().zip(nodes.iter().cycle());
    let asked = asked.map(|((path, body), node)| node.ask_with("POST", path, headers, body));
    let answers: Vec<Answered> = futures::future::try_join_all(asked).await?;
    for answer in &answers {
        let is_refused = answer.code == 429 && answer.body.contains("count quota exceeded");
        ensure!((200..300).contains(&answer.code) || is_refused, "{answer:?}");
    }
    Ok(answers.iter().filter(|answer| answer.code < 300).count())
}

fn many(path: &str, body: &Value) -> Vec<(String, Value)> {
    (0..12)
        .map(|n| (path.replace("{n}", &n.to_string()), body.clone()))
        .collect()
}

/// Roles are those of an auth method.
fn path_of(kind: &str) -> &'static str {
    match kind {
        "roles" | "secret-ids" => "team/auth/approle",
        _ => "team",
    }
}

async fn counter(root: &Http, path: &str) -> Result<Value> {
    let told = done(root, "GET", &format!("sys/quotas/{path}"), Value::Null).await?;
    Ok(told["data"]["counter"].clone())
}

/// One client, who may do everything in its namespace, makes as much as it can of everything, on all nodes at once: it gets as much as the operator allows, and
/// others are not disturbed.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_097_one_client_makes_a_million_of_everything() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    for name in ["team", "other"] {
        done(&root, "POST", &format!("sys/namespaces/{name}"), json!({})).await?;
        let policy = json!({ "policy": "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"sudo\"] }" });
        done(&root, "PUT", &format!("{name}/sys/policies/acl/all"), policy).await?;
    }
    let mut tenants = Vec::new();
    for name in ["team", "other"] {
        let made = done(
            &root,
            "POST",
            &format!("{name}/auth/token/create"),
            json!({ "policies": ["all"] }),
        )
        .await?;
        tenants.push(text(&made["auth"]["client_token"])?);
    }
    done(&root, "POST", "team/sys/auth/approle", json!({ "type": "approle" })).await?;
    done(&root, "POST", "team/auth/approle/role/first", json!({})).await?;
    let all = [
        ("entities", 4, "identity/entity/name/e{n}", json!({})),
        ("groups", 3, "identity/group/name/g{n}", json!({})),
        (
            "policies",
            5,
            "sys/policies/acl/p{n}",
            json!({ "policy": "path \"a\" { capabilities = [\"read\"] }" }),
        ),
        ("mounts", 2, "sys/mounts/m{n}", json!({ "type": "kv-v2" })),
        ("auth-mounts", 3, "sys/auth/a{n}", json!({ "type": "userpass" })),
        ("namespaces", 2, "sys/namespaces/n{n}", json!({})),
        ("token-roles", 3, "auth/token/roles/r{n}", json!({})),
        ("roles", 4, "auth/approle/role/r{n}", json!({})),
        ("secret-ids", 2, "auth/approle/role/first/secret-id", json!({})),
    ];
    for (kind, max, ..) in &all {
        let limit = json!({ "path": path_of(kind), "kind": kind, "max_objects": max });
        done(&root, "POST", &format!("sys/quotas/object-count/{kind}"), limit).await?;
    }
    done(
        &root,
        "POST",
        "sys/quotas/lease-count/team",
        json!({ "path": "team", "max_leases": 9 }),
    )
    .await?;
    for (kind, max, path, body) in &all {
        let before = counter(&root, &format!("object-count/{kind}")).await?;
        let made = served(&cluster, &tenants[0], "team", &many(path, body)).await?;
        let there = usize::try_from(before.as_u64().unwrap_or(0))?;
        ensure!(made + there == *max, "{kind}: {there} were there, and {made} were made");
        let after = counter(&root, &format!("object-count/{kind}")).await?;
        ensure!(after.is_null() || after == *max, "{kind}: {after}");
        // Of another namespace there can be as many as there could before.
        if path_of(kind) == "team" {
            let free = served(&cluster, &tenants[1], "other", &many(path, body)).await?;
            ensure!(free == 12, "{kind}: {free}");
        }
    }
    // Its own token is one of the nine, and whoever has one can still do what makes nothing.
    let create = many("auth/token/create", &json!({ "ttl": "1h" }));
    let made = served(&cluster, &tenants[0], "team", &create).await?;
    ensure!(made == 8, "{made}");
    let read = Http::on(&cluster, 2, &tenants[0])?
        .ask("GET", "team/auth/token/lookup-self", &Value::Null)
        .await?;
    ensure!(read.code == 200, "{read:?}");
    let headers = [("X-Vault-Token", tenants[0].as_str()), ("X-Vault-Wrap-TTL", "60")];
    let node = Http::on(&cluster, 1, &tenants[0])?;
    let wrapped = node
        .ask_with("GET", "team/auth/token/lookup-self", &headers, &Value::Null)
        .await?;
    ensure!(wrapped.code == 429, "a wrapping token is a token: {wrapped:?}");
    ensure!(served(&cluster, &tenants[1], "other", &create).await? == 12);
    ensure!(counter(&root, "lease-count/team").await? == 9);
    done(&root, "POST", "team/auth/token/revoke", json!({ "token": tenants[0] })).await?;
    eventually("those below it are swept", || async {
        counter(&root, "lease-count/team").await.is_ok_and(|count| count == 0)
    })
    .await
}

/// A mount that lets in three at a time lets in three, also when a leader falls in between; who leaves makes room for one, and so does who expires.
#[tokio::test(flavor = "multi_thread")]
async fn places_are_right_after_a_leader_falls() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/approle", json!({ "type": "approle" })).await?;
    let role = json!({ "token_policies": "default", "token_ttl": "1h" });
    done(&root, "POST", "auth/approle/role/ci", role).await?;
    let role = done(&root, "GET", "auth/approle/role/ci/role-id", Value::Null).await?;
    let made = done(&root, "POST", "auth/approle/role/ci/secret-id", json!({})).await?;
    let shown = json!({ "role_id": role["data"]["role_id"], "secret_id": made["data"]["secret_id"] });
    let login = many("auth/approle/login", &shown);
    for (name, limit) in [
        ("mount", json!({ "path": "auth/approle", "max_leases": 5 })),
        (
            "role",
            json!({ "path": "auth/approle/login", "role": "ci", "max_leases": 3 }),
        ),
    ] {
        done(&root, "POST", &format!("sys/quotas/lease-count/{name}"), limit).await?;
    }
    ensure!(served(&cluster, "", "", &login).await? == 3);
    let leader = cluster.leader().await?;
    cluster.kill(leader)?;
    let left = cluster
        .nodes()
        .iter()
        .position(|node| node.id != leader)
        .context("two are left")?;
    let root = Http::on(&cluster, left, cluster.root_token().expose_str().unwrap_or_default())?;
    eventually("another leads", || async {
        counter(&root, "lease-count/role").await.is_ok_and(|count| count == 3)
    })
    .await?;
    ensure!(counter(&root, "lease-count/mount").await? == 3);
    let refused = root.ask_with("POST", "auth/approle/login", &[], &shown).await?;
    ensure!(
        refused.code == 429 && refused.body.contains("lease count quota exceeded"),
        "{refused:?}"
    );
    cluster.restart(leader)?;
    cluster.unseal(leader).await?;
    // More are allowed, the new ones for some seconds.
    done(&root, "POST", "auth/approle/role/ci", json!({ "token_ttl": "8s" })).await?;
    done(
        &root,
        "POST",
        "sys/quotas/lease-count/role",
        json!({ "max_leases": 100 }),
    )
    .await?;
    ensure!(
        counter(&root, "lease-count/role").await? == 3,
        "with another number it counts on"
    );
    ensure!(
        served(&cluster, "", "", &login).await? == 2,
        "and the mount has two places left"
    );
    eventually("two expire", || async {
        counter(&root, "lease-count/mount").await.is_ok_and(|count| count == 3)
    })
    .await?;
    ensure!(counter(&root, "lease-count/role").await? == 3);
    // With the mount all go, and with the limit what it counted.
    done(&root, "DELETE", "sys/auth/approle", Value::Null).await?;
    eventually("the mount is swept", || async {
        counter(&root, "lease-count/role").await.is_ok_and(|count| count == 0)
    })
    .await?;
    let listed = done(&root, "LIST", "sys/quotas/lease-count", Value::Null).await?;
    ensure!(listed["data"]["keys"] == json!(["mount", "role"]), "{listed}");
    for name in ["mount", "role"] {
        done(&root, "DELETE", &format!("sys/quotas/lease-count/{name}"), Value::Null).await?;
    }
    let gone = root.ask("LIST", "sys/quotas/lease-count", &Value::Null).await?;
    ensure!(gone.code == 404, "{gone:?}");
    Ok(())
}
