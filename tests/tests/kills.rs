//! Leaders are killed under load. Nothing acknowledged is lost or applied twice, and everything has its record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, eventually};

/// What a writer knows of its secret: the versions that were acknowledged, with their values.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<u64, u64>,
    requests: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_or_doubled() -> Result<()> {
    let cluster = Arc::new(Cluster::start(3)?);
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (client, stop, count) = (cluster.client(), Arc::clone(&stop), Arc::clone(&acknowledged));
            tokio::spawn(async move { write(client?, writer, &stop, &count).await })
        })
        .collect();
    for round in 0..KILLS {
        more_is_acknowledged(&acknowledged).await?;
        let leader = cluster.leader().await?;
        cluster.kill(leader)?;
        cluster.restart(leader)?;
        cluster
            .unseal(leader)
            .await
            .with_context(|| format!("round {round}, node {leader}"))?;
    }
    for round in 0..KILLS_OF_ALL {
        more_is_acknowledged(&acknowledged).await?;
        for node in cluster.nodes() {
            cluster.kill(node.id)?;
        }
        for node in cluster.nodes() {
            cluster.restart(node.id)?;
        }
        for node in cluster.nodes() {
            cluster
                .unseal(node.id)
                .await
                .with_context(|| format!("round {round} of all, node {}", node.id))?;
        }
    }
    more_is_acknowledged(&acknowledged).await?;
    stop.store(true, Ordering::SeqCst);
    let client = cluster.client()?;
    let mut ledgers = Vec::new();
    for writer in writers {
        ledgers.push(writer.await??);
    }
    let total: usize = ledgers.iter().map(|ledger| ledger.acknowledged.len()).sum();
    ensure!(
        total > 10 * WRITERS,
        "only {total} writes were acknowledged: the run shows nothing"
    );
    for (writer, ledger) in ledgers.iter().enumerate() {
        check(&client, writer, ledger).await?;
    }
    check_records(&client, &ledgers).await?;
    equal_on_all_nodes(&cluster).await
}

/// Between two kills the load goes on, so that each kill hits writes in flight.
async fn more_is_acknowledged(acknowledged: &AtomicU64) -> Result<()> {
    let before = acknowledged.load(Ordering::SeqCst);
    eventually("writes go on", || async {
        acknowledged.load(Ordering::SeqCst) >= before + WRITES_BETWEEN
    })
    .await
}

async fn write(client: Client, writer: usize, stop: &AtomicBool, count: &AtomicU64) -> Result<Ledger> {
    let path = format!("secret/writer{writer}");
    let keep = v1::KvPutMetadataRequest {
        path: path.clone(),
        max_versions: Some(1_000),
        ..Default::default()
    };
    client.call(keep).await?;
    let mut ledger = Ledger::default();
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) && ledger.acknowledged.len() < 900 {
        n += 1;
        let data = format!("{{\"n\":{n}}}");
        let request = v1::KvPutRequest {
            path: path.clone(),
            data: data.into(),
            ..Default::default()
        };
        // A write that failed may have been applied; its value then stands in a version that nobody acknowledged.
        if let Ok(reply) = client.call(request).await {
            let version = reply.version.unwrap_or_default().version;
            ensure!(
                ledger.acknowledged.insert(version, n).is_none(),
                "version {version} was given twice"
            );
            ledger.requests.push(reply.header.unwrap_or_default().request_id);
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
    Ok(ledger)
}

async fn check(client: &Client, writer: usize, ledger: &Ledger) -> Result<()> {
    let path = format!("secret/writer{writer}");
    let mut seen = BTreeMap::new();
    let metadata = client
        .call(v1::KvGetMetadataRequest {
            path: path.clone(),
            ..Default::default()
        })
        .await?;
    for version in 1..=metadata.current_version {
        let get = v1::KvGetRequest {
            path: path.clone(),
            version,
            ..Default::default()
        };
        let item = client.call(get).await?.item.unwrap_or_default();
        let value: serde_json::Value = serde_json::from_slice(&item.data)?;
        let n = value["n"].as_u64().context("a value that nobody wrote")?;
        ensure!(
            seen.insert(n, version).is_none(),
            "writer {writer}: value {n} was applied twice"
        );
        if let Some(expected) = ledger.acknowledged.get(&version) {
            ensure!(
                *expected == n,
                "writer {writer}: version {version} holds {n}, acknowledged was {expected}"
            );
        }
    }
    let values: Vec<u64> = seen.values().copied().collect();
    ensure!(
        values.windows(2).all(|pair| pair[0] < pair[1]),
        "writer {writer}: versions are not in the order of the writes"
    );
    let last = ledger.acknowledged.keys().last().copied().unwrap_or(0);
    ensure!(
        last <= metadata.current_version,
        "writer {writer}: acknowledged version {last} is lost"
    );
    Ok(())
}

/// Every acknowledged request has a committed record.
async fn check_records(client: &Client, ledgers: &[Ledger]) -> Result<()> {
    let mut recorded = std::collections::BTreeSet::new();
    let mut next = 0;
    loop {
        let page = client
            .call(v1::AuditReadRequest {
                from: next,
                limit: 1_000,
                ..Default::default()
            })
            .await?;
        let Some(last) = page.rows.last() else { break };
        ensure!(
            page.rows[0].seq == next,
            "a gap in the audit log before {}",
            page.rows[0].seq
        );
        next = last.seq + 1;
        for row in &page.rows {
            let event: serde_json::Value = serde_json::from_str(&row.event)?;
            recorded.extend(event["request_id"].as_str().map(str::to_owned));
        }
        if page.rows.len() < 1_000 {
            break;
        }
    }
    let missing = ledgers
        .iter()
        .flat_map(|ledger| &ledger.requests)
        .filter(|id| !recorded.contains(*id))
        .count();
    ensure!(missing == 0, "{missing} acknowledged writes have no record");
    Ok(())
}

async fn equal_on_all_nodes(cluster: &Cluster) -> Result<()> {
    let ids: Vec<u64> = cluster.nodes().iter().map(|node| node.id).collect();
    eventually("state digest and audit root are equal at an equal index", || async {
        let Ok(statuses) = futures::future::try_join_all(ids.iter().map(|id| cluster.status(*id))).await else {
            return false;
        };
        statuses.windows(2).all(|pair| {
            let of = |s: &v1::StatusReply| (s.applied, s.state_digest.clone(), s.audit_root.clone(), s.audit_size);
            of(&pair[0]) == of(&pair[1])
        })
    })
    .await
}

const WRITERS: usize = 8;
const KILLS: usize = 20;
const KILLS_OF_ALL: usize = 5;
/// 25 rounds of them stay below the versions that a secret keeps.
const WRITES_BETWEEN: u64 = 80;
