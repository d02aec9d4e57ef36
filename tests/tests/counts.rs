//! What a request costs, in things that can be counted: log entries, syncs, rows, bytes between the nodes.
//!
//! A figure here may only go down.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, NodeEnv, Recorded, eventually, metric, records};

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_request_is_one_entry_and_one_sync_a_node() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let leader = cluster.node(cluster.leader().await?)?;
    let client = cluster.client_as(cluster.root_token(), std::slice::from_ref(&leader.client))?;
    for n in 0..LONE {
        client.call(put(n)).await?;
    }
    eventually("the opening of each node is on record", || async {
        let records = records(&client).await;
        let of_opening = |record: &&Recorded| record.text("operation") == "sys.unseal";
        records.is_ok_and(|records| records.iter().filter(of_opening).count() >= 3)
    })
    .await?;
    let create = v1::TokenCreateRequest {
        policies: vec!["default".to_owned()],
        ..Default::default()
    };
    for work in ["write", "read", "token"] {
        let began = Instant::now();
        let before = Counted::take(&cluster, &client).await?;
        for n in 0..LONE {
            match work {
                "write" => drop(client.call(put(n)).await?),
                "read" => drop(client.call(get(n)).await?),
                _ => drop(client.call(create.clone()).await?),
            }
        }
        let after = Counted::take(&cluster, &client).await?;
        // The status that counts is a request itself.
        let entries = after.applied - before.applied - 1;
        ensure!(entries == LONE, "{LONE} of {work} took {entries} entries");
        let records = after.records - before.records - 1;
        ensure!(records == LONE, "{LONE} of {work} left {records} audit records");
        // Each second the log's floor may be raised.
        let bound = LONE + 3 + began.elapsed().as_secs();
        let syncs: Vec<u64> = after.syncs.iter().zip(&before.syncs).map(|(a, b)| a - b).collect();
        ensure!(
            syncs.iter().all(|syncs| *syncs <= bound),
            "{LONE} of {work} took {syncs:?} syncs"
        );
        // Two of three must have each entry before the next is asked for; the third may take several at once.
        ensure!(
            syncs.iter().sum::<u64>() >= 2 * LONE,
            "{LONE} of {work} took {syncs:?} syncs: too few for a quorum"
        );
        let is_same = before.digest == after.digest;
        ensure!(is_same == (work == "read"), "{work} and the rows: same is {is_same}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_share_entries_and_syncs() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let leader = cluster.node(cluster.leader().await?)?;
    let clients: Vec<Client> = (0..8)
        .map(|_| cluster.client_as(cluster.root_token(), std::slice::from_ref(&leader.client)))
        .collect::<Result<_>>()?;
    let before = Counted::take(&cluster, &clients[0]).await?;
    let writers = (0..WRITERS).map(|writer| {
        let client = clients[writer as usize % clients.len()].clone();
        async move {
            for n in 0..EACH {
                client.call(put(writer * EACH + n)).await?;
            }
            Ok::<_, anyhow::Error>(())
        }
    });
    futures::future::try_join_all(writers).await?;
    let after = Counted::take(&cluster, &clients[0]).await?;
    let writes = WRITERS * EACH;
    let records = after.records - before.records - 1;
    ensure!(records == writes, "{writes} writes left {records} audit records");
    let entries = after.applied - before.applied;
    ensure!(entries * 4 <= writes, "{writes} writes took {entries} entries");
    for (before, after) in before.syncs.iter().zip(&after.syncs) {
        let syncs = after - before;
        ensure!(syncs * 4 <= writes, "{writes} writes took {syncs} syncs on a node");
    }
    Ok(())
}

/// What the cluster has counted so far.
struct Counted {
    applied: u64,
    records: u64,
    digest: String,
    syncs: Vec<u64>,
}

impl Counted {
    async fn take(cluster: &Cluster, leader: &Client) -> Result<Self> {
        let status = leader.call(v1::StatusRequest::default()).await?;
        let mut syncs = Vec::new();
        for NodeEnv { metrics, .. } in cluster.nodes() {
            syncs.push(metric(&metrics, "aumbry_log_fsyncs").await? as u64);
        }
        Ok(Self {
            applied: status.header.context("a header")?.index,
            records: status.audit_size,
            digest: status.state_digest,
            syncs,
        })
    }
}

fn put(n: u64) -> v1::KvPutRequest {
    v1::KvPutRequest {
        path: format!("secret/counted/k{n}"),
        data: format!("{{\"k\":\"{}\"}}", "x".repeat(1_000)).into(),
        ..Default::default()
    }
}

fn get(n: u64) -> v1::KvGetRequest {
    v1::KvGetRequest {
        path: format!("secret/counted/k{n}"),
        ..Default::default()
    }
}

const LONE: u64 = 20;
const WRITERS: u64 = 64;
const EACH: u64 = 20;
