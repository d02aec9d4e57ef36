//! Mounts that move, and mounts that go with all that they hold.

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Cluster, eventually, records};
use serde_json::{Value, json};

use crate::bed::{Http, done};

async fn code(http: &Http, method: &str, path: &str, body: Value) -> Result<u16> {
    Ok(http.ask(method, path, &body).await?.code)
}

/// What moves keeps all that it holds; policies are by path, so those of the new path hold. One entry, one record, with both paths.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_moves_whole() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    for n in 1..=3 {
        done(&root, "POST", "secret/data/a/b", json!({ "data": { "n": n } })).await?;
    }
    for (name, path) in [("old", "secret/data/*"), ("new", "moved/here/data/*")] {
        let policy = format!("path \"{path}\" {{ capabilities = [\"read\"] }}");
        done(
            &root,
            "PUT",
            &format!("sys/policies/acl/{name}"),
            json!({ "policy": policy }),
        )
        .await?;
    }
    let mut readers = Vec::new();
    for name in ["old", "new"] {
        let made = done(&root, "POST", "auth/token/create", json!({ "policies": [name] })).await?;
        let token = made["auth"]["client_token"].as_str().context("a token")?.to_owned();
        readers.push(Http::on(&cluster, 1, &token)?);
    }
    ensure!(
        code(&readers[0], "GET", "secret/data/a/b", Value::Null).await? == 200,
        "positive control"
    );
    let accessor = done(&root, "GET", "sys/mounts/secret", Value::Null).await?["data"]["accessor"].clone();
    let moved = done(
        &root,
        "POST",
        "sys/remount",
        json!({ "from": "secret/", "to": "moved/here" }),
    )
    .await?;
    let id = moved["data"]["migration_id"].as_str().context("an id")?;
    let status = done(&root, "GET", &format!("sys/remount/status/{id}"), Value::Null).await?;
    ensure!(status["data"]["migration_info"]["status"] == "success", "{status}");
    ensure!(
        status["data"]["migration_info"]["target_mount"] == "moved/here/",
        "{status}"
    );
    for (place, (reader, expected)) in readers.iter().zip([403, 200]).enumerate() {
        let found = code(reader, "GET", "moved/here/data/a/b?version=2", Value::Null).await?;
        ensure!(found == expected, "{place}: {found}");
    }
    let read = done(&root, "GET", "moved/here/data/a/b", Value::Null).await?;
    ensure!(
        read["data"]["data"]["n"] == 3 && read["data"]["metadata"]["version"] == 3,
        "{read}"
    );
    ensure!(
        code(&root, "GET", "secret/data/a/b", Value::Null).await? == 404,
        "nothing is left"
    );
    let told = done(&root, "GET", "sys/mounts/moved/here", Value::Null).await?;
    ensure!(told["data"]["accessor"] == accessor, "{told}");
    for body in [
        json!({ "from": "moved/here", "to": "sys/x" }),
        json!({ "from": "moved/here", "to": "moved/here" }),
        json!({ "from": "moved/here", "to": "auth/x" }),
        json!({ "from": "moved/here" }),
    ] {
        let answer = root.ask("POST", "sys/remount", &body).await?;
        ensure!(answer.code == 400, "{body}: {answer:?}");
    }
    ensure!(
        code(&root, "POST", "sys/remount", json!({ "from": "none", "to": "some" })).await? == 400,
        "none"
    );
    // Its own place, one level up, is free for it.
    done(
        &root,
        "POST",
        "sys/remount",
        json!({ "from": "moved/here", "to": "moved" }),
    )
    .await?;
    done(&root, "GET", "moved/data/a/b", Value::Null).await?;
    let recorded = records(&cluster.client()?).await?;
    let record = recorded.iter().find(|record| record.text("operation") == "mount.move");
    let record = record.context("the move is on record")?;
    ensure!(record.text("path") == "sys/mounts/secret", "{:?}", record.event);
    ensure!(record.event["fields"]["to"] == "moved/here", "{:?}", record.event);
    Ok(())
}

/// An auth method moves with its users and roles, and those who are logged in stay so.
#[tokio::test(flavor = "multi_thread")]
async fn an_auth_method_moves_with_its_logins() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/people", json!({ "type": "userpass" })).await?;
    done(
        &root,
        "POST",
        "auth/people/users/ann",
        json!({ "password": "a-password" }),
    )
    .await?;
    let password = json!({ "password": "a-password" });
    let login = done(&root, "POST", "auth/people/login/ann", password.clone()).await?;
    let token = login["auth"]["client_token"].as_str().context("a token")?;
    done(
        &root,
        "POST",
        "sys/remount",
        json!({ "from": "auth/people/", "to": "auth/staff/all/" }),
    )
    .await?;
    let ann = Http::on(&cluster, 0, token)?;
    done(&ann, "GET", "auth/token/lookup-self", Value::Null).await?;
    done(&ann, "POST", "auth/token/renew-self", json!({})).await?;
    done(&root, "POST", "auth/staff/all/login/ann", password.clone()).await?;
    ensure!(
        code(&root, "POST", "auth/people/login/ann", password).await? == 404,
        "nobody is let in there"
    );
    done(&root, "DELETE", "sys/auth/staff/all", Value::Null).await?;
    ensure!(
        code(&ann, "GET", "auth/token/lookup-self", Value::Null).await? == 403,
        "its tokens end with it"
    );
    Ok(())
}

/// A mount that holds secrets is gone at once, and its rows go in pieces, whoever leads: the leader is killed while they do. What is mounted in its
/// place meanwhile sees nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_goes_with_what_it_holds() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let leader = cluster.leader().await?;
    let nodes = cluster.nodes();
    let other = nodes
        .iter()
        .position(|node| node.id != leader)
        .context("there are others")?;
    let root = Http::on(&cluster, other, cluster.root_token().expose_str().unwrap_or_default())?;
    done(&root, "POST", "sys/mounts/full", json!({ "type": "kv-v2" })).await?;
    let writes = (0..3_000).map(|n| {
        let root = &root;
        async move {
            let path = format!("full/data/d{}/e{}/s{n}", n % 7, n % 11);
            done(root, "POST", &path, json!({ "data": { "n": n } })).await.map(drop)
        }
    });
    let mut writes: Vec<_> = writes.collect();
    while !writes.is_empty() {
        let rest = writes.split_off(writes.len().min(32));
        futures::future::try_join_all(std::mem::replace(&mut writes, rest)).await?;
    }
    for _ in 0..20 {
        done(&root, "POST", "full/data/d0/many", json!({ "data": { "a": "b" } })).await?;
    }
    let before = done(&root, "GET", "sys/internal/counters/sweeps", Value::Null).await?;
    ensure!(before["data"]["containers"] == 0, "{before}");
    done(&root, "DELETE", "sys/mounts/full", Value::Null).await?;
    cluster.kill(leader)?;
    ensure!(
        code(&root, "GET", "full/data/d0/many", Value::Null).await? == 404,
        "it is gone at once"
    );
    done(&root, "POST", "sys/mounts/full", json!({ "type": "kv-v2" })).await?;
    ensure!(
        code(&root, "GET", "full/data/d0/many", Value::Null).await? == 404,
        "nothing of it comes back"
    );
    done(&root, "POST", "full/data/d0/many", json!({ "data": { "a": "new" } })).await?;
    eventually("all is swept", async || {
        let left = done(&root, "GET", "sys/internal/counters/sweeps", Value::Null).await;
        left.is_ok_and(|left| left["data"]["containers"] == 0 && left["data"]["rows"] == 0)
    })
    .await?;
    let read = done(&root, "GET", "full/data/d0/many", Value::Null).await?;
    ensure!(
        read["data"]["data"]["a"] == "new" && read["data"]["metadata"]["version"] == 1,
        "{read}"
    );
    let names = done(&root, "LIST", "full/metadata/", Value::Null).await?;
    ensure!(names["data"]["keys"] == json!(["d0/"]), "{names}");
    let recorded = records(&cluster.client_as(cluster.root_token(), &[nodes[other].client.clone()])?).await?;
    let sweeps = recorded
        .iter()
        .filter(|record| record.text("operation") == "sys.sweep")
        .count();
    ensure!((3..100).contains(&sweeps), "{sweeps}");
    Ok(())
}
