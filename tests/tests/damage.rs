//! A damaged disk: refused or repaired with a clear message, never a vote on lost data, never wrong data.
//!
//! Files of a stopped follower are flipped, cut and removed. It starts and has exactly the state of the others, or it refuses in one line; then
//! `aumbry operator check` finds the damage and names the remedy, and the remedy brings the node back to the state of the others. These keep serving all
//! the while.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{
    Cluster, Dice, Server, Trio, Unusual, copy_directory, eventually, files_below, flip, flip_middle, get, is_clear,
    newest, operator, put, tell, used_bytes,
};
use aumbry_types::SecretBytes;

/// Flips of one bit each, half of them in the log and half in the tables.
const FLIPS: u64 = 20;

/// Abuse cases: 89.
#[tokio::test(flavor = "multi_thread")]
async fn a_flip_anywhere_in_log_or_tables_is_harmless_or_refused_and_repaired() -> Result<()> {
    let mut dice = Dice::new();
    let mut bed = Trio::start().await?;
    bed.fill().await?;
    let (mut refused, mut remedies) = (0, Vec::new());
    for round in 0..FLIPS {
        bed.victim.stop().await?;
        let place = ["log/wal", "state"][(round % 2) as usize];
        let files: Vec<PathBuf> = files_below(&bed.victim.data().join(place))?
            .into_iter()
            .filter(is_data)
            .collect();
        let file = &files[dice.below(files.len() as u64) as usize];
        let byte = dice.below(used_bytes(file)?);
        let what = format!("round {round}: {}, byte {byte}", file.display());
        tell(&what);
        flip(file, byte, dice.below(8) as u32)?;

        // The others are not disturbed.
        bed.write(3, "while it is down").await?;
        let refusal = bed.victim.try_run().await.context(what.clone())?;
        if let Some(refusal) = &refusal {
            is_clear(refusal, &bed.victim.data()).context(what.clone())?;
        }
        let is_up = refusal.is_none() && bed.catches_up().await.context(what.clone())?;
        bed.victim.stop().await?;
        // A block that was not read yet is found by reading everything.
        let (code, found) = operator("check", &bed.victim.config(), &[])?;
        ensure!(
            is_up || code == 8,
            "{what}: it refused to start, and nothing is found: {refusal:?}"
        );
        let remedy = found["remedy"].as_str().unwrap_or_default().to_owned();
        tell(&format!(
            "  refused: {}, check: {code}, remedy: {remedy}, {}",
            !is_up, found["findings"]
        ));
        refused += u64::from(!is_up);
        bed.bring_back(&remedy).await.context(what)?;
        remedies.push(remedy);
    }
    ensure!(
        refused > FLIPS / 4,
        "only {refused} flips did harm: the run shows nothing"
    );
    tell(&format!("{refused} of {FLIPS} refused; remedies: {remedies:?}"));
    bed.all_is_there().await
}

/// Files in which a flip can do harm. RocksDB writes the others and never reads them.
fn is_data(path: &PathBuf) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_read = ["CURRENT", "MANIFEST", ".sst", ".log", ".seg", "taken"]
        .iter()
        .any(|part| name.contains(part));
    is_read && fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_comes_back_from_a_peer_and_nothing_is_answered_before() -> Result<()> {
    let mut bed = Trio::start().await?;
    bed.fill().await?;
    bed.victim.stop().await?;
    let data = bed.victim.data();
    for directory in ["audit", "snapshots"] {
        for file in files_below(&data.join(directory))?
            .iter()
            .filter(|file| !file.ends_with("CURRENT"))
        {
            fs::remove_file(file)?;
        }
    }
    let refusal = bed
        .victim
        .try_run()
        .await?
        .context("it started without its audit log")?;
    is_clear(&refusal, &data)?;
    let (code, found) = operator("check", &bed.victim.config(), &[])?;
    ensure!(code == 8 && found["remedy"] == "repair-from-peers", "{found}");
    bed.write(5, "while it is down").await?;
    let (code, told) = operator("repair", &bed.victim.config(), &[])?;
    ensure!(code == 0 && data.join("damaged-1/state").exists(), "{told}");

    // Nobody is there who could help: it waits, and says so. With its vote the one that is left would have a quorum.
    for server in &mut bed.sound {
        server.kill()?;
    }
    bed.victim.spawn()?;
    eventually("it says that it waits", || async {
        bed.victim
            .log()
            .contains("no peer gave a snapshot; this node takes no part")
    })
    .await?;
    bed.sound[0].run().await?;
    let waiting = bed.victim.client_as(SecretBytes::default())?;
    bed.sound[1].run().await?;
    eventually("it is up", || async { waiting.health(None).await.is_ok() }).await?;
    bed.unseal_sound().await?;
    ensure!(bed.catches_up().await?, "{}", bed.victim.log());
    ensure!(bed.victim.log().contains("the applied state is back"));
    bed.all_is_there().await?;
    // All of it: rows, audit bodies and their tree.
    bed.victim.stop().await?;
    let (code, found) = operator("check", &bed.victim.config(), &[])?;
    ensure!(code == 0 && found["remedy"] == "nothing", "{found}");
    let (code, told) = operator("repair", &bed.victim.config(), &[])?;
    ensure!(code == 0 && told["set_aside"].is_null(), "{told}");
    Ok(())
}

/// A cluster of one repairs itself from its own log, and where that is gone it says that only a backup helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_has_only_its_own_log() -> Result<()> {
    let cluster = Cluster::start(1)?;
    put(&cluster.client()?, "secret/one", "kept").await?;
    cluster.stop(1)?;
    let node = cluster.node(1)?;
    let (config, data) = (PathBuf::from(&node.config), PathBuf::from(&node.data_dir));
    flip_middle(&newest(&data.join("state"), ".sst")?)?;
    let (code, found) = operator("check", &config, &[])?;
    ensure!(code == 8 && found["remedy"] == "repair", "{found}");
    let (code, told) = operator("repair", &config, &[])?;
    ensure!(code == 0, "{told}");
    cluster.restart(1)?;
    cluster.unseal(1).await?;
    ensure!(get(&cluster.client()?, "secret/one").await?.contains("kept"));

    cluster.stop(1)?;
    fs::remove_dir_all(data.join("log/wal"))?;
    let (code, found) = operator("check", &config, &[])?;
    ensure!(code == 8 && found["remedy"] == "restore", "{found}");
    let (code, _) = operator("repair", &config, &[])?;
    ensure!(code == 8);
    let refused = cluster.restart(1).err().context("it started without its log")?;
    ensure!(format!("{refused:#}").contains("aumbry operator check"), "{refused:#}");
    Ok(())
}

/// A block that is not read for long is damaged all the while. Whoever asks for it gets the right value or none, and the process ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_never_served() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let directory = tempfile::tempdir()?;
    let mut server = Server::start(&directory.path().join("one"), &cluster, &Unusual::default()).await?;
    let init = v1::InitRequest {
        shares: 1,
        threshold: 1,
        ..Default::default()
    };
    let made = server.client_as(SecretBytes::default())?.init(init).await?;
    let shares = [String::from_utf8(made.shares[0].to_vec())?];
    server.unseal(&shares).await?;
    let root = server.client_as(SecretBytes::new(made.root_token.to_vec()))?;
    let values: Vec<String> = (0..60).map(|n| format!("{n}-{}", "x".repeat(16 << 10))).collect();
    for (n, value) in values.iter().enumerate() {
        put(&root, &format!("secret/large/{n}"), value).await?;
    }
    server.stop().await?;
    // The values are most of the table, so its middle is one of them.
    let table = newest(&server.data().join("state"), ".sst")?;
    ensure!(fs::metadata(&table)?.len() > 900_000, "the values are elsewhere");
    flip_middle(&table)?;
    let before = server.log().len();
    server.run().await?;
    server.unseal(&shares).await?;
    for (n, value) in values.iter().enumerate() {
        if let Ok(read) = get(&root, &format!("secret/large/{n}")).await {
            ensure!(read.contains(value.as_str()), "a wrong value was served");
        }
    }
    eventually("the process has ended", || std::future::ready(server.has_ended())).await?;
    let refusal = aumbry_tests::Refusal {
        code: -1,
        text: server.log().split_off(before),
    };
    is_clear(&refusal, &server.data())?;
    let (code, found) = operator("check", &server.config(), &[])?;
    ensure!(
        code == 8 && found["findings"][0]["path"] == table.to_string_lossy().as_ref(),
        "{found}"
    );
    Ok(())
}

/// An older copy of one part beside newer ones: what it lacks is noticed, or is had from the others.
///
/// Abuse cases: 111.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_a_part_is_noticed() -> Result<()> {
    let mut bed = Trio::start().await?;
    bed.fill().await?;
    bed.victim.stop().await?;
    let (data, old) = (bed.victim.data(), bed.directory().join("old"));
    copy_directory(&data, &old)?;
    bed.victim.run().await?;
    ensure!(bed.catches_up().await?);
    bed.fill().await?;
    bed.victim.stop().await?;
    for part in ["log", "audit", "state"] {
        let kept = bed.directory().join("kept");
        fs::rename(data.join(part), &kept)?;
        copy_directory(&old.join(part), &data.join(part))?;
        let (found_code, found) = operator("check", &bed.victim.config(), &[])?;
        let (code, remedy) = match part {
            "log" => (8, "discard"),
            // As long as the log reaches back to them, older rows are only a longer way to the same state.
            "state" if found["log"]["first"].as_u64() <= found["applied_index"].as_u64().map(|last| last + 1) => {
                (0, "nothing")
            }
            _ => (8, "repair-from-peers"),
        };
        ensure!(found_code == code && found["remedy"] == remedy, "{part}: {found}");
        let refusal = bed.victim.try_run().await?;
        ensure!(refusal.is_some() == (code == 8), "{part}: {refusal:?}");
        if let Some(refusal) = refusal {
            is_clear(&refusal, &data).context(part)?;
            fs::remove_dir_all(data.join(part))?;
            fs::rename(&kept, data.join(part))?;
        }
    }
    // Old rows are taken or refused, by how far the log reaches back.
    if bed.victim.process().is_none() {
        bed.victim.run().await?;
    }
    ensure!(bed.catches_up().await?, "{}", bed.victim.log());
    bed.all_is_there().await
}
