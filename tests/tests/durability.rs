//! Kills and power failures under load: everything acknowledged is there, nothing is applied twice, and the audit log is whole.
//!
//! `AUMBRY_ROUNDS=50 cargo test --release --locked --workspace --test durability` makes so many rounds of each. What is random comes from a
//! seed that is printed.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::Client;
use aumbry_tests::{Dice, Disks, Ledger, Load, Rack, Volume, can_mount, in_mount_namespace, tell};

/// One, two or all three, at any moment.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kills() -> Result<()> {
    run(Disks::Directories, rounds(KILLS)?).await
}

/// As the kills, and what was not synced is gone with the power.
#[test]
fn nothing_acknowledged_is_lost_by_power_failures() -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    in_mount_namespace("nothing_acknowledged_is_lost_by_power_failures", || async {
        run(Disks::Volumes(VOLUME_BYTES), rounds(POWER_FAILURES)?).await
    })
}

/// The positive control: a disk without power forgets what was not synced, and keeps what was.
#[test]
fn a_power_failure_is_one() -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    in_mount_namespace("a_power_failure_is_one", || async {
        let directory = tempfile::tempdir()?;
        let mount = directory.path().join("disk");
        let volume = Volume::make(directory.path().join("image"), mount.clone(), 64 << 20)?;
        for (name, is_synced) in [("synced", true), ("unsynced", false)] {
            let path = mount.join(name);
            std::fs::write(&path, [7; 10_000])?;
            if is_synced {
                std::fs::File::open(&path)?.sync_all()?;
                std::fs::File::open(&mount)?.sync_all()?;
            }
        }
        Volume::cut(&[&volume])?;
        ensure!(
            std::fs::write(mount.join("late"), "late").is_err(),
            "the disk is written to without power"
        );
        volume.remount().await?;
        ensure!(
            std::fs::read(mount.join("synced"))? == [7; 10_000],
            "what was synced is lost"
        );
        let unsynced = std::fs::read(mount.join("unsynced")).unwrap_or_default();
        ensure!(
            unsynced != [7; 10_000],
            "what was not synced is there: this shows nothing"
        );
        Ok(())
    })
}

/// The positive control: a write that is not there is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_is_noticed() -> Result<()> {
    let rack = Rack::start(Disks::Directories, SMALL).await?;
    let load = Load::start(vec![rack.client()?], "lost", VALUE_BYTES);
    load.goes_on(1).await?;
    let mut ledger = load.end().await?;
    ledger.check(&rack.client()?).await?;
    ledger.check_records(&rack.client()?).await?;
    ledger
        .acknowledged
        .insert("secret/lost/0/never".to_owned(), "never".to_owned());
    let lost = ledger.check(&rack.client()?).await.err().context("it is not noticed")?;
    ensure!(lost.to_string().contains("is lost"), "{lost:#}");
    let unrecorded = ledger.check_records(&rack.client()?).await.err();
    let unrecorded = unrecorded.context("it is not noticed")?;
    ensure!(unrecorded.to_string().contains("has 0 records"), "{unrecorded:#}");
    Ok(())
}

async fn run(disks: Disks, rounds: u64) -> Result<()> {
    let mut rack = Rack::start(disks, SMALL).await?;
    let result = strike(&mut rack, rounds).await;
    result.with_context(|| rack.logs())
}

async fn strike(rack: &mut Rack, rounds: u64) -> Result<()> {
    let mut dice = Dice::new();
    let mut all = Ledger::default();
    for round in 1..=rounds {
        let clients: Result<Vec<Client>> = (0..WRITERS).map(|_| rack.client()).collect();
        let load = Load::start(clients?, &format!("round{round}"), VALUE_BYTES);
        load.goes_on(1 + dice.below(WRITES_MAX)).await?;
        // One node, two or three; the first of them is any.
        let (count, first) = (1 + dice.below(3), dice.below(3));
        let victims: Vec<usize> = (0..count).map(|n| ((first + n) % 3) as usize).collect();
        match rack.volumes.is_empty() {
            true => rack.kill(&victims)?,
            false => rack.cut_power(&victims).await?,
        }
        if count < 2 && round % 2 == 0 {
            // The others go on meanwhile, and what comes back is behind.
            load.goes_on(1 + dice.below(WRITES_MAX)).await?;
        }
        rack.remount(&victims).await?;
        rack.restart(&victims).await.with_context(|| format!("round {round}"))?;
        load.goes_on(WRITERS as u64)
            .await
            .with_context(|| format!("round {round}"))?;
        let ledger = load.end().await?;
        let checked = ledger.check(&rack.client()?).await;
        checked.with_context(|| format!("round {round}, nodes {victims:?}"))?;
        tell(&format!(
            "round {round}: nodes {victims:?}, {} acknowledged, {:?}",
            ledger.acknowledged.len(),
            ledger.failures
        ));
        all.extend(ledger);
    }
    let client = rack.client()?;
    all.check(&client).await?;
    all.check_records(&client).await?;
    rack.equal_states().await?;
    let records = rack.verify_audit()?;
    let acknowledged = all.acknowledged.len() as u64;
    ensure!(
        records > acknowledged && acknowledged > rounds * WRITERS as u64,
        "{acknowledged} writes and {records} records: the run shows nothing"
    );
    tell(&format!(
        "{rounds} rounds, {acknowledged} writes, {records} records verified"
    ));
    Ok(())
}

/// How many rounds: some, or as many as `AUMBRY_ROUNDS` says.
fn rounds(usual: u64) -> Result<u64> {
    match std::env::var("AUMBRY_ROUNDS") {
        Ok(rounds) => rounds.parse().context("AUMBRY_ROUNDS is a number"),
        Err(_) => Ok(usual),
    }
}

/// Logs so short that snapshots, flushes and purges are under way all the time.
const SMALL: &str = "snapshot_log_bytes = 1048576\n[limits]\ndisk_reserve_bytes = 16777216\n";
const KILLS: u64 = 6;
const POWER_FAILURES: u64 = 2;
const VOLUME_BYTES: u64 = 1 << 30;
const WRITERS: usize = 8;
const VALUE_BYTES: usize = 2_000;
/// Acknowledged writes before a blow, at most: about as many as fill the log twice.
const WRITES_MAX: u64 = 600;
