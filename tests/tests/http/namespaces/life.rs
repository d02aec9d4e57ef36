//! What is in a namespace, who changes it, and what is left when it goes.

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Cluster, eventually};
use serde_json::{Value, json};

use super::{ask, done, tenants};
use crate::bed::Http;

/// Accessors, ids of entities and wrapped replies are good in their own namespace alone. Abuse cases: 41.
#[tokio::test(flavor = "multi_thread")]
async fn names_and_ids_are_those_of_a_namespace() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.root_token().expose_str().unwrap_or_default().to_owned();
    let [team, app, other] = tenants(&cluster, &root).await?;
    let tokens = [("team", &team), ("team/app", &app), ("other", &other)];
    let mut all = Vec::new();
    for (namespace, token) in tokens {
        let own = done(
            &cluster,
            token,
            namespace,
            ("GET", "auth/token/lookup-self"),
            Value::Null,
        )
        .await?["data"]
            .clone();
        ensure!(own["namespace_path"] == format!("{namespace}/"), "{own}");
        let text = |field: &str| own[field].as_str().unwrap_or_default().to_owned();
        all.push((namespace, token, text("accessor"), text("entity_id")));
    }
    for (namespace, token, ..) in &all {
        for (whose, _, accessor, entity) in &all {
            let expected = |code: u16| if whose == namespace { code } else { 404 };
            let body = json!({ "accessor": accessor });
            let looked = ask(
                &cluster,
                0,
                token,
                namespace,
                ("POST", "auth/token/lookup-accessor"),
                body.clone(),
            )
            .await?;
            let is_own = whose == namespace;
            let told = if is_own { 200 } else { 400 };
            ensure!(looked.code == told, "{namespace} of {whose}: {looked:?}");
            let renewed = ask(
                &cluster,
                1,
                token,
                namespace,
                ("POST", "auth/token/renew-accessor"),
                body,
            )
            .await?;
            ensure!(renewed.code == told, "{namespace} of {whose}: {renewed:?}");
            let path = format!("identity/entity/id/{entity}");
            let read = ask(&cluster, 2, token, namespace, ("GET", &path), Value::Null).await?;
            ensure!(read.code == expected(200), "{namespace} of {whose}: {read:?}");
            if !is_own {
                let body = json!({ "accessor": accessor });
                let revoked = ask(
                    &cluster,
                    0,
                    token,
                    namespace,
                    ("POST", "auth/token/revoke-accessor"),
                    body,
                )
                .await?;
                // There is none with this accessor here, which is as good as done. It goes on to be looked up and renewed where it is.
                ensure!(revoked.code == 204, "{namespace} of {whose}: {revoked:?}");
                let changed = ask(
                    &cluster,
                    0,
                    token,
                    namespace,
                    ("POST", &path),
                    json!({ "policies": "all" }),
                )
                .await?;
                ensure!(changed.code == 404, "{namespace} of {whose}: {changed:?}");
                let merged = json!({ "from_entity_ids": [entity], "to_entity_id": all[0].3 });
                let merged = ask(&cluster, 0, token, namespace, ("POST", "identity/entity/merge"), merged).await?;
                ensure!(merged.code == 400, "{namespace} of {whose}: {merged:?}");
            }
        }
        let listed = done(
            &cluster,
            token,
            namespace,
            ("LIST", "auth/token/accessors"),
            Value::Null,
        )
        .await?;
        ensure!(
            listed["data"]["keys"].as_array().is_some_and(|keys| keys.len() == 1),
            "{listed}"
        );
        let named = done(&cluster, token, namespace, ("LIST", "identity/entity/id"), Value::Null).await?;
        ensure!(
            named["data"]["keys"].as_array().is_some_and(|keys| keys.len() == 1),
            "{named}"
        );
    }
    let wrap = [
        ("X-Vault-Token", team.as_str()),
        ("X-Vault-Namespace", "team"),
        ("X-Vault-Wrap-TTL", "60s"),
    ];
    let wrapped = Http::on(&cluster, 0, &team)?
        .ask_with("GET", "secret/data/a", &wrap, &Value::Null)
        .await?
        .json();
    let wrapping = wrapped["wrap_info"]["token"].as_str().context("a token")?.to_owned();
    for (token, namespace) in [(&other, "other"), (&app, "team/app"), (&root, "")] {
        let body = json!({ "token": wrapping });
        let opened = ask(&cluster, 0, token, namespace, ("POST", "sys/wrapping/unwrap"), body).await?;
        ensure!(opened.code == 400, "{namespace}: {opened:?}");
    }
    let opened = done(&cluster, &wrapping, "team", ("POST", "sys/wrapping/unwrap"), json!({})).await?;
    ensure!(opened["data"]["data"]["of"] == "team", "{opened}");
    Ok(())
}

/// Namespaces as operators see them, on different nodes; limits hold for one of them; a change of policies holds at once.
#[tokio::test(flavor = "multi_thread")]
async fn operators_make_change_and_limit_them() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.root_token().expose_str().unwrap_or_default().to_owned();
    let [team, _, other] = tenants(&cluster, &root).await?;
    let noted = json!({ "custom_metadata": { "contact": "ann", "cost": "7" } });
    let written = done(&cluster, &root, "", ("PUT", "sys/namespaces/team"), noted).await?["data"].clone();
    ensure!(
        written["path"] == "team/" && written["custom_metadata"]["contact"] == "ann",
        "{written}"
    );
    let patch = json!({ "custom_metadata": { "cost": null, "site": "b" } });
    done(&cluster, &root, "", ("PATCH", "sys/namespaces/team"), patch).await?;
    let read = done(&cluster, &root, "", ("GET", "sys/namespaces/team"), Value::Null).await?["data"].clone();
    ensure!(
        read["custom_metadata"] == json!({ "contact": "ann", "site": "b" }) && read["id"] == written["id"],
        "{read}"
    );
    let listed = done(&cluster, &root, "", ("LIST", "sys/namespaces"), Value::Null).await?["data"].clone();
    ensure!(listed["keys"] == json!(["other/", "team/"]), "{listed}");
    ensure!(listed["key_info"]["team/"] == read, "{listed}");
    let below = done(&cluster, &team, "team", ("LIST", "sys/namespaces"), Value::Null).await?["data"].clone();
    ensure!(
        below["keys"] == json!(["app/"]) && below["key_info"]["app/"]["path"] == "team/app/",
        "{below}"
    );
    for mount in ["team", "team/x"] {
        let refused = ask(
            &cluster,
            0,
            &root,
            "",
            ("POST", &format!("sys/mounts/{mount}")),
            json!({ "type": "kv-v2" }),
        )
        .await?;
        ensure!(refused.code == 400, "{refused:?}");
    }
    // By path its mounts are told as by header, with what clients read at the top.
    let mounts = done(&cluster, &root, "", ("GET", "team/sys/mounts"), Value::Null).await?;
    ensure!(
        mounts["secret/"]["type"] == "kv" && mounts["data"]["secret/"]["type"] == "kv",
        "{mounts}"
    );
    let quota = json!({ "path": "team/secret/", "rate": 2, "interval": "1h" });
    done(&cluster, &root, "", ("POST", "sys/quotas/rate-limit/team"), quota).await?;
    let mut codes = Vec::new();
    for node in 0..4 {
        let answer = ask(&cluster, node % 3, &team, "team", ("GET", "secret/data/a"), Value::Null).await?;
        let free = ask(
            &cluster,
            node % 3,
            &other,
            "other",
            ("GET", "secret/data/a"),
            Value::Null,
        )
        .await?;
        codes.push((answer.code, free.code));
    }
    ensure!(codes == [(200, 200), (200, 200), (429, 200), (429, 200)], "{codes:?}");
    done(
        &cluster,
        &root,
        "",
        ("DELETE", "sys/quotas/rate-limit/team"),
        Value::Null,
    )
    .await?;
    for round in 0..6 {
        let (capability, expected) = if round % 2 == 0 { ("deny", 403) } else { ("read", 200) };
        let policy = json!({ "policy": format!("path \"secret/*\" {{ capabilities = [\"{capability}\"] }}") });
        done(&cluster, &root, "team", ("PUT", "sys/policies/acl/all"), policy).await?;
        let read = ask(
            &cluster,
            round % 3,
            &team,
            "team",
            ("GET", "secret/data/a"),
            Value::Null,
        )
        .await?;
        let same = ask(
            &cluster,
            round % 3,
            &other,
            "other",
            ("GET", "secret/data/a"),
            Value::Null,
        )
        .await?;
        ensure!((read.code, same.code) == (expected, 200), "{round}: {read:?} {same:?}");
    }
    Ok(())
}

/// With a namespace its tokens end at once, and its rows go in pieces, whoever leads: the leader is killed while they do.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes_with_what_is_in_it() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.root_token().expose_str().unwrap_or_default().to_owned();
    let [team, app, _] = tenants(&cluster, &root).await?;
    let leader = cluster.leader().await?;
    let nodes = cluster.nodes();
    let other = nodes
        .iter()
        .position(|node| node.id != leader)
        .context("there are others")?;
    let mut children = Vec::new();
    for turn in 0..400 {
        // Some below the root token, some below one of the namespace.
        let by = if turn % 2 == 0 { &root } else { &team };
        let made = ask(
            &cluster,
            turn % 3,
            by,
            "team",
            ("POST", "auth/token/create"),
            json!({ "policies": ["all"] }),
        )
        .await?;
        children.push(
            made.json()["auth"]["client_token"]
                .as_str()
                .context("a token")?
                .to_owned(),
        );
        let path = format!("secret/data/d{}/s{turn}", turn % 7);
        done(&cluster, by, "team", ("POST", &path), json!({ "data": { "n": turn } })).await?;
    }
    let refused = ask(
        &cluster,
        other,
        &root,
        "",
        ("DELETE", "sys/namespaces/team"),
        Value::Null,
    )
    .await?;
    ensure!(refused.code == 400 && refused.body.contains("below"), "{refused:?}");
    ensure!(
        ask(
            &cluster,
            other,
            &root,
            "team",
            ("DELETE", "sys/namespaces/app"),
            Value::Null
        )
        .await?
        .code
            == 200
    );
    let gone = ask(
        &cluster,
        other,
        &app,
        "team/app",
        ("GET", "auth/token/lookup-self"),
        Value::Null,
    )
    .await?;
    ensure!(gone.code == 403, "{gone:?}");
    ensure!(
        ask(
            &cluster,
            other,
            &root,
            "",
            ("DELETE", "sys/namespaces/team"),
            Value::Null
        )
        .await?
        .code
            == 200
    );
    cluster.kill(leader)?;
    for token in children.iter().step_by(40).chain([&team]) {
        for namespace in ["team", ""] {
            let answer = ask(
                &cluster,
                other,
                token,
                namespace,
                ("GET", "auth/token/lookup-self"),
                Value::Null,
            )
            .await?;
            ensure!(answer.code == 403, "{answer:?}");
        }
    }
    let login = ask(
        &cluster,
        other,
        "",
        "team",
        ("POST", "auth/userpass/login/ann"),
        json!({ "password": "a-password" }),
    )
    .await?;
    ensure!([400, 403].contains(&login.code), "{login:?}");
    ensure!(
        ask(&cluster, other, &root, "team", ("GET", "secret/data/a"), Value::Null)
            .await?
            .code
            == 404
    );
    // One of the same name is another one.
    ensure!(
        ask(&cluster, other, &root, "", ("POST", "sys/namespaces/team"), json!({}))
            .await?
            .code
            == 200
    );
    ensure!(
        ask(&cluster, other, &root, "team", ("GET", "secret/data/a"), Value::Null)
            .await?
            .code
            == 404
    );
    ensure!(
        ask(
            &cluster,
            other,
            &children[0],
            "team",
            ("GET", "auth/token/lookup-self"),
            Value::Null
        )
        .await?
        .code
            == 403
    );
    let count = async || -> Result<Value> {
        let answer = ask(
            &cluster,
            other,
            &root,
            "",
            ("GET", "sys/internal/counters/sweeps"),
            Value::Null,
        )
        .await?;
        Ok(answer.json()["data"].clone())
    };
    eventually("all is swept", async || {
        count()
            .await
            .is_ok_and(|left| left["containers"] == 0 && left["rows"] == 0)
    })
    .await
}
