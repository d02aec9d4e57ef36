//! How long nothing is acknowledged after the leader was killed.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{binary, eventually};
use serde_json::{Value, json};

use crate::say;
use crate::subject::Subject;

/// What goes on while the leader is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Around {
    /// Nothing else.
    Quiet,
    /// Reads and writes at all nodes.
    Load,
}

/// Kills the leader and measures until the next write is acknowledged, by a client of the others that tries without pause.
pub(crate) async fn measure(subject: &Subject, kills: usize, around: Around) -> Result<Value> {
    if kills == 0 {
        return Ok(Value::Null);
    }
    let mut load = match around {
        Around::Quiet => None,
        Around::Load => Some(Load::start(subject)?),
    };
    let mut times = Vec::new();
    for _ in 0..kills {
        times.push(one(subject).await?);
        if let Some(load) = &mut load {
            load.check()?;
        }
    }
    times.sort_by(f64::total_cmp);
    let (half, most) = (nearest(&times, 0.5), nearest(&times, 0.99));
    let under = if load.is_some() { "under load" } else { "no other load" };
    say(&format!(
        "failover, SIGKILL to the next acknowledged write, {under}, ms: {times:.0?}; p50 {half:.0}, p99 {most:.0}, n = {kills}"
    ))?;
    Ok(json!({ "under_load": load.is_some(), "kills": kills, "p50_ms": half, "p99_ms": most, "times_ms": times }))
}

async fn one(subject: &Subject) -> Result<f64> {
    let cluster = &subject.cluster;
    let leader = cluster.leader().await?;
    let others = cluster.nodes().into_iter().filter(|node| node.id != leader);
    let others: Vec<String> = others.map(|node| node.client).collect();
    let client = cluster.client_as(cluster.root_token(), &others)?;
    client.call(put()).await?;
    let started = Instant::now();
    cluster.kill(leader)?;
    client.call(put()).await?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    cluster.restart(leader)?;
    cluster.unseal(leader).await?;
    // The next kill is of a whole cluster again: with the node that comes back still behind, there would be no majority to elect.
    let target = cluster.status(cluster.leader().await?).await?.applied;
    eventually("the node that was killed has caught up", || async {
        let status = cluster.status(leader).await;
        status.is_ok_and(|status| status.applied >= target)
    })
    .await?;
    Ok(took)
}

/// The smallest value that so large a share does not exceed.
pub(crate) fn nearest(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}

fn put() -> v1::KvPutRequest {
    v1::KvPutRequest {
        path: "secret/failover".to_owned(),
        data: "{\"value\":1}".into(),
        ..v1::KvPutRequest::default()
    }
}

/// A generator in a process of its own.
struct Load(Child);

impl Load {
    fn start(subject: &Subject) -> Result<Self> {
        let addresses = subject.cluster.endpoints().join(",");
        let child = Command::new(binary())
            .args([
                "bench",
                "--address",
                &addresses,
                "--mix",
                "mixed",
                "--path",
                "secret/bench-1000",
            ])
            .args([
                "--rate",
                LOAD_RATE,
                "--duration",
                LOAD_DURATION,
                "--timeout",
                LOAD_TIMEOUT,
            ])
            .envs(subject.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// Whether it still goes on.
    fn check(&mut self) -> Result<()> {
        let ended = self.0.try_wait()?;
        ensure!(ended.is_none(), "the load ended before the kills: {ended:?}");
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) const KILLS_DEFAULT: usize = 7;
/// A quarter of what a small machine can do, so that what is measured is the election and not a queue.
const LOAD_RATE: &str = "500";
/// Longer than any number of kills takes.
const LOAD_DURATION: &str = "1h";
/// A request that hangs at a dead node must not keep its place for long.
const LOAD_TIMEOUT: &str = "2s";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let times: Vec<f64> = (1..=30).map(f64::from).collect();
        assert_eq!((nearest(&times, 0.5), nearest(&times, 0.99)), (15.0, 30.0));
        assert_eq!(nearest(&[7.0], 0.5), 7.0);
    }
}
