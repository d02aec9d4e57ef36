//! A sync that fails once: the kernel may have dropped the bytes, and would call the next one a success. So the node ends, and says so.

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Disks, Load, Rack, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_of_the_log_ends_the_leader() -> Result<()> {
    check("/data/log/", Victim::Leader).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_of_the_log_ends_a_follower() -> Result<()> {
    check("/data/log/", Victim::Follower).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_of_the_audit_bodies_ends_the_node() -> Result<()> {
    check("/data/audit/", Victim::Leader).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_of_the_rows_ends_the_node() -> Result<()> {
    check("/data/state/", Victim::Follower).await
}

enum Victim {
    Leader,
    Follower,
}

async fn check(place: &'static str, victim: Victim) -> Result<()> {
    let mut rack = Rack::start(Disks::Failing(place), CONFIG).await?;
    let result = strike(&mut rack, place, victim).await;
    result.with_context(|| rack.logs())
}

async fn strike(rack: &mut Rack, place: &str, victim: Victim) -> Result<()> {
    let leader = rack.leader().await?;
    let victim = match victim {
        Victim::Leader => leader,
        Victim::Follower => (leader + 1) % 3,
    };
    let clients = (0..WRITERS).map(|_| rack.client()).collect::<Result<Vec<_>>>()?;
    let load = Load::start(clients, "syncs", VALUE_BYTES);
    // Past a snapshot, so that everything has been synced in this place before.
    load.goes_on(WRITES).await?;
    ensure!(!rack.servers[victim].has_ended(), "it ended without a reason");
    let before = rack.servers[victim].log().len();
    rack.fail_next_sync(victim)?;
    let code = rack.servers[victim].ended().await?;
    ensure!(code == -1, "it ended in good order, with {code}");
    let (failed, synced) = rack.failed_sync(victim)?.context("no sync failed")?;
    ensure!(failed.contains(place), "{failed}");
    ensure!(!synced.contains(&failed), "{failed} was synced again after it failed");
    let log = rack.servers[victim].log().split_off(before);
    let told = log.lines().filter(|line| {
        line.contains("the process stops, because storage cannot be trusted") && line.contains("aumbry operator check")
    });
    ensure!(told.count() == 1 && !log.contains("panicked"), "{log}");
    // The others go on, and the node comes back by a person's hand.
    load.goes_on(WRITES / 4).await?;
    rack.restart(&[victim]).await?;
    load.goes_on(WRITES / 4).await?;
    let ledger = load.end().await?;
    let client = rack.client()?;
    ledger.check(&client).await?;
    ledger.check_records(&client).await?;
    rack.equal_states().await?;
    rack.verify_audit()?;
    eventually("the node is well", || async {
        rack.status(victim).await.is_ok_and(|status| !status.sealed)
    })
    .await
}

/// A log so short that rows and audit bodies are synced every few writes.
const CONFIG: &str = "snapshot_log_bytes = 1048576\n[limits]\ndisk_reserve_bytes = 16777216\n";
const WRITERS: usize = 4;
const VALUE_BYTES: usize = 8_000;
const WRITES: u64 = 400;
