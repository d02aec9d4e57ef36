//! Leaders are killed under load. Nothing acknowledged is lost or applied twice, and everything has its record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, Error, v1};
use aumbry_tests::{Cluster, equal_states, eventually, records};
use aumbry_types::SecretBytes;

/// What a writer knows of its secrets: which versions of each were acknowledged, with their values.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<(usize, u64), u64>,
    requests: Vec<String>,
}

/// Abuse cases: 89.
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
    let nobody = stranger(&cluster).await?;
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (client, stop) = (cluster.client(), Arc::clone(&stop));
            let nobody = cluster.client_as(nobody.duplicate(), &cluster.endpoints());
            tokio::spawn(async move { read(client?, nobody?, reader, &stop).await })
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
    let mut answered: Vec<String> = ledgers.into_iter().flat_map(|ledger| ledger.requests).collect();
    for reader in readers {
        let answers = reader.await??;
        ensure!(
            answers.released.len() > 100,
            "only {} values were read: the run shows nothing",
            answers.released.len()
        );
        ensure!(
            answers.refused.len() > 100,
            "only {} refusals: the run shows nothing",
            answers.refused.len()
        );
        answered.extend(answers.released);
        answered.extend(answers.refused);
    }
    check_records(&client, &answered).await?;
    let nodes: Result<Vec<Client>> = cluster.nodes().iter().map(|node| cluster.client_on(node.id)).collect();
    equal_states(&nodes?).await
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
    let mut ledger = Ledger::default();
    let mut n = 0;
    for secret in 0.. {
        let path = path_of(writer, secret);
        let keep = v1::KvPutMetadataRequest {
            path: path.clone(),
            max_versions: Some(VERSIONS_KEPT),
            ..Default::default()
        };
        // One that is lost in a kill is asked for again.
        while client.call(keep.clone()).await.is_err() && !stop.load(Ordering::SeqCst) {}
        let until = ledger.acknowledged.len() + VERSIONS_MAX;
        while ledger.acknowledged.len() < until {
            if stop.load(Ordering::SeqCst) {
                return Ok(ledger);
            }
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
                    ledger.acknowledged.insert((secret, version), n).is_none(),
                    "version {version} was given twice"
                );
                ledger.requests.push(reply.header.unwrap_or_default().request_id);
                count.fetch_add(1, Ordering::SeqCst);
            }
            // All of them are read at the end.
            tokio::time::sleep(REST).await;
        }
    }
    Ok(ledger)
}

fn path_of(writer: usize, secret: usize) -> String {
    format!("secret/writer{writer}/{secret}")
}

/// What a reader was answered: the ids of its requests.
#[derive(Default)]
struct Answers {
    released: Vec<String>,
    refused: Vec<String>,
}

/// A token that may read nothing.
async fn stranger(cluster: &Cluster) -> Result<SecretBytes> {
    let create = v1::TokenCreateRequest {
        policies: vec!["default".to_owned()],
        ttl_s: 3_600,
        ..Default::default()
    };
    Ok(SecretBytes::new(cluster.client()?.call(create).await?.token.to_vec()))
}

async fn read(client: Client, nobody: Client, reader: usize, stop: &AtomicBool) -> Result<Answers> {
    let mut answers = Answers::default();
    while !stop.load(Ordering::SeqCst) {
        let get = v1::KvGetRequest {
            path: path_of(reader % WRITERS, 0),
            ..Default::default()
        };
        if let Ok(reply) = client.call(get.clone()).await {
            answers.released.push(reply.header.unwrap_or_default().request_id);
        }
        let refused = nobody.call(get).await.err();
        let refused = refused.as_ref().and_then(Error::failure);
        if let Some(refusal) = refused.filter(|failure| failure.reason == "PERMISSION_DENIED") {
            answers.refused.push(refusal.request_id.clone());
        }
    }
    Ok(answers)
}

async fn check(client: &Client, writer: usize, ledger: &Ledger) -> Result<()> {
    let mut seen = BTreeMap::new();
    let secrets = ledger.acknowledged.keys().last().map_or(0, |(secret, _)| secret + 1);
    for secret in 0..secrets {
        let path = path_of(writer, secret);
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
                seen.insert(n, (secret, version)).is_none(),
                "writer {writer}: value {n} was applied twice"
            );
            if let Some(expected) = ledger.acknowledged.get(&(secret, version)) {
                ensure!(
                    *expected == n,
                    "writer {writer}: version {version} holds {n}, acknowledged was {expected}"
                );
            }
        }
        let acknowledged = ledger.acknowledged.range((secret, 0)..=(secret, u64::MAX)).next_back();
        let last = acknowledged.map_or(0, |((_, version), _)| *version);
        ensure!(
            last <= metadata.current_version,
            "writer {writer}: acknowledged version {last} is lost"
        );
    }
    let places: Vec<(usize, u64)> = seen.values().copied().collect();
    ensure!(
        places.windows(2).all(|pair| pair[0] < pair[1]),
        "writer {writer}: versions are not in the order of the writes"
    );
    Ok(())
}

/// Everything that was answered has a committed record: writes, values that were released, refusals.
async fn check_records(client: &Client, answered: &[String]) -> Result<()> {
    let recorded: BTreeSet<String> = records(client)
        .await?
        .iter()
        .map(|record| record.text("request_id").to_owned())
        .collect();
    let missing = answered.iter().filter(|id| !recorded.contains(*id)).count();
    ensure!(missing == 0, "{missing} of {} answers have no record", answered.len());
    Ok(())
}

const WRITERS: usize = 8;
const READERS: usize = 2;
const KILLS: usize = 20;
const KILLS_OF_ALL: usize = 5;
const WRITES_BETWEEN: u64 = 80;
/// Enough that some of eight writers always wait for an answer, and that what they write is read in half a minute.
const REST: Duration = Duration::from_millis(10);
/// Less than a secret keeps: those count as well of which nobody was told.
const VERSIONS_MAX: usize = 900;
const VERSIONS_KEPT: u32 = 1_000;
