//! Logins and wrapped replies on three nodes: who gets in, how often, and what is told to those who do not.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Answered, Cluster, eventually, records};
use serde_json::{Value, json};

use crate::bed::{Http, done};

/// Asks the same of every node at once, so often each. Gives the codes.
async fn everywhere(
    cluster: &Cluster,
    times: usize,
    headers: &[(&str, &str)],
    path: &str,
    body: &Value,
) -> Result<Vec<Answered>> {
    let nodes: Vec<Http> = (0..3).map(|node| Http::on(cluster, node, "")).collect::<Result<_>>()?;
    let asked = (0..times).flat_map(|_| nodes.iter().map(|node| node.ask_with("POST", path, headers, body)));
    futures::future::try_join_all(asked).await
}

/// A secret id with three uses is good for three logins, on whichever nodes, however many try at once; each is one record. Abuse cases: 37.
#[tokio::test(flavor = "multi_thread")]
async fn uses_of_a_secret_id_are_exact() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/approle", json!({ "type": "approle" })).await?;
    done(
        &root,
        "POST",
        "auth/approle/role/ci",
        json!({ "secret_id_num_uses": 3, "token_policies": "default" }),
    )
    .await?;
    let role = done(&root, "GET", "auth/approle/role/ci/role-id", Value::Null).await?;
    let made = done(&root, "POST", "auth/approle/role/ci/secret-id", json!({})).await?;
    let body = json!({ "role_id": role["data"]["role_id"], "secret_id": made["data"]["secret_id"] });
    let answers = everywhere(&cluster, 4, &[], "auth/approle/login", &body).await?;
    let let_in = answers.iter().filter(|answer| answer.code == 200).count();
    let told: BTreeSet<&str> = answers
        .iter()
        .filter(|answer| answer.code != 200)
        .map(|a| a.body.as_str())
        .collect();
    ensure!(let_in == 3, "{let_in} of 12 were let in: {told:?}");
    ensure!(
        told == BTreeSet::from(["{\"errors\":[\"invalid role or secret ID\"]}"]),
        "{told:?}"
    );
    let accessors: BTreeSet<String> = answers
        .iter()
        .filter_map(|answer| answer.json()["auth"]["accessor"].as_str().map(str::to_owned))
        .collect();
    let recorded = records(&cluster.client()?).await?;
    let logins: Vec<_> = recorded
        .iter()
        .filter(|record| record.text("operation") == "approle.login")
        .collect();
    let allowed: BTreeSet<String> = logins
        .iter()
        .filter(|record| record.is_allowed())
        .filter_map(|record| record.event["fields"]["accessor"].as_str().map(str::to_owned))
        .collect();
    ensure!(
        accessors.len() == 3 && allowed.is_superset(&accessors),
        "{accessors:?} {allowed:?}"
    );
    // What was shown is on record by its digest alone.
    let secret = made["data"]["secret_id"].as_str().context("a secret id")?;
    ensure!(
        logins.iter().all(|record| !record.event.to_string().contains(secret)),
        "a secret id is on record"
    );
    Ok(())
}

/// A wrong password, a user that is not there and one that is locked are told the same; and a lock outlives the leader. Abuse cases: 24, 25.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_outlives_the_leader() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/userpass", json!({ "type": "userpass" })).await?;
    for user in ["alice", "bob"] {
        done(
            &root,
            "POST",
            &format!("auth/userpass/users/{user}"),
            json!({ "password": "right" }),
        )
        .await?;
    }
    let login = async |node: usize, user: &str, password: &str| -> Result<(u16, String)> {
        let http = Http::on(&cluster, node, "")?;
        let path = format!("auth/userpass/login/{user}");
        let answer = http
            .ask_with("POST", &path, &[], &json!({ "password": password }))
            .await?;
        Ok((answer.code, answer.body))
    };
    ensure!(login(0, "ALICE", "right").await?.0 == 200, "the right password opens");
    let refused = (400, "{\"errors\":[\"invalid username or password\"]}".to_owned());
    for turn in 0..5 {
        // Every spelling counts against the one user.
        let told = login(turn % 3, ["alice", "Alice", "aLICE"][turn % 3], "wrong").await?;
        ensure!(told == refused, "{told:?}");
    }
    ensure!(
        login(1, "alice", "right").await? == refused,
        "who failed five times is locked"
    );
    ensure!(login(1, "nobody", "right").await? == refused, "nobody is told apart");
    ensure!(login(2, "bob", "right").await?.0 == 200, "others are not locked");
    let members = cluster.client()?.call(v1::MembersRequest::default()).await?.members;
    let leader = members
        .iter()
        .find(|member| member.leader)
        .context("somebody leads")?
        .id;
    cluster.kill(leader)?;
    let left: Vec<usize> = cluster
        .nodes()
        .iter()
        .enumerate()
        .filter(|(_, node)| node.id != leader)
        .map(|(at, _)| at)
        .collect();
    eventually("bob gets in again", || async {
        login(left[0], "bob", "right").await.is_ok_and(|told| told.0 == 200)
    })
    .await?;
    for node in left {
        ensure!(
            login(node, "alice", "right").await? == refused,
            "the lock is gone with the leader"
        );
    }
    Ok(())
}

/// Whoever may do so sets when users are locked, sees who is, and lets them in again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lockout_is_set_shown_and_ended() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    let config = json!({ "user_lockout_config": { "lockout_threshold": "2", "lockout_duration": "1h" } });
    let enable = json!({ "type": "userpass", "config": config });
    done(&root, "POST", "sys/auth/userpass", enable).await?;
    done(&root, "POST", "auth/userpass/users/ann", json!({ "password": "right" })).await?;
    let tuned = done(&root, "GET", "sys/auth/userpass/tune", Value::Null).await?["data"].clone();
    ensure!(
        tuned["user_lockout_threshold"] == 2
            && tuned["user_lockout_duration"] == 3_600
            && tuned["user_lockout_counter_reset_duration"] == 900
            && tuned["user_lockout_disable"] == false,
        "{tuned}"
    );
    let mount = done(&root, "GET", "sys/auth/userpass", Value::Null).await?["data"].clone();
    ensure!(
        mount["config"]["user_lockout_config"]["user_lockout_threshold"] == 2,
        "{mount}"
    );
    let accessor = mount["accessor"].as_str().context("an accessor")?;
    let login = async |node: usize, password: &str| -> Result<u16> {
        let http = Http::on(&cluster, node, "")?;
        let body = json!({ "password": password });
        let answer = http.ask_with("POST", "auth/userpass/login/ann", &[], &body).await?;
        Ok(answer.code)
    };
    for node in 0..2 {
        ensure!(login(node, "wrong").await? == 400, "a wrong password is refused");
    }
    ensure!(login(2, "right").await? == 400, "two are enough");
    let list = format!("sys/locked-users?mount_accessor={accessor}");
    for path in ["sys/locked-users", &list] {
        let locked = done(&root, "GET", path, Value::Null).await?["data"].clone();
        let found = &locked["by_namespace"][0]["mount_accessors"][0];
        ensure!(
            locked["total"] == 1 && found["mount_accessor"] == accessor && found["alias_identifiers"] == json!(["ann"]),
            "{path}: {locked}"
        );
    }
    let unlock = format!("sys/locked-users/{accessor}/unlock/ann");
    done(&root, "POST", &unlock, Value::Null).await?;
    ensure!(login(1, "right").await? == 200, "who was unlocked gets in");
    let off = json!({ "user_lockout_config": { "lockout_disable": true } });
    done(&root, "POST", "sys/auth/userpass/tune", off).await?;
    for node in 0..3 {
        ensure!(login(node, "wrong").await? == 400, "a wrong password is refused");
    }
    ensure!(login(0, "right").await? == 200, "nobody is locked without a lockout");
    let tuned = done(&root, "GET", "sys/auth/userpass/tune", Value::Null).await?["data"].clone();
    ensure!(
        tuned["user_lockout_disable"] == true && tuned["user_lockout_threshold"] == 2,
        "{tuned}"
    );
    done(&root, "POST", "sys/auth/approle", json!({ "type": "approle" })).await?;
    for (path, config) in [
        ("userpass", json!({ "lockout_threshold": 0 })),
        ("userpass", json!({ "lockout_treshold": 3 })),
        ("approle", json!({ "lockout_threshold": 3 })),
    ] {
        let answer = root
            .ask(
                "POST",
                &format!("sys/auth/{path}/tune"),
                &json!({ "user_lockout_config": config }),
            )
            .await?;
        ensure!(answer.code == 400, "{path} {config}: {answer:?}");
    }
    let recorded = records(&cluster.client()?).await?;
    let has = |operation: &str, text: &str| {
        recorded
            .iter()
            .any(|record| record.text("operation") == operation && record.event.to_string().contains(text))
    };
    ensure!(
        has("lockout.unlock", "unlock/ann") && has("lockout.list", accessor),
        "on record"
    );
    ensure!(
        has("auth.tune", "lockout_disable") && has("auth.enable", "lockout_threshold"),
        "on record"
    );
    Ok(())
}

/// A wrapped reply is opened once, on one of three nodes; who comes later is told nothing, and that stands out on record. Abuse cases: 43.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_reply_is_opened_once() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(
        &root,
        "POST",
        "secret/data/w",
        json!({ "data": { "k": "wrapped-canary" } }),
    )
    .await?;
    let token = cluster.root_token();
    let token = token.expose_str().context("the token is text")?;
    let headers = [("X-Vault-Token", token), ("X-Vault-Wrap-TTL", "60s")];
    let answer = root.ask_with("GET", "secret/data/w", &headers, &Value::Null).await?;
    ensure!(
        answer.code == 200 && !answer.body.contains("wrapped-canary"),
        "{answer:?}"
    );
    let wrapping = answer.json()["wrap_info"]["token"]
        .as_str()
        .context("a token")?
        .to_owned();
    let answer = root
        .ask_with(
            "GET",
            "auth/token/lookup-self",
            &[("X-Vault-Token", &wrapping)],
            &Value::Null,
        )
        .await?;
    ensure!(
        answer.code == 403,
        "a wrapping token is good for nothing else: {answer:?}"
    );
    let opened = everywhere(
        &cluster,
        3,
        &[("X-Vault-Token", &wrapping)],
        "sys/wrapping/unwrap",
        &Value::Null,
    )
    .await?;
    let told: Vec<&Answered> = opened.iter().filter(|answer| answer.code == 200).collect();
    ensure!(
        told.len() == 1 && told[0].json()["data"]["data"]["k"] == "wrapped-canary",
        "{opened:?}"
    );
    let others: BTreeSet<(u16, &str)> = opened
        .iter()
        .filter(|a| a.code != 200)
        .map(|a| (a.code, a.body.as_str()))
        .collect();
    ensure!(
        others.len() == 1 && others.iter().all(|(code, _)| *code == 400),
        "{others:?}"
    );
    let recorded = records(&cluster.client()?).await?;
    ensure!(
        recorded
            .iter()
            .any(|record| record.text("reason") == "WRAPPING_TOKEN_GONE"),
        "no alarm is on record"
    );
    Ok(())
}

/// A login that is sent again under its key is the same login: one use, one token. What shows other credentials is another request.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_under_its_key_is_made_once() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/approle", json!({ "type": "approle" })).await?;
    done(
        &root,
        "POST",
        "auth/approle/role/ci",
        json!({ "secret_id_num_uses": 1 }),
    )
    .await?;
    let role = done(&root, "GET", "auth/approle/role/ci/role-id", Value::Null).await?;
    let made = done(&root, "POST", "auth/approle/role/ci/secret-id", json!({})).await?;
    let login = |key: &str, secret_id: &Value| {
        let body = json!({ "role_id": role["data"]["role_id"], "secret_id": secret_id });
        v1::LogicalRequest {
            header: Some(v1::RequestHeader {
                idempotency_key: key.to_owned(),
                ..Default::default()
            }),
            verb: v1::Verb::Write as i32,
            path: "auth/approle/login".to_owned(),
            body: body.to_string().into(),
            ..Default::default()
        }
    };
    let nobody = cluster.client_as(aumbry_types::SecretBytes::default(), &cluster.endpoints())?;
    let secret_id = &made["data"]["secret_id"];
    let first = nobody.call(login("key-1", secret_id)).await?.auth;
    ensure!(!first.is_empty(), "the first is let in");
    for _ in 0..3 {
        ensure!(
            nobody.call(login("key-1", secret_id)).await?.auth == first,
            "it is the same login"
        );
    }
    ensure!(
        nobody.call(login("key-2", secret_id)).await.is_err(),
        "another one has no use left"
    );
    ensure!(
        nobody.call(login("key-1", &json!("another"))).await.is_err(),
        "a key alone opens nothing"
    );
    Ok(())
}

/// A time for which nothing is wrapped is refused before anything is done: its reply would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_wrapped_is_not_done() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    let token = cluster.root_token();
    let token = token.expose_str().context("the token is text")?;
    let headers = [("X-Vault-Token", token), ("X-Vault-Wrap-TTL", "33d")];
    let answer = root.ask_with("POST", "auth/token/create", &headers, &json!({})).await?;
    ensure!(answer.code == 400 && answer.body.contains("32 days"), "{answer:?}");
    let recorded = records(&cluster.client()?).await?;
    ensure!(
        recorded.iter().all(|record| record.text("operation") != "token.create"),
        "a token was made that nobody has"
    );
    Ok(())
}

/// Whoever sends passwords in a flood gets as many of them hashed at once as there is room for, and others are answered meanwhile. How many wait is
/// bounded in `aumbry_node::logins`. Abuse cases: 100.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_passwords_leaves_others_their_turn() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/userpass", json!({ "type": "userpass" })).await?;
    done(&root, "POST", "auth/userpass/users/ann", json!({ "password": "right" })).await?;
    done(&root, "POST", "secret/data/a", json!({ "data": {} })).await?;
    let guess = json!({ "password": "wrong" });
    let flood = everywhere(&cluster, 32, &[], "auth/userpass/login/nobody", &guess);
    let others = async {
        for _ in 0..20 {
            done(&root, "GET", "secret/data/a", Value::Null).await?;
        }
        anyhow::Ok(())
    };
    let (answers, others) = tokio::join!(flood, others);
    others?;
    let codes: BTreeSet<u16> = answers?.iter().map(|answer| answer.code).collect();
    ensure!(
        codes.contains(&400) && codes.is_subset(&BTreeSet::from([400, 429, 503])),
        "refused, or sent away for a while: {codes:?}"
    );
    let login = json!({ "password": "right" });
    done(&Http::on(&cluster, 1, "")?, "POST", "auth/userpass/login/ann", login).await?;
    Ok(())
}

/// Who logs in has no token to show, and is told what is wrong with a body that cannot be read, as all others are; a flood of such bodies is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_cannot_be_read_is_told_so() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    for kind in ["approle", "userpass", "jwt", "kubernetes", "ldap"] {
        done(&root, "POST", &format!("sys/auth/{kind}"), json!({ "type": kind })).await?;
    }
    let nobody = Http::on(&cluster, 0, "")?;
    let rows = [
        ("auth/approle/login", json!({}), "role_id"),
        (
            "auth/approle/login",
            json!({ "role_id": 7, "secret_id": {} }),
            "secret_id",
        ),
        ("auth/userpass/login/ann", json!({}), "password"),
        ("auth/jwt/login", json!({ "role": "r" }), "jwt"),
        ("auth/kubernetes/login", json!({ "role": "r" }), "jwt"),
        ("auth/ldap/login/ann", json!({ "password": "" }), "password"),
        ("sys/mfa/validate", json!({ "mfa_request_id": "x" }), "mfa_payload"),
    ];
    for (path, body, field) in rows {
        let answer = nobody.ask_with("POST", path, &[], &body).await?;
        ensure!(
            answer.code == 400 && answer.body.contains(field),
            "{path} {body}: {answer:?}"
        );
    }
    // What is no login still takes a token, whether it is there or not.
    for path in ["auth/none/login", "auth/approle/role/r"] {
        let answer = nobody.ask_with("POST", path, &[], &json!({})).await?;
        ensure!(answer.code == 403, "{path}: {answer:?}");
    }
    for _ in 0..40 {
        nobody.ask_with("POST", "auth/approle/login", &[], &json!({})).await?;
    }
    let recorded = records(&cluster.client()?).await?;
    let malformed = recorded
        .iter()
        .filter(|record| record.text("operation") == "login.malformed")
        .count();
    ensure!(
        (1..=20).contains(&malformed),
        "ten a minute are on record one by one: {malformed}"
    );
    Ok(())
}
