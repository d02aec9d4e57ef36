//! Leadership that is lost or handed over under load: how long no write is acknowledged.
//!
//! The nodes have the times of consensus that a configuration without any has. Writers of the SDK go on all the time, a third of them at each node.
//! What is measured of a kill is the time from the signal to the first write that is acknowledged in a later term: an answer that the dead leader
//! had sent before does not count.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Rack, Setup, eventually};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{failover, say};

/// What is done to the leader, and how often.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// How often the leader is killed
    #[arg(long, default_value_t = 30)]
    kills: usize,
    /// How often leadership is handed over by order, before the kills
    #[arg(long, default_value_t = 10)]
    transfers: usize,
    /// How many clients of the SDK write all the time
    #[arg(long, default_value_t = 64)]
    writers: usize,
    /// What the section raft of the configurations says instead of nothing, such as 'profile = "wan"'
    #[arg(long, default_value = "")]
    raft: String,
}

/// Does it, and measures.
pub(crate) async fn measure(plan: &Plan) -> Result<Value> {
    let mut rack = Rack::start_as(Setup {
        times: Some(&plan.raft),
        ..Setup::default()
    })
    .await?;
    let writers = Writers::start(&rack, plan.writers)?;
    writers.go_on().await?;
    let mut transfers = Figures::default();
    for _ in 0..plan.transfers {
        transfers.0.push(transfer(&rack, &writers).await?);
    }
    transfers.tell("transfer by order, the longest pause between two acknowledged writes")?;
    let (mut first, mut all) = (Figures::default(), Figures::default());
    for _ in 0..plan.kills {
        let (next, last) = kill(&mut rack, &writers).await?;
        first.0.push(next);
        all.0.push(last);
    }
    first.tell("SIGKILL to the next acknowledged write")?;
    all.tell("SIGKILL until each writer has had a write acknowledged")?;
    let failures = writers.end().await?;
    say(&format!("requests that failed at the SDK: {failures}"))?;
    Ok(json!({
        "writers": plan.writers,
        "raft": plan.raft,
        "kill_to_next_write": first.to_json(),
        "kill_to_all_writers": all.to_json(),
        "transfer_pause": transfers.to_json(),
        "failed_requests": failures,
    }))
}

/// Kills the leader, measures, and waits until it is back and has caught up.
async fn kill(rack: &mut Rack, writers: &Writers) -> Result<(f64, f64)> {
    writers.go_on().await?;
    let leader = rack.leader().await?;
    let term = rack.status(leader).await?.term;
    let killed = Instant::now();
    rack.servers[leader].kill()?;
    eventually("each writer has had a write acknowledged", || async {
        writers.all_since(term).is_some()
    })
    .await?;
    let (next, last) = writers.all_since(term).context("it was there")?;
    rack.restart(&[leader]).await?;
    // The next kill is of a whole cluster again: with the node that comes back still behind, there would be no majority to elect.
    let target = rack.status(rack.leader().await?).await?.applied;
    let rack = &*rack;
    eventually("the node that was killed has caught up", || async {
        rack.status(leader).await.is_ok_and(|status| status.applied >= target)
    })
    .await?;
    Ok((ms(killed, next), ms(killed, last)))
}

/// Has the leader step down, and measures.
async fn transfer(rack: &Rack, writers: &Writers) -> Result<f64> {
    writers.go_on().await?;
    let leader = rack.leader().await?;
    let term = rack.status(leader).await?.term;
    let since = Instant::now();
    rack.client()?.call(v1::StepDownRequest::default()).await?;
    eventually("each writer has had a write acknowledged", || async {
        writers.all_since(term).is_some()
    })
    .await?;
    ensure!(rack.leader().await? != leader, "the leader did not step down");
    Ok(writers.longest_pause(since) * 1e3)
}

fn ms(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

/// Times in milliseconds.
#[derive(Default)]
struct Figures(Vec<f64>);

impl Figures {
    fn sorted(&self) -> Vec<f64> {
        let mut times = self.0.clone();
        times.sort_by(f64::total_cmp);
        times
    }

    fn tell(&self, what: &str) -> Result<()> {
        let times = self.sorted();
        let (Some(least), Some(most)) = (times.first(), times.last()) else {
            return Ok(());
        };
        let (half, nearly) = (failover::nearest(&times, 0.5), failover::nearest(&times, 0.99));
        say(&format!(
            "{what}, ms: p50 {half:.0}, p99 {nearly:.0}, min {least:.0}, max {most:.0}, n = {}: {times:.0?}",
            times.len()
        ))
    }

    fn to_json(&self) -> Value {
        let times = self.sorted();
        if times.is_empty() {
            return Value::Null;
        }
        json!({
            "count": times.len(),
            "p50_ms": failover::nearest(&times, 0.5),
            "p99_ms": failover::nearest(&times, 0.99),
            "min_ms": times[0],
            "max_ms": times[times.len() - 1],
            "in_order_ms": self.0,
        })
    }
}

/// Clients that write, each its own secret over and over.
struct Writers {
    stop: Arc<AtomicBool>,
    shared: Arc<Mutex<Noted>>,
    tasks: Vec<JoinHandle<u64>>,
}

/// What was acknowledged.
struct Noted {
    /// When, in order.
    times: Vec<Instant>,
    /// The first acknowledgement of each writer in the newest term: when, and the term.
    firsts: Vec<Option<(u64, Instant)>>,
}

impl Writers {
    fn start(rack: &Rack, count: usize) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let shared = Arc::new(Mutex::new(Noted {
            times: Vec::new(),
            firsts: vec![None; count],
        }));
        let clients: Result<Vec<Client>> = (0..count).map(|writer| rack.client_from(writer)).collect();
        let tasks = clients?.into_iter().enumerate().map(|(writer, client)| {
            let (stop, shared) = (Arc::clone(&stop), Arc::clone(&shared));
            tokio::spawn(async move { write(&client, writer, &stop, &shared).await })
        });
        let tasks = tasks.collect();
        Ok(Self { stop, shared, tasks })
    }

    /// Waits until each has had some more writes acknowledged.
    async fn go_on(&self) -> Result<()> {
        let enough = self.noted().times.len() + WRITES_EACH * self.tasks.len();
        eventually("writes are acknowledged", || async {
            self.noted().times.len() >= enough
        })
        .await
    }

    /// The first acknowledgement of any writer after this term, and of the last writer that had one; none until each had.
    fn all_since(&self, term: u64) -> Option<(Instant, Instant)> {
        let noted = self.noted();
        let firsts = noted.firsts.iter().map(|first| first.filter(|(of, _)| *of > term));
        let mut firsts = firsts.collect::<Option<Vec<_>>>()?;
        firsts.sort_by_key(|(_, at)| *at);
        Some((firsts.first()?.1, firsts.last()?.1))
    }

    /// The longest time between two acknowledgements, from the last one before this moment until now; in seconds.
    fn longest_pause(&self, since: Instant) -> f64 {
        let noted = self.noted();
        let first = noted.times.partition_point(|time| *time <= since).saturating_sub(1);
        let pauses = noted.times[first..]
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64());
        pauses.fold(0.0, f64::max)
    }

    /// Ends them. Gives how many requests failed.
    async fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::SeqCst);
        let mut failures = 0;
        for task in self.tasks {
            failures += task.await?;
        }
        Ok(failures)
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(client: &Client, writer: usize, stop: &AtomicBool, shared: &Mutex<Noted>) -> u64 {
    let request = v1::KvPutRequest {
        path: format!("secret/failover/{writer}"),
        data: format!("{{\"value\":\"{}\"}}", "x".repeat(VALUE_BYTES)).into(),
        ..v1::KvPutRequest::default()
    };
    let mut failures = 0;
    while !stop.load(Ordering::SeqCst) {
        let Ok(reply) = client.call(request.clone()).await else {
            failures += 1;
            continue;
        };
        let term = reply.header.unwrap_or_default().term;
        let mut noted = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        noted.times.push(now);
        if noted.firsts[writer].is_none_or(|(of, _)| of < term) {
            noted.firsts[writer] = Some((term, now));
        }
    }
    failures
}

const VALUE_BYTES: usize = 1_000;
/// Between two blows: enough that all are at work again.
const WRITES_EACH: usize = 10;
