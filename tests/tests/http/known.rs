//! What clients that others wrote know an answer by: its code, its words, a member that they read. Each was found by asking another server of the interface
//! the same, by its own client and by hand.

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::Cluster;
use serde_json::{Value, json};

use crate::bed::{Http, done, text};

/// Method, path, body, code, and what must stand in the answer's text.
type Line = (&'static str, &'static str, Value, u16, &'static str);

async fn all(http: &Http, lines: Vec<Line>) -> Result<()> {
    for (method, path, body, code, words) in lines {
        let headers = [
            ("X-Vault-Token", http.token()),
            ("Content-Type", "application/merge-patch+json"),
        ];
        let answer = http.ask_with(method, path, &headers, &body).await?;
        ensure!(
            answer.code == code && answer.body.contains(words),
            "{method} {path} {body}: {answer:?}"
        );
    }
    Ok(())
}

/// Terraform knows by these words that a mount is gone; to remove what is not there is done.
#[tokio::test(flavor = "multi_thread")]
async fn mounts_that_are_not_there() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    all(
        &root,
        vec![
            (
                "GET",
                "sys/mounts/none",
                Value::Null,
                400,
                "No secret engine mount at none/",
            ),
            ("GET", "sys/auth/none", Value::Null, 400, "No auth engine at none/"),
            ("GET", "sys/mounts/none/tune", Value::Null, 400, "cannot fetch sysview"),
            ("GET", "sys/auth/none/tune", Value::Null, 400, "cannot fetch sysview"),
            (
                "POST",
                "sys/mounts/none/tune",
                json!({"description": "x"}),
                400,
                "no mount entry found",
            ),
            (
                "POST",
                "sys/remount",
                json!({"from": "none", "to": "some"}),
                400,
                "no matching mount at",
            ),
            ("DELETE", "sys/mounts/none", Value::Null, 204, ""),
            ("DELETE", "sys/auth/none", Value::Null, 204, ""),
            ("DELETE", "sys/mounts/sys", Value::Null, 400, "cannot unmount"),
            ("DELETE", "sys/mounts/cubbyhole", Value::Null, 400, "cannot unmount"),
            ("DELETE", "sys/auth/token", Value::Null, 400, "cannot be disabled"),
        ],
    )
    .await?;
    let mounts = done(&root, "GET", "sys/mounts", Value::Null).await?;
    for path in ["cubbyhole/", "identity/", "sys/", "secret/"] {
        ensure!(mounts["data"][path]["type"].is_string(), "{path}: {mounts}");
    }
    // Who may not remove it is not told that it is gone.
    let made = done(&root, "POST", "auth/token/create", json!({"policies": ["default"]})).await?;
    let other = Http::on(&cluster, 0, &text(&made["auth"]["client_token"])?)?;
    for path in ["sys/mounts/none", "sys/auth/none"] {
        ensure!(other.ask("DELETE", path, &Value::Null).await?.code == 403, "{path}");
        ensure!(other.ask("GET", path, &Value::Null).await?.code == 403, "{path}");
    }
    Ok(())
}

/// Clients tune an auth method below `sys/mounts/auth/`; it is the same operation, decided by the path of the method.
#[tokio::test(flavor = "multi_thread")]
async fn methods_are_tuned_below_the_mounts() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let enabled = json!({"type": "userpass", "config": {"token_type": "batch", "default_lease_ttl": "1h"}});
    let warned = done(&root, "POST", "sys/auth/people", enabled).await?;
    ensure!(
        warned["warnings"][0]
            .as_str()
            .is_some_and(|text| text.contains("token_type")),
        "{warned}"
    );
    let change = json!({"description": "ours", "max_lease_ttl": "2h", "token_type": "default-service"});
    done(&root, "POST", "sys/mounts/auth/people/tune", change).await?;
    for path in ["sys/mounts/auth/people/tune", "sys/auth/people/tune"] {
        let told = done(&root, "GET", path, Value::Null).await?;
        ensure!(
            told["data"]["description"] == "ours"
                && told["data"]["max_lease_ttl"] == 7_200
                && told["data"]["token_type"] == "default-service",
            "{path}: {told}"
        );
    }
    let locks = json!({"user_lockout_config": {"lockout_threshold": "3"}});
    done(&root, "POST", "sys/mounts/auth/people/tune", locks).await?;
    let told = done(&root, "GET", "sys/mounts/auth/people/tune", Value::Null).await?;
    ensure!(told["data"]["user_lockout_threshold"] == 3, "{told}");
    let system = json!({"default_lease_ttl": "system", "max_lease_ttl": "system"});
    done(&root, "POST", "sys/mounts/auth/people/tune", system).await?;
    let told = done(&root, "GET", "sys/auth/people", Value::Null).await?;
    ensure!(told["data"]["config"]["default_lease_ttl"] == 0, "{told}");
    // A rule for the other path gives nothing, and one against the method's holds here.
    for (name, rules, code) in [
        (
            "by-mounts",
            "path \"sys/mounts/auth/*\" { capabilities = [\"update\", \"sudo\"] }",
            403,
        ),
        (
            "by-auth",
            "path \"sys/auth/*\" { capabilities = [\"update\", \"sudo\"] }",
            204,
        ),
    ] {
        done(
            &root,
            "PUT",
            &format!("sys/policies/acl/{name}"),
            json!({"policy": rules}),
        )
        .await?;
        let made = done(&root, "POST", "auth/token/create", json!({"policies": [name]})).await?;
        let caller = Http::on(&cluster, 0, &text(&made["auth"]["client_token"])?)?;
        let answer = caller
            .ask("POST", "sys/mounts/auth/people/tune", &json!({"description": "x"}))
            .await?;
        ensure!(answer.code == code, "{name}: {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_there() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let token = || json!({"token": "none"});
    let accessor = || json!({"accessor": "none"});
    all(
        &root,
        vec![
            ("POST", "auth/token/lookup", token(), 403, "bad token"),
            (
                "POST",
                "auth/token/lookup-accessor",
                accessor(),
                400,
                "invalid accessor",
            ),
            ("POST", "auth/token/renew", token(), 400, "token not found"),
            ("POST", "auth/token/renew-accessor", accessor(), 400, "invalid accessor"),
            ("POST", "auth/token/revoke", token(), 204, ""),
            ("POST", "auth/token/revoke-accessor", accessor(), 204, ""),
            (
                "POST",
                "auth/token/revoke-orphan",
                token(),
                400,
                "token to revoke not found",
            ),
            (
                "POST",
                "sys/capabilities",
                json!({"token": "none", "path": "a"}),
                400,
                "invalid token",
            ),
            (
                "POST",
                "sys/capabilities-accessor",
                json!({"accessor": "none", "path": "a"}),
                400,
                "invalid accessor",
            ),
        ],
    )
    .await?;
    // Names of policies are taken in lower case, as they are written.
    let made = done(&root, "POST", "auth/token/create", json!({"policies": ["Team-A"]})).await?;
    ensure!(made["auth"]["token_policies"] == json!(["default", "team-a"]), "{made}");
    done(
        &root,
        "POST",
        "auth/token/roles/plain",
        json!({"allowed_policies": "Team-A"}),
    )
    .await?;
    let role = done(&root, "GET", "auth/token/roles/plain", Value::Null).await?;
    ensure!(
        role["data"]["token_type"] == "default-service" && role["data"]["allowed_policies"] == json!(["team-a"]),
        "{role}"
    );
    // Every member is a path to clients, if there are several.
    let several = done(&root, "POST", "sys/capabilities-self", json!({"paths": ["a", "b"]})).await?;
    ensure!(several["data"] == json!({"a": ["root"], "b": ["root"]}), "{several}");
    let one = done(&root, "POST", "sys/capabilities-self", json!({"paths": ["a"]})).await?;
    ensure!(one["data"]["capabilities"] == json!(["root"]), "{one}");
    Ok(())
}

/// An agent that was handed a wrapped secret id looks with the wrapping token itself where it was made, by GET, before it opens it.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_looks_before_it_unwraps() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let headers = [("X-Vault-Token", root.token()), ("X-Vault-Wrap-TTL", "5m")];
    let wrapped = root
        .ask_with("POST", "sys/wrapping/wrap", &headers, &json!({"a": "b"}))
        .await?
        .json();
    let token = text(&wrapped["wrap_info"]["token"])?;
    let agent = Http::on(&cluster, 0, &token)?;
    for (method, body) in [("GET", Value::Null), ("POST", json!({}))] {
        let told = done(&agent, method, "sys/wrapping/lookup", body).await?;
        ensure!(told["data"]["creation_path"] == "sys/wrapping/wrap", "{told}");
    }
    let opened = done(&agent, "POST", "sys/wrapping/unwrap", Value::Null).await?;
    ensure!(opened["data"]["a"] == "b", "{opened}");
    let again = agent.ask("GET", "sys/wrapping/lookup", &Value::Null).await?;
    ensure!(again.code >= 400, "{again:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_as_clients_write_them() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let versioned = "MOUNT/data/PATH";
    all(
        &root,
        vec![
            // A path of version 1: the words stand where clients show them.
            ("GET", "secret/app", Value::Null, 404, versioned),
            (
                "POST",
                "secret/app",
                json!({"a": "b"}),
                404,
                "\"warnings\":[\"invalid path",
            ),
            ("LIST", "secret", Value::Null, 404, versioned),
            ("GET", "secret/data", Value::Null, 404, versioned),
            // Settings without any make an empty secret; a patch needs one.
            (
                "PATCH",
                "secret/metadata/empty",
                json!({"max_versions": 3}),
                404,
                "{\"errors\":[]}",
            ),
            ("POST", "secret/metadata/empty", json!({}), 204, ""),
            (
                "GET",
                "secret/metadata/empty",
                Value::Null,
                200,
                "\"current_version\":0",
            ),
            ("PATCH", "secret/metadata/empty", json!({"max_versions": 3}), 204, ""),
            ("POST", "secret/metadata/empty", json!({}), 204, ""),
            ("GET", "secret/metadata/empty", Value::Null, 200, "\"max_versions\":3"),
            // Clients parse times of which the hour is the longest unit.
            (
                "POST",
                "secret/metadata/empty",
                json!({"delete_version_after": "50h"}),
                204,
                "",
            ),
            (
                "GET",
                "secret/metadata/empty",
                Value::Null,
                200,
                "\"delete_version_after\":\"50h0m0s\"",
            ),
            ("POST", "secret/config", json!({"delete_version_after": "10m"}), 204, ""),
            (
                "GET",
                "secret/config",
                Value::Null,
                200,
                "\"delete_version_after\":\"10m0s\"",
            ),
        ],
    )
    .await
}

/// Namespaces are deleted with an answer, and clients ask of a whole path which mount holds it.
#[tokio::test(flavor = "multi_thread")]
async fn namespaces_as_clients_ask_for_them() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let made = done(&root, "POST", "sys/namespaces/team", json!({})).await?;
    ensure!(
        made["data"]["uuid"] == made["data"]["id"] && made["data"]["locked"] == false,
        "{made}"
    );
    done(&root, "POST", "team/sys/mounts/kv", json!({"type": "kv-v2"})).await?;
    for (path, expected) in [
        ("sys/internal/ui/mounts/team/kv/app", "team/kv/"),
        ("team/sys/internal/ui/mounts/kv/app", "kv/"),
        ("sys/internal/ui/mounts/secret/app", "secret/"),
    ] {
        let told = done(&root, "GET", path, Value::Null).await?;
        ensure!(told["data"]["path"] == expected, "{path}: {told}");
    }
    // Who may do nothing there is not told that it is there.
    let token = done(&root, "POST", "auth/token/create", json!({"policies": ["default"]})).await?;
    let other = Http::on(&cluster, 0, token["auth"]["client_token"].as_str().context("a token")?)?;
    for path in [
        "sys/internal/ui/mounts/team/kv/app",
        "sys/internal/ui/mounts/none/kv/app",
    ] {
        ensure!(other.ask("GET", path, &Value::Null).await?.code == 403, "{path}");
    }
    let gone = done(&root, "DELETE", "sys/namespaces/team", Value::Null).await?;
    ensure!(gone["data"]["status"] == "in-progress", "{gone}");
    let none = done(&root, "DELETE", "sys/namespaces/team", Value::Null).await?;
    ensure!(
        none["warnings"] == json!(["requested namespace does not exist"]),
        "{none}"
    );
    Ok(())
}

/// What is known to clients of other servers and not offered, and help for a whole part.
#[tokio::test(flavor = "multi_thread")]
async fn help_and_reasons() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/namespaces/team", json!({})).await?;
    all(
        &root,
        vec![
            ("GET", "secret?help=1", Value::Null, 200, "data/{path...}"),
            ("GET", "auth/any?help=1", Value::Null, 200, "login/{username}"),
            ("GET", "auth/token?help=1", Value::Null, 200, "auth/token/lookup-self"),
            ("GET", "sys?help=1", Value::Null, 200, "sys/mounts"),
            ("GET", "identity?help=1", Value::Null, 200, "identity/entity"),
            ("GET", "sys/none?help=1", Value::Null, 404, "errors"),
            (
                "GET",
                "team/auth/token?help=1",
                Value::Null,
                200,
                "auth/token/lookup-self",
            ),
            ("GET", "team/sys/none?help=1", Value::Null, 404, "errors"),
            (
                "GET",
                "sys/generate-root-token/attempt",
                Value::Null,
                200,
                "\"started\":false",
            ),
            (
                "PUT",
                "sys/generate-root-token/attempt",
                json!({"pgp_key": "x"}),
                400,
                "pgp_key",
            ),
            ("GET", "sys/rotate/root/init", Value::Null, 200, "\"started\":false"),
            // Ids that another server gave are ids of nothing.
            (
                "GET",
                "identity/entity/id/0b1ec2a7-07a1-4c14-a3b6-e2a4cdc92b2f",
                Value::Null,
                404,
                "{\"errors\":[]}",
            ),
            ("POST", "sys/quotas/rate-limit/whole", json!({"rate": 10}), 204, ""),
            ("GET", "sys/quotas/rate-limit/whole", Value::Null, 200, "\"rate\":10,"),
        ],
    )
    .await
}
