//! Disks that fill up, and get room again. Nobody starts or repairs anything by hand: what was acknowledged is there, and service comes back.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Disks, Load, Rack, can_mount, eventually, in_mount_namespace};
use aumbry_types::SecretBytes;

/// A follower, then the leader: the others go on, behind a snapshot too.
#[test]
fn a_minority_of_full_disks_stops_nobody() -> Result<()> {
    on_small_disks("a_minority_of_full_disks_stops_nobody", async |rack: &mut Rack| {
        let clients = (0..WRITERS).map(|_| rack.client()).collect::<Result<Vec<_>>>()?;
        let load = Load::start(clients, "minority", VALUE_BYTES);
        load.goes_on(WRITES).await?;

        let leader = rack.leader().await?;
        let follower = (leader + 1) % 3;
        rack.volumes[follower].fill(FLOOR / 2)?;
        is_not_ready(rack, follower).await?;
        takes_nothing_more(rack, follower).await?;
        let stood = rack.status(follower).await?.last_log;
        // So much that the others keep no log for it.
        eventually("the others purge what the full node lacks", || async {
            rack.status(leader).await.is_ok_and(|status| status.purged > stood + 10)
        })
        .await?;
        let there = rack.status(follower).await?;
        ensure!(
            there.last_log < stood + 10,
            "the full node took entries: {stood}, {}",
            there.last_log
        );
        ensure!(
            rack.volumes[follower].free()? > FLOOR / 8,
            "the full node went on filling its disk"
        );
        for at in 0..3 {
            ensure!(rack.ask(at, "/ready").await?.code == if at == follower { 503 } else { 200 });
        }
        rack.volumes[follower].free_up()?;
        is_ready(rack, follower).await?;
        catches_up(rack, follower, stood).await?;

        let leader = rack.leader().await?;
        rack.volumes[leader].fill(FLOOR / 2)?;
        is_not_ready(rack, leader).await?;
        eventually("another node leads", || async {
            rack.status(leader)
                .await
                .is_ok_and(|status| status.leader_id != 0 && status.leader_id != leader as u64 + 1)
        })
        .await?;
        load.goes_on(WRITES).await?;
        let stood = rack.status(leader).await?.last_log;
        rack.volumes[leader].free_up()?;
        is_ready(rack, leader).await?;
        catches_up(rack, leader, stood).await?;
        load.goes_on(WRITES).await?;
        all_is_there(rack, load).await
    })
}

/// All of them: nothing is answered that cannot be recorded, and it is said why.
///
/// Abuse cases: 82.
#[test]
fn full_disks_refuse_everything_and_say_so() -> Result<()> {
    on_small_disks("full_disks_refuse_everything_and_say_so", async |rack: &mut Rack| {
        let clients = (0..WRITERS).map(|_| rack.client()).collect::<Result<Vec<_>>>()?;
        let load = Load::start(clients, "all", VALUE_BYTES);
        load.goes_on(WRITES).await?;
        for volume in &rack.volumes {
            volume.fill(RESERVE * 3 / 4)?;
        }
        for at in 0..3 {
            is_not_ready(rack, at).await?;
        }
        // From any node, and for reads too.
        for at in 0..3 {
            refuses(rack, at).await?;
            // The load may have brought about an election.
            let client = rack.servers[at].client_as(SecretBytes::default())?;
            eventually(
                "a leader is known, and the status is told while there is some room",
                || async {
                    client.health(None).await.is_ok_and(|health| health.leader_known)
                        && rack.status(at).await.is_ok_and(|status| !status.sealed)
                },
            )
            .await?;
        }
        let before = load.acknowledged();
        // A quarter of it is left to nobody but consensus.
        for volume in &rack.volumes {
            volume.fill(FLOOR / 2)?;
        }
        for at in 0..3 {
            takes_nothing_more(rack, at).await?;
        }
        // Those that are left go on saying so, whether one of them can lead or not.
        let leader = rack.leader().await?;
        rack.kill(&[leader])?;
        eventually("the others say why they serve nobody", || async {
            let mut refused = 0;
            for at in (0..3).filter(|at| *at != leader) {
                refused += u32::from(refuses(rack, at).await.is_ok());
            }
            refused == 2
        })
        .await?;
        ensure!(load.acknowledged() == before, "a write was acknowledged without room");
        for volume in &rack.volumes {
            volume.free_up()?;
        }
        rack.restart(&[leader]).await?;
        for at in 0..3 {
            is_ready(rack, at).await?;
        }
        load.goes_on(WRITES).await?;
        all_is_there(rack, load).await
    })
}

fn on_small_disks(name: &str, test: impl AsyncFnOnce(&mut Rack) -> Result<()>) -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    in_mount_namespace(name, || async {
        let mut rack = Rack::start(Disks::Volumes(VOLUME_BYTES), CONFIG).await?;
        for at in 0..3 {
            is_ready(&rack, at).await?;
        }
        let result = test(&mut rack).await;
        result.with_context(|| rack.logs())
    })
}

/// It says so to load balancers and to Prometheus.
async fn is_not_ready(rack: &Rack, at: usize) -> Result<()> {
    eventually("the node is not ready", || async {
        let told = rack.ask(at, "/ready").await;
        told.is_ok_and(|told| told.code == 503 && told.json()["disk_full"] == true)
    })
    .await?;
    let free = rack.metric(at, "aumbry_disk_free_bytes").await?;
    let reserve = rack.metric(at, "aumbry_disk_reserve_bytes").await?;
    ensure!(
        free < reserve && reserve == RESERVE as f64,
        "{free} bytes free, and {reserve} in reserve"
    );
    Ok(())
}

async fn is_ready(rack: &Rack, at: usize) -> Result<()> {
    eventually("the node is ready", || async {
        let told = rack.ask(at, "/ready").await;
        told.is_ok_and(|told| told.code == 200 && told.json()["disk_full"] == false)
    })
    .await
}

/// By its own word, in its log.
async fn takes_nothing_more(rack: &Rack, at: usize) -> Result<()> {
    eventually("the node says that it takes no more entries", || async {
        let log = rack.servers[at].log();
        let last = log.lines().rfind(|line| line.contains("storage::space"));
        last.is_some_and(|line| line.contains("this node takes no more entries"))
    })
    .await
}

/// A read and a write, asked of one node.
async fn refuses(rack: &Rack, at: usize) -> Result<()> {
    let client = rack.client_on(at)?;
    let get = v1::KvGetRequest {
        path: "secret/all/0/1".to_owned(),
        ..Default::default()
    };
    let put = v1::KvPutRequest {
        path: "secret/refused".to_owned(),
        data: "{}".into(),
        ..Default::default()
    };
    let refused = [client.call(get).await.err(), client.call(put).await.err()];
    for error in refused {
        let error = error.context("a request was served without room")?;
        let failure = error.failure().context("it is not told why")?;
        ensure!(
            failure.reason == "DISK_FULL"
                && failure.code == RESOURCE_EXHAUSTED
                && failure.outcome() == v1::OutcomeClass::NotApplied
                && failure.retry_after_ms >= 1_000
                && failure.message.contains("make room"),
            "{}: {}",
            failure.reason,
            failure.message
        );
    }
    Ok(())
}

async fn catches_up(rack: &Rack, at: usize, stood: u64) -> Result<()> {
    eventually("the node catches up by itself", || async {
        let (there, leader) = (rack.status(at).await, rack.leader().await);
        let Ok(there) = there else { return false };
        let Ok(leader) = leader else { return false };
        let ahead = rack.status(leader).await.map_or(u64::MAX, |status| status.applied);
        there.applied > stood && there.applied + LAG_MAX > ahead
    })
    .await
}

async fn all_is_there(rack: &mut Rack, load: Load) -> Result<()> {
    let ledger = load.end().await?;
    let client = rack.client()?;
    ledger.check(&client).await?;
    ledger.check_records(&client).await?;
    rack.equal_states().await?;
    rack.verify_audit()?;
    ensure!(
        rack.servers.iter_mut().all(|server| !server.has_ended()),
        "a node has ended"
    );
    Ok(())
}

const CONFIG: &str = "snapshot_log_bytes = 4194304\n[limits]\ndisk_reserve_bytes = 134217728\n";
/// A file that others use, so much is the rest: the log's files alone may take some hundred megabytes.
const VOLUME_BYTES: u64 = 1 << 30;
const RESERVE: u64 = 128 << 20;
/// Below it a follower takes no entries.
const FLOOR: u64 = RESERVE / 4;
const WRITERS: usize = 4;
const VALUE_BYTES: usize = 16_000;
const WRITES: u64 = 200;
/// What is on its way under load.
const LAG_MAX: u64 = 100;
/// The code of gRPC.
const RESOURCE_EXHAUSTED: u32 = 8;
