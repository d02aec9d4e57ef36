//! First figures: a closed loop of clients against three nodes on this machine.
//!
//! Absolute figures depend on the machine and on what else runs on it; CPU per request and fdatasyncs per request are steady.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, NodeEnv};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[derive(Clone, Copy)]
enum Work {
    Read,
    Write,
    /// All to one secret, without check-and-set.
    WriteHot,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let leader = cluster.node(cluster.leader().await?)?;
    let client = cluster.client_as(cluster.root_token(), std::slice::from_ref(&leader.client))?;
    for n in 0..KEYS {
        client.call(put(n)).await?;
    }
    say(&format!(
        "{SECONDS} s a row, 1 KiB values, {KEYS} keys, three nodes and the generator on this machine"
    ))?;
    say("work    in flight  requests/s   p50 ms   p99 ms   CPU us/request (3 nodes)   fdatasync/request (3 nodes)")?;
    for (work, in_flight) in [
        (Work::Read, 1),
        (Work::Read, 64),
        (Work::Write, 1),
        (Work::Write, 64),
        (Work::WriteHot, 64),
        (Work::Write, 64),
    ] {
        row(&cluster, &leader, work, in_flight).await?;
    }
    failover(&cluster, leader.id).await
}

async fn row(cluster: &Cluster, leader: &NodeEnv, work: Work, in_flight: usize) -> Result<()> {
    let nodes = cluster.nodes();
    let before = (cpu_us(&nodes)?, fsyncs(&nodes).await?);
    let until = Instant::now() + Duration::from_secs(SECONDS);
    let next = Arc::new(AtomicU64::new(0));
    let connections = in_flight.min(CONNECTIONS);
    let clients: Vec<Client> = (0..connections)
        .map(|_| cluster.client_as(cluster.root_token(), std::slice::from_ref(&leader.client)))
        .collect::<Result<_>>()?;
    let loops = (0..in_flight).map(|n| {
        let (client, next) = (clients[n % connections].clone(), Arc::clone(&next));
        async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                let n = next.fetch_add(1, Ordering::Relaxed) % KEYS;
                let started = Instant::now();
                match work {
                    Work::Read => drop(client.call(get(n)).await?),
                    Work::Write => drop(client.call(put(n)).await?),
                    Work::WriteHot => drop(client.call(put(0)).await?),
                }
                times.push(started.elapsed());
            }
            Ok::<_, anyhow::Error>(times)
        }
    });
    let mut times: Vec<Duration> = futures::future::try_join_all(loops)
        .await?
        .into_iter()
        .flatten()
        .collect();
    let after = (cpu_us(&nodes)?, fsyncs(&nodes).await?);
    times.sort_unstable();
    let count = times.len() as f64;
    let at = |share: f64| times[((count - 1.0) * share) as usize].as_secs_f64() * 1_000.0;
    let name = match work {
        Work::Read => "read",
        Work::Write => "write",
        Work::WriteHot => "hot key",
    };
    say(&format!(
        "{name:<7} {in_flight:>9}  {:>10.0}  {:>7.2}  {:>7.2}  {:>24.0}  {:>28.2}",
        count / SECONDS as f64,
        at(0.5),
        at(0.99),
        (after.0 - before.0) as f64 / count,
        (after.1 - before.1) as f64 / count,
    ))
}

/// Kills the leader and measures until the next write is acknowledged, by clients of the others that try without pause.
async fn failover(cluster: &Cluster, mut leader: u64) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..FAILOVERS {
        let others: Vec<String> = cluster
            .nodes()
            .into_iter()
            .filter(|node| node.id != leader)
            .map(|node| node.client)
            .collect();
        let client = cluster.client_as(cluster.root_token(), &others)?;
        client.call(put(0)).await?;
        let started = Instant::now();
        cluster.kill(leader)?;
        client.call(put(0)).await?;
        times.push(started.elapsed().as_millis());
        cluster.restart(leader)?;
        cluster.unseal(leader).await?;
        leader = cluster.leader().await?;
    }
    times.sort_unstable();
    say(&format!(
        "failover, SIGKILL to the next acknowledged write, ms: {times:?}, median {}",
        times[times.len() / 2]
    ))
}

fn put(n: u64) -> v1::KvPutRequest {
    let data = format!("{{\"value\":\"{}\"}}", "x".repeat(1_010));
    v1::KvPutRequest {
        path: format!("secret/bench/k{n}"),
        data: data.into(),
        ..Default::default()
    }
}

fn get(n: u64) -> v1::KvGetRequest {
    v1::KvGetRequest {
        path: format!("secret/bench/k{n}"),
        ..Default::default()
    }
}

/// User and system time of all nodes, in microseconds.
fn cpu_us(nodes: &[NodeEnv]) -> Result<u64> {
    nodes.iter().try_fold(0, |sum, node| {
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", node.pid))? {
            // Nanoseconds on a processor come first; a thread that has just ended has none.
            let stat = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            total += stat
                .split(' ')
                .next()
                .and_then(|ns| ns.parse::<u64>().ok())
                .unwrap_or(0)
                / 1_000;
        }
        Ok(sum + total)
    })
}

/// Synced writes of the logs of all nodes, from their metrics.
async fn fsyncs(nodes: &[NodeEnv]) -> Result<u64> {
    let mut sum = 0;
    for node in nodes {
        let mut stream = tokio::net::TcpStream::connect(&node.metrics).await?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let line = text
            .lines()
            .find(|line| line.starts_with("aumbry_log_fsyncs "))
            .context("no such metric")?;
        sum += line.rsplit(' ').next().context("no value")?.parse::<u64>()?;
    }
    Ok(sum)
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("standard output is closed")
}

const KEYS: u64 = 1_000;
const SECONDS: u64 = 8;
const CONNECTIONS: usize = 8;
const FAILOVERS: usize = 7;
