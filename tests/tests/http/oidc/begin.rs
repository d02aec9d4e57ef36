//! The beginning of a login by a browser, and what a configuration and a role for it must have.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::records;
use serde_json::{Value, json};

use super::{BACK, REFUSED, Scene, role};
use crate::bed::done;
use crate::provider::SECRET;

/// Nobody is told which roles there are or where they send browsers; who asks in a mount that is not set up is told that. A beginning leaves nothing in the
/// store but its record, and nobody begins without end. Abuse cases: 24, 85.
#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_tells_and_leaves_nothing() -> Result<()> {
    let scene = Scene::start(1).await?;
    done(
        &scene.root,
        "POST",
        "auth/oidc/role/ci",
        json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "a" }),
    )
    .await?;
    for (role, uri, why) in [
        ("nobody", BACK, "role"),
        ("no body", BACK, "role"),
        ("ci", BACK, "role type"),
        ("staff", "https://evil.example/cb", "redirect uri"),
        ("staff", "http://127.0.0.1:8250/oidc/callback/x", "redirect uri"),
        ("staff", "http://localhost:8250/oidc/callback", "redirect uri"),
    ] {
        let answer = scene.auth_url(0, &json!({ "role": role, "redirect_uri": uri })).await?;
        ensure!(
            answer.code == 200 && answer.json()["data"] == json!({ "auth_url": "" }),
            "{role} {uri}: {answer:?}"
        );
        let recorded = records(&scene.cluster.client()?).await?;
        let last = recorded
            .iter()
            .rfind(|record| record.text("operation") == "oidc.auth-url");
        ensure!(last.context("a record")?.text("rule") == why, "{role} {uri}");
    }
    for uri in ["http://127.0.0.1:50123/oidc/callback", "https://ui.example/cb"] {
        let answer = scene
            .auth_url(0, &json!({ "role": "staff", "redirect_uri": uri }))
            .await?;
        ensure!(answer.json()["data"]["auth_url"] != "", "{uri}: {answer:?}");
    }
    let answer = scene.auth_url(0, &json!({ "redirect_uri": BACK })).await?;
    ensure!(
        answer.code == 400 && answer.body.contains("role is required"),
        "{answer:?}"
    );
    let answer = scene.auth_url(0, &json!({ "role": "staff" })).await?;
    ensure!(
        answer.code == 400 && answer.body.contains("redirect_uri is required"),
        "{answer:?}"
    );
    // To wrap the answer would be to store it.
    for role in ["staff", "nobody"] {
        let body = json!({ "role": role, "redirect_uri": BACK });
        let wrapping = [("X-Vault-Wrap-TTL", "1h")];
        let answer = scene.nodes[0]
            .ask_with("POST", "auth/oidc/oidc/auth_url", &wrapping, &body)
            .await?;
        ensure!(answer.code == 400 && answer.body.contains("not wrapped"), "{answer:?}");
    }
    let recorded = records(&scene.cluster.client()?).await?;
    ensure!(
        recorded
            .iter()
            .all(|record| record.text("operation") != "wrapping.made"),
        "something was wrapped"
    );
    // Each that is given is on record; of many more some are not given, and of those there is little.
    let client = scene.cluster.client()?;
    let status = async || client.call(v1::StatusRequest::default()).await;
    let given = async || -> Result<usize> {
        let own = records(&client).await?;
        let own = own
            .iter()
            .filter(|record| record.text("operation") == "oidc.auth-url" && record.is_allowed());
        Ok(own.filter(|record| record.text("rule").is_empty()).count())
    };
    let (before, given_before) = (status().await?, given().await?);
    let body = json!({ "role": "staff", "redirect_uri": BACK });
    let mut many = Vec::new();
    for _ in 0..2 {
        many.extend(futures::future::try_join_all((0..100).map(|_| scene.auth_url(0, &body))).await?);
    }
    let (good, refused): (Vec<_>, Vec<_>) = many.iter().partition(|answer| answer.code == 200);
    ensure!(
        good.iter().all(|answer| answer.json()["data"]["auth_url"] != ""),
        "{good:?}"
    );
    // A minute may have ended meanwhile.
    ensure!((50..=120).contains(&good.len()), "{} of 200 were given", good.len());
    ensure!(
        refused
            .iter()
            .all(|answer| answer.code == 429 && answer.head.contains("retry-after: ")),
        "{refused:?}"
    );
    ensure!(given().await? - given_before == good.len(), "each is on record");
    let after = status().await?;
    let others = after.audit_size - before.audit_size - good.len() as u64;
    ensure!(others < 60, "{others} records of {} refusals", refused.len());
    // What a configuration and a role must have.
    let config = |field: &str, value: Value| {
        let mut config = scene.provider.config();
        config[field] = value;
        config
    };
    for (config, word) in [
        (
            config("oidc_response_mode", json!("form_post")),
            "form_post is not offered",
        ),
        (config("oidc_response_types", json!(["id_token"])), "code alone"),
        (config("oidc_client_id", json!("")), "oidc_client_secret needs"),
        (config("oidc_discovery_url", json!("http://a.example")), "https"),
        (
            json!({ "jwks_url": "https://a.example", "oidc_client_id": "x" }),
            "oidc_client_id needs oidc_discovery_url",
        ),
    ] {
        let answer = scene.root.ask("POST", "auth/oidc/config", &config).await?;
        ensure!(answer.code == 400 && answer.body.contains(word), "{word}: {answer:?}");
        ensure!(!answer.body.contains(SECRET), "{answer:?}");
    }
    done(
        &scene.root,
        "POST",
        "auth/oidc/config",
        config("oidc_response_types", json!("code")),
    )
    .await?;
    for (name, value, word) in [
        ("allowed_redirect_uris", json!([]), "needs allowed_redirect_uris"),
        ("allowed_redirect_uris", json!("http://a.example/cb"), "https://"),
        ("oidc_scopes", json!(["a b"]), "oidc_scopes"),
        ("user_claim", json!(""), "user_claim"),
        ("role_type", json!("saml"), "jwt or oidc"),
    ] {
        let mut role = role();
        role[name] = value;
        let answer = scene.root.ask("POST", "auth/oidc/role/other", &role).await?;
        ensure!(answer.code == 400 && answer.body.contains(word), "{name}: {answer:?}");
    }
    // Without a client there are no such roles and no such logins.
    done(&scene.root, "POST", "sys/auth/plain", json!({ "type": "jwt" })).await?;
    let answer = scene.root.ask("POST", "auth/plain/role/staff", &role()).await?;
    ensure!(
        answer.code == 400 && answer.body.contains("oidc_client_id"),
        "{answer:?}"
    );
    let body = json!({ "role": "staff", "redirect_uri": BACK });
    let answer = scene.nodes[0]
        .ask_with("POST", "auth/plain/oidc/auth_url", &[], &body)
        .await?;
    ensure!(
        answer.code == 400 && answer.body.contains("OIDC login is not configured for this mount"),
        "{answer:?}"
    );
    // Each type of role has its own way.
    let body = json!({ "role": "staff", "jwt": "a.b.c" });
    let answer = scene.nodes[0].ask_with("POST", "auth/oidc/login", &[], &body).await?;
    ensure!(answer.code == 400 && answer.body == REFUSED, "{answer:?}");
    Ok(())
}
