//! Namespaces on three nodes: each has its own mounts, policies, logins, tokens and identities, wherever a request comes in.

mod life;
mod reach;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Answered, Cluster};
use serde_json::{Value, json};

use crate::bed::Http;

/// Asks in a namespace, on a node.
async fn ask(
    cluster: &Cluster,
    node: usize,
    token: &str,
    namespace: &str,
    what: (&str, &str),
    body: Value,
) -> Result<Answered> {
    let headers = [
        ("X-Vault-Token", token),
        ("X-Vault-Namespace", namespace),
        ("Content-Type", "application/merge-patch+json"),
    ];
    // Whoever logs in shows no token.
    let headers = &headers[usize::from(token.is_empty())..];
    Http::on(cluster, node, token)?
        .ask_with(what.0, what.1, headers, &body)
        .await
}

async fn done(cluster: &Cluster, token: &str, namespace: &str, what: (&str, &str), body: Value) -> Result<Value> {
    let answer = ask(cluster, 1, token, namespace, what, body).await?;
    ensure!((200..300).contains(&answer.code), "{namespace} {what:?}: {answer:?}");
    Ok(answer.json())
}

/// Makes `team`, `team/app` and `other`, each with a mount, a secret that tells of it, a policy, a login and an entity. Gives a token that may do everything
/// in each.
async fn tenants(cluster: &Cluster, root: &str) -> Result<[String; 3]> {
    let mut tokens = Vec::new();
    for (above, name, namespace) in [
        ("", "team", "team"),
        ("team/", "app", "team/app"),
        ("", "other", "other"),
    ] {
        done(
            cluster,
            root,
            above,
            ("POST", &format!("sys/namespaces/{name}")),
            json!({}),
        )
        .await?;
        done(
            cluster,
            root,
            namespace,
            ("POST", "sys/mounts/secret"),
            json!({ "type": "kv-v2" }),
        )
        .await?;
        let secret = json!({ "data": { "of": namespace } });
        done(cluster, root, namespace, ("POST", "secret/data/a"), secret).await?;
        let policy = json!({ "policy": "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"patch\", \"sudo\"] }" });
        done(cluster, root, namespace, ("PUT", "sys/policies/acl/all"), policy).await?;
        done(
            cluster,
            root,
            namespace,
            ("POST", "sys/auth/userpass"),
            json!({ "type": "userpass" }),
        )
        .await?;
        let user = json!({ "password": "a-password", "token_policies": "all" });
        done(cluster, root, namespace, ("POST", "auth/userpass/users/ann"), user).await?;
        let login = ("POST", "auth/userpass/login/ann");
        let made = done(cluster, "", namespace, login, json!({ "password": "a-password" })).await?;
        tokens.push(made["auth"]["client_token"].as_str().context("a token")?.to_owned());
    }
    tokens.try_into().map_err(|_| anyhow::anyhow!("three tokens"))
}
