//! Who reaches which namespace, by which header, path and call.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, Recorded, records};
use aumbry_types::SecretBytes;
use serde_json::{Value, json};

use super::{ask, done, tenants};

/// What two records must have in common.
fn told(record: &Recorded) -> Value {
    let mut event = record.event.clone();
    for own in ["request_id", "client", "response"] {
        event.as_object_mut().and_then(|event| event.remove(own));
    }
    event
}

fn of(record: &&Recorded) -> bool {
    !["audit.read", "sys.checkpoint", "sys.expire", "sys.sweep", "sys.unseal"].contains(&record.text("operation"))
}

/// By header, by path, by both, and by gRPC: one decision, one record, on every node.
#[tokio::test(flavor = "multi_thread")]
async fn a_parent_reaches_a_child_in_one_way() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.root_token().expose_str().unwrap_or_default().to_owned();
    let [team, ..] = tenants(&cluster, &root).await?;
    let client = cluster.client()?;
    let reader = "path \"team/app/secret/data/*\" { capabilities = [\"read\"] }";
    done(
        &cluster,
        &root,
        "",
        ("PUT", "sys/policies/acl/reader"),
        json!({ "policy": reader }),
    )
    .await?;
    let made = done(
        &cluster,
        &root,
        "",
        ("POST", "auth/token/create"),
        json!({ "policies": ["reader"] }),
    )
    .await?;
    let reader = made["auth"]["client_token"].as_str().context("a token")?.to_owned();
    let ways = [
        ("team/app", "secret/data/a"),
        ("/team/app/", "secret/data/a"),
        ("", "team/app/secret/data/a"),
        ("team/", "app/secret/data/a"),
    ];
    for (token, code) in [(&root, 200), (&team, 200), (&reader, 200), (&"none".to_owned(), 403)] {
        let mut events = Vec::new();
        for (node, (namespace, path)) in ways.into_iter().enumerate() {
            let before = records(&client).await?.len();
            let answer = ask(&cluster, node % 3, token, namespace, ("GET", path), Value::Null).await?;
            ensure!(answer.code == code, "{namespace} {path}: {answer:?}");
            ensure!(
                code != 200 || answer.json()["data"]["data"]["of"] == "team/app",
                "{answer:?}"
            );
            let after = records(&client).await?;
            let found: Vec<Value> = after[before..].iter().filter(of).map(told).collect();
            ensure!(found.len() == 1, "{found:?}");
            let mut event = found[0].clone();
            ensure!(code != 200 || event["fields"]["namespace"] == "team/app", "{event}");
            ensure!(code != 200 || event["path"] == "secret/a", "{event}");
            // The node that was asked.
            event.as_object_mut().and_then(|event| event.remove("node"));
            events.push(event);
        }
        ensure!(
            code != 200 || events.windows(2).all(|pair| pair[0] == pair[1]),
            "{events:#?}"
        );
    }
    // Typed, and by path.
    let in_app = Some(v1::RequestHeader {
        namespace: "team/app".to_owned(),
        ..Default::default()
    });
    let get = v1::KvGetRequest {
        header: in_app.clone(),
        path: "secret/a".to_owned(),
        ..Default::default()
    };
    let team = cluster.client_as(SecretBytes::from(team.clone()), &cluster.endpoints())?;
    for client in [&client, &team] {
        let item = client.call(get.clone()).await?.item.context("it is there")?;
        ensure!(item.data.starts_with(b"{\"of\":\"team/app\""), "typed");
    }
    let by_path = v1::LogicalRequest {
        verb: v1::Verb::Read.into(),
        path: "team/app/secret/data/a".to_owned(),
        ..Default::default()
    };
    for client in [&client, &team] {
        ensure!(client.call(by_path.clone()).await?.namespace == "team/app");
    }
    let within = cluster
        .builder(cluster.root_token(), &cluster.endpoints())?
        .namespace("team/app")
        .build()?;
    ensure!(
        within.call(v1::MountListRequest::default()).await?.mounts.len() == 1,
        "the client's own"
    );
    for request in [v1::MembersRequest { header: in_app }] {
        let refused = client.call(request).await.err().context("it is the cluster's")?;
        ensure!(refused.to_string().contains("root namespace"), "{refused}");
    }
    Ok(())
}

/// Nobody gets up or across: by no header, no path, and no spelling of either; and what they are answered tells nothing. Abuse cases: 8, 9, 71.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_reaches_neither_parent_nor_sibling() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.root_token().expose_str().unwrap_or_default().to_owned();
    let [team, app, other] = tenants(&cluster, &root).await?;
    done(
        &cluster,
        &root,
        "",
        ("POST", "secret/data/a"),
        json!({ "data": { "of": "root" } }),
    )
    .await?;
    let spellings = [
        ("", "secret/data/a"),
        ("/", "secret/data/a"),
        ("root", "secret/data/a"),
        ("other", "secret/data/a"),
        ("Other", "secret/data/a"),
        ("OTHER/", "secret/data/a"),
        ("", "other/secret/data/a"),
        ("", "OTHER/secret/data/a"),
        ("", "other//secret/data/a"),
        ("", "/other/secret/data/a"),
        ("", "other%2Fsecret/data/a"),
        ("", "other%252Fsecret/data/a"),
        ("team/app", "../secret/data/a"),
        ("team/app", "../../secret/data/a"),
        ("team/app", "%2e%2e/secret/data/a"),
        ("team/app", "..%2fsecret/data/a"),
        ("team/app", "../../other/secret/data/a"),
        ("team/app", "/other/secret/data/a"),
        ("team/app/..", "secret/data/a"),
        ("team/app/../../other", "secret/data/a"),
        ("team/./app", "../secret/data/a"),
        ("team//app", "secret/data/a"),
        ("team/app", "other/secret/data/a"),
        ("team/app", "root/secret/data/a"),
        ("team/app", "team/secret/data/a"),
        ("team/app", "sys/../../secret/data/a"),
        ("other;team/app", "secret/data/a"),
        ("team/app%2f..%2f..", "secret/data/a"),
        ("none", "secret/data/a"),
        ("team", "secret/data/a"),
    ];
    for (node, (namespace, path)) in spellings.into_iter().enumerate() {
        for (method, body) in [("GET", Value::Null), ("POST", json!({ "data": { "of": "stolen" } }))] {
            let answer = ask(&cluster, node % 3, &app, namespace, (method, path), body).await?;
            ensure!([400, 403, 404].contains(&answer.code), "{namespace} {path}: {answer:?}");
            ensure!(!answer.body.contains("root") || answer.code == 400, "{answer:?}");
        }
        // Without a token one learns the same of what is there as of what is not.
        let nobody = ask(&cluster, node % 3, "none", namespace, ("GET", path), Value::Null).await?;
        ensure!([400, 403].contains(&nobody.code), "{namespace} {path}: {nobody:?}");
    }
    for (namespace, of) in [
        ("", "root"),
        ("team", "team"),
        ("team/app", "team/app"),
        ("other", "other"),
    ] {
        let read = done(&cluster, &root, namespace, ("GET", "secret/data/a"), Value::Null).await?;
        ensure!(
            read["data"]["data"]["of"] == of && read["data"]["metadata"]["version"] == 1,
            "{read}"
        );
    }
    // Namespaces are made in their own place alone, by names that are no other's.
    for name in [
        "root",
        "sys",
        "Team",
        "TEAM",
        "auth",
        "%2e",
        "%2e%2e",
        "identity",
        "cubbyhole",
        "audit",
        "a.b",
        "a/b",
        "team%20",
    ] {
        let made = ask(
            &cluster,
            0,
            &root,
            "",
            ("POST", &format!("sys/namespaces/{name}")),
            json!({}),
        )
        .await?;
        ensure!(made.code == 400, "{name}: {made:?}");
    }
    for (token, namespace) in [(&team, ""), (&app, "team"), (&other, "team")] {
        let made = ask(&cluster, 0, token, namespace, ("POST", "sys/namespaces/new"), json!({})).await?;
        ensure!(made.code == 403, "{namespace}: {made:?}");
    }
    // What is the cluster's is there for nobody below the root, by header and by path.
    for path in [
        "sys/seal",
        "sys/step-down",
        "sys/storage/raft/snapshot",
        "sys/quotas/config",
        "sys/audit",
        "sys/metrics",
        "sys/host-info",
    ] {
        for (token, namespace, path) in [
            (&root, "team", path.to_owned()),
            (&team, "team", path.to_owned()),
            (&root, "", format!("team/{path}")),
        ] {
            let method = if ["sys/seal", "sys/step-down"].contains(&path.trim_start_matches("team/")) {
                "PUT"
            } else {
                "GET"
            };
            let refused = ask(&cluster, 0, token, namespace, (method, &path), Value::Null).await?;
            ensure!(
                refused.code == 400 && refused.body.contains("root namespace"),
                "{path}: {refused:?}"
            );
        }
    }
    Ok(())
}
