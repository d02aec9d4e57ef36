//! New keys for what is written, over a change of leader and restarts.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, eventually};
use serde_json::{Value, json};

use crate::bed::{Http, done};

/// Where a pass is: its state, the terms that the keyring holds, and the term that seals.
async fn progress(http: &Http) -> Result<Value> {
    Ok(done(http, "GET", "sys/rotate/progress", Value::Null).await?["data"].clone())
}

/// Abuse cases: 114.
#[tokio::test(flavor = "multi_thread")]
async fn keys_turn_while_leaders_come_and_go() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let (root, root_token) = (Http::root(&cluster)?, cluster.root_token());
    for n in 0..SECRETS {
        let value = json!({ "data": { "n": n, "filler": "x".repeat(2_000) } });
        done(&root, "POST", &format!("secret/data/app/{n}"), value).await?;
    }
    let status = done(&root, "GET", "sys/key-status", Value::Null).await?;
    ensure!(
        status["data"]["term"] == 1 && status["data"]["encryptions"].as_u64() >= Some(1 << 20),
        "{status}"
    );
    let early = root.ask("POST", "sys/rotate/retire", &json!({ "force": true })).await?;
    ensure!(early.code == 400, "{early:?}");

    done(&root, "PUT", "sys/rotate", Value::Null).await?;
    // The leader dies with the pass under way, and the next one goes on.
    let leader = cluster.leader().await?;
    cluster.kill(leader)?;
    let left = cluster
        .nodes()
        .iter()
        .position(|node| node.id != leader)
        .context("two are left")?;
    let other = Http::on(&cluster, left, root_token.expose_str().context("is text")?)?;
    eventually("the pass ends under another leader", || async {
        progress(&other).await.is_ok_and(|found| found["state"] == "done")
    })
    .await?;
    let found = progress(&other).await?;
    ensure!(found["terms"] == json!([1, 2]) && found["damaged"] == 0, "{found}");
    let gone = done(&other, "POST", "sys/rotate/retire", json!({ "force": true })).await?;
    ensure!(gone["data"]["retired"] == json!([1]), "{gone}");

    // The node that slept opens with the same shares, and leads with the keys of today.
    cluster.restart(leader)?;
    cluster.unseal(leader).await?;
    eventually("the node that slept leads", || async {
        let transfer = v1::TransferRequest {
            node_id: leader,
            ..v1::TransferRequest::default()
        };
        let Ok(client) = cluster.client() else { return false };
        // It may have to catch up first.
        let _ = client.call(transfer).await;
        cluster.leader().await.is_ok_and(|now| now == leader)
    })
    .await?;
    for n in 0..SECRETS {
        let read = done(&other, "GET", &format!("secret/data/app/{n}"), Value::Null).await?;
        ensure!(read["data"]["data"]["n"] == n, "{read}");
    }
    let status = done(&other, "GET", "sys/key-status", Value::Null).await?;
    ensure!(status["data"]["term"] == 2, "{status}");
    Ok(())
}

/// Enough for several pieces of 256 KiB.
const SECRETS: u64 = 400;
