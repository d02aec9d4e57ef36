//! Leadership is handed over under load, by order and because the leader is stopped: no client of the SDK gets an error.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Disks, Load, Rack, eventually, get, put, tell};
use tokio::task::JoinHandle;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_leadership_is_handed_over() -> Result<()> {
    let mut rack = Rack::start(Disks::Directories, "").await?;
    let result = hand_over(&mut rack).await;
    result.with_context(|| rack.logs())
}

async fn hand_over(rack: &mut Rack) -> Result<()> {
    // Some of them ask the leader, the others have their requests handed on.
    let writers: Result<Vec<Client>> = (0..WRITERS).map(|n| rack.client_from(n)).collect();
    let readers: Result<Vec<Client>> = (0..READERS).map(|n| rack.client_from(n)).collect();
    put(&rack.client()?, READ, VALUE).await?;
    let load = Load::start(writers?, "handed", VALUE_BYTES);
    let reading = Readers::start(readers?);
    load.goes_on(WRITERS as u64).await?;

    let mut pauses = Vec::new();
    for round in 0..TRANSFERS {
        let from = rack.leader().await?;
        let term = rack.status(from).await?.term;
        let to = (from + 1 + round % 2) % 3;
        let since = Instant::now();
        let order = v1::TransferRequest {
            node_id: rack.status(to).await?.node_id,
            ..Default::default()
        };
        rack.client_from(round)?.call(order).await?;
        load.goes_on(WRITES_BETWEEN).await?;
        reading.go_on().await?;
        pauses.push(load.longest_pause(since));
        let now = rack.leader().await?;
        ensure!(now == to, "round {round}: node {now} leads, and not {to}");
        let after = rack.status(now).await?.term;
        ensure!(after == term + 1, "round {round}: term {term} became {after}");
    }
    told("a transfer by order", &mut pauses);

    let mut pauses = Vec::new();
    for round in 0..STOPS {
        let leader = rack.leader().await?;
        let term = rack.status(leader).await?.term;
        let since = Instant::now();
        rack.servers[leader].stop().await?;
        load.goes_on(WRITES_BETWEEN).await?;
        reading.go_on().await?;
        pauses.push(load.longest_pause(since));
        let after = rack.status(rack.leader().await?).await?.term;
        ensure!(after == term + 1, "stop {round}: term {term} became {after}");
        rack.restart(&[leader]).await?;
        load.goes_on(WRITES_BETWEEN).await?;
    }
    told("a leader that is stopped", &mut pauses);

    let (reads, failures) = reading.end().await?;
    let ledger = load.end().await?;
    let written = ledger.acknowledged.len();
    ensure!(failures.is_empty(), "of {reads} reads some failed: {failures:?}");
    ensure!(
        ledger.failures.is_empty(),
        "of {written} writes some failed: {:?}",
        ledger.failures
    );
    let client = rack.client()?;
    ledger.check(&client).await?;
    ledger.check_records(&client).await?;
    rack.equal_states().await
}

/// The positive control: a client that tries once does see that leadership moves.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_try_again_sees_a_node_stop() -> Result<()> {
    let mut rack = Rack::start(Disks::Directories, "").await?;
    let leader = rack.leader().await?;
    let writers: Result<Vec<Client>> = (0..WRITERS).map(|_| rack.client_on(leader)).collect();
    let load = Load::start(writers?, "once", VALUE_BYTES);
    load.goes_on(WRITERS as u64).await?;
    rack.servers[leader].stop().await?;
    rack.restart(&[leader]).await?;
    load.goes_on(WRITERS as u64).await?;
    let ledger = load.end().await?;
    ensure!(
        !ledger.failures.is_empty(),
        "no request failed: this load shows nothing"
    );
    Ok(())
}

/// Clients that read one secret over and over.
struct Readers {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<BTreeMap<String, u64>>>,
}

impl Readers {
    fn start(clients: Vec<Client>) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let tasks = clients.into_iter().map(|client| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut failures = BTreeMap::new();
                while !stop.load(Ordering::SeqCst) {
                    match get(&client, READ).await {
                        Ok(value) if value.contains(VALUE) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        Ok(value) => drop(failures.insert(format!("it holds {value}"), 1)),
                        Err(error) => *failures.entry(format!("{error:#}")).or_default() += 1,
                    }
                }
                failures
            })
        });
        let tasks = tasks.collect();
        Self { stop, answered, tasks }
    }

    async fn go_on(&self) -> Result<()> {
        let enough = self.answered.load(Ordering::SeqCst) + READERS as u64;
        eventually("reads are answered", || async {
            self.answered.load(Ordering::SeqCst) >= enough
        })
        .await
    }

    async fn end(self) -> Result<(u64, BTreeMap<String, u64>)> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = BTreeMap::new();
        for task in self.tasks {
            all.extend(task.await?);
        }
        Ok((self.answered.load(Ordering::SeqCst), all))
    }
}

/// Prints figures, which no test depends on.
fn told(what: &str, pauses: &mut [Duration]) {
    pauses.sort_unstable();
    let ms: Vec<String> = pauses
        .iter()
        .map(|pause| format!("{:.0}", pause.as_secs_f64() * 1e3))
        .collect();
    tell(&format!(
        "{what}: longest pause between two acknowledged writes, ms: {}",
        ms.join(" ")
    ));
}

const WRITERS: usize = 16;
const READERS: usize = 4;
const TRANSFERS: usize = 10;
const STOPS: usize = 3;
/// Enough that a request that hangs shows as a pause.
const WRITES_BETWEEN: u64 = 300;
const VALUE_BYTES: usize = 200;
const READ: &str = "secret/read";
const VALUE: &str = "as it was";
