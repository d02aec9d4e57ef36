//! The audit log, pruned: the files and proofs of before and after hold together, on nodes that were there, that slept, and that lost everything.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, binary, equal_states, eventually, files_below, get, operator, put, tell};
use serde_json::Value;

/// What the auditors' program says.
fn verified(arguments: &[&str]) -> Result<Value> {
    let program = binary().with_file_name("aumbry-verify");
    let output = Command::new(&program)
        .args(arguments)
        .args(["--output", "json"])
        .output();
    let output = output.with_context(|| format!("{} runs: build the workspace", program.display()))?;
    ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// A command of the root token: its exit code, and what it says.
fn run(cluster: &Cluster, arguments: &[&str]) -> Result<(i32, Value, String)> {
    let output = cluster.cli(&[arguments, &["--output", "json"]].concat(), "")?;
    let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let code = output.status.code().unwrap_or(-1);
    Ok((code, told, String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn done(cluster: &Cluster, arguments: &[&str]) -> Result<Value> {
    let (code, told, error) = run(cluster, arguments)?;
    ensure!(code == 0, "{arguments:?}: {error}");
    Ok(told)
}

async fn work(cluster: &Cluster, count: u64) -> Result<()> {
    let client = cluster.client()?;
    for _ in 0..count {
        client.call(v1::StatusRequest::default()).await?;
    }
    Ok(())
}

/// Has every node drop its log early, so that who slept is sent a snapshot.
async fn shorten_logs(cluster: &Cluster) -> Result<()> {
    for id in 1..=3 {
        let config = cluster.node(id)?.config;
        let text = std::fs::read_to_string(&config)?;
        // Its last section is that of Raft.
        std::fs::write(&config, format!("{text}snapshot_log_bytes = 1048576\n"))?;
        cluster.stop(id)?;
        cluster.restart(id)?;
        cluster.unseal(id).await?;
    }
    Ok(())
}

/// Writes until the logs of the others begin after what the sleeper has missed.
async fn outrun(cluster: &Cluster, sleeper: u64, missed: u64) -> Result<()> {
    let client = cluster.client()?;
    for number in 0..40 {
        put(&client, &format!("secret/big-{number}"), &"x".repeat(100_000)).await?;
    }
    for id in (1..=3).filter(|id| *id != sleeper) {
        eventually("the log is purged behind a snapshot", || async {
            cluster.status(id).await.is_ok_and(|status| status.purged >= missed)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_stays_proved_and_is_missed_by_nobody() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    shorten_logs(&cluster).await?;
    work(&cluster, 700).await?;
    let leader = cluster.leader().await?;
    let sleeper = leader % 3 + 1;
    cluster.kill(sleeper)?;
    // What it has missed for certain: once that is purged from the logs, only a snapshot helps.
    work(&cluster, 1).await?;
    let missed = cluster.status(cluster.leader().await?).await?.applied;

    // What goes is exported first, and its checkpoint kept.
    let pin = done(&cluster, &["audit", "checkpoint"])?["fingerprint"].clone();
    let pin = pin.as_str().context("a fingerprint")?;
    done(&cluster, &["audit", "export", &at("before")])?;
    let before = verified(&[
        "export",
        &at("before"),
        "--fingerprint",
        pin,
        "--save-checkpoint",
        &at("kept"),
    ])?;
    ensure!(before["verified"] == true, "{before}");

    let refused = run(&cluster, &["audit", "prune", "--before", "600"])?;
    ensure!(refused.0 != 0 && refused.2.contains("--without-archive"), "{refused:?}");
    let refused = run(&cluster, &["audit", "prune", "--before", "900000", "--without-archive"])?;
    ensure!(refused.0 != 0 && refused.2.contains("the log has"), "{refused:?}");
    let dry = done(&cluster, &["audit", "prune", "--before", "600", "--dry-run"])?;
    ensure!(dry["floor"] == 512 && dry["pruned"] == false, "{dry}");
    let told = done(&cluster, &["audit", "prune", "--before", "600", "--without-archive"])?;
    ensure!(told["floor"] == 512 && told["pruned"] == true, "{told}");
    let again = run(&cluster, &["audit", "prune", "--before", "600", "--without-archive"])?;
    ensure!(again.0 != 0 && again.2.contains("nothing would go"), "{again:?}");
    work(&cluster, 50).await?;

    // What is left is verified by itself, and against what was kept; the edge cannot be forged.
    let export = done(&cluster, &["audit", "export", &at("after")])?;
    ensure!(export["first_seq"] == 512, "{export}");
    let after = verified(&["export", &at("after"), "--fingerprint", pin, "--kept", &at("kept")])?;
    ensure!(after["verified"] == true && after["first_seq"] == 512, "{after}");
    ensure!(
        after["kept_compared"].as_array().is_some_and(|sizes| sizes.len() == 1),
        "{after}"
    );
    forged_edges(folder.path(), pin)?;
    let floor = done(&cluster, &["audit", "floor", "--out", &at("floor")])?;
    ensure!(floor["floor"] == 512, "{floor}");
    let old = verified(&["export", &at("before"), "--fingerprint", pin, "--kept", &at("floor")])?;
    ensure!(old["verified"] == true && old["kept_compared"][0] == 512, "{old}");
    let size = before["size"].as_u64().context("a size")?.to_string();
    done(
        &cluster,
        &["audit", "consistency", "--from", &size, "--out", &at("growth")],
    )?;
    let growth = [at("growth/old.json"), at("growth/new.json"), at("growth/proof.json")];
    let growth = verified(&["consistency", &growth[0], &growth[1], &growth[2], "--fingerprint", pin])?;
    ensure!(growth["verified"] == true, "{growth}");
    let pruned = run(&cluster, &["audit", "proof", "--seq", "5", "--out", &at("none")])?;
    ensure!(
        pruned.0 != 0 && pruned.2.contains("begins with record 512"),
        "{pruned:?}"
    );
    let log = run(&cluster, &["audit", "log", "--from", "0", "--limit", "1"])?;
    ensure!(
        log.1["seq"] == 512 && log.2.contains("begins with record 512"),
        "{log:?}"
    );

    outrun(&cluster, sleeper, missed).await?;

    // Who slept hears of it; who lost everything gets what is left from a peer, and both start again.
    cluster.restart(sleeper)?;
    cluster.unseal(sleeper).await?;
    let clients = || (1..=3).map(|id| cluster.client_on(id)).collect::<Result<Vec<_>>>();
    equal_states(&clients()?).await?;
    cluster.stop(sleeper)?;
    let node = cluster.node(sleeper)?;
    let (config, data) = (Path::new(&node.config), Path::new(&node.data_dir));
    ensure!(operator("check", config, &[])?.0 == 0, "a floor is no damage");
    for part in ["audit", "snapshots"] {
        let files = files_below(&data.join(part))?;
        for file in files.iter().filter(|file| !file.ends_with("CURRENT")) {
            std::fs::remove_file(file)?;
        }
    }
    let (code, found) = operator("check", config, &[])?;
    ensure!(code == 8 && found["remedy"] == "repair-from-peers", "{found}");
    let (code, told) = operator("repair", config, &[])?;
    ensure!(code == 0, "{told}");
    cluster.restart(sleeper)?;
    cluster.unseal(sleeper).await?;
    equal_states(&clients()?).await?;
    let segments = files_below(&data.join("audit"))?;
    let first = segments
        .iter()
        .filter_map(|file| file.file_stem()?.to_str()?.parse::<u64>().ok())
        .min();
    ensure!(first.is_some_and(|first| (1..=512).contains(&first)), "{segments:?}");
    for _ in 0..2 {
        cluster.stop(sleeper)?;
        ensure!(operator("check", config, &[])?.0 == 0, "it begins where the floor is");
        cluster.restart(sleeper)?;
        cluster.unseal(sleeper).await?;
    }

    // It leads, and proves what it has.
    let client = cluster.client()?;
    eventually("it leads", || async {
        let request = v1::TransferRequest {
            node_id: sleeper,
            ..Default::default()
        };
        let _ = client.call(request).await;
        cluster.leader().await.is_ok_and(|leader| leader == sleeper)
    })
    .await?;
    done(&cluster, &["audit", "proof", "--seq", "600", "--out", &at("late")])?;
    let late = [
        at("late/record.json"),
        at("late/proof.json"),
        at("late/checkpoint.json"),
    ];
    let late = verified(&["inclusion", &late[0], &late[1], &late[2], "--fingerprint", pin])?;
    ensure!(late["verified"] == true, "{late}");
    work(&cluster, 300).await?;
    let told = done(&cluster, &["audit", "prune", "--before", "800", "--without-archive"])?;
    ensure!(told["floor"] == 768 && told["first"] == 512, "{told}");
    done(&cluster, &["audit", "export", &at("last")])?;
    let last = verified(&["export", &at("last"), "--fingerprint", pin])?;
    ensure!(last["verified"] == true && last["first_seq"] == 768, "{last}");
    Ok(())
}

/// Exports whose beginning somebody changed: another tree before the first record, records taken out at the edge, and an edge of one's own.
fn forged_edges(folder: &Path, pin: &str) -> Result<()> {
    let text = std::fs::read_to_string(folder.join("after"))?;
    let lines: Vec<&str> = text.lines().collect();
    let header: Value = serde_json::from_str(lines[0])?;
    let frontier = header["frontier"].as_str().context("it begins with a tree")?;
    let mut other: Vec<char> = frontier.chars().collect();
    let middle = other.len() / 2;
    other[middle] = if other[middle] == 'A' { 'B' } else { 'A' };
    let other = lines[0].replace(frontier, &other.iter().collect::<String>());
    let whole = lines[0]
        .replace(&format!(",\"frontier\":\"{frontier}\""), "")
        .replace("\"first_seq\":512", "\"first_seq\":0");
    let cases: [(&str, Vec<&str>); 4] = [
        ("altered", [&[other.as_str()][..], &lines[1..]].concat()),
        // Without the checkpoint of the floor the next one tells.
        ("altered", [&[other.as_str()][..], &lines[2..]].concat()),
        ("removed", [&lines[..2], &lines[3..]].concat()),
        ("removed", [&[whole.as_str()][..], &lines[1..]].concat()),
    ];
    for (number, (fault, lines)) in cases.iter().enumerate() {
        let path = folder.join(format!("forged-{number}"));
        std::fs::write(&path, lines.join("\n") + "\n")?;
        let verdict = verified(&["export", &path.to_string_lossy(), "--fingerprint", pin])?;
        ensure!(
            verdict["verified"] == false && verdict["fault"] == *fault,
            "case {number}: {verdict}"
        );
    }
    Ok(())
}

/// Three nodes with one archive write the same files, which hold each other and are verified; what they have may go, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_archive_has_may_go() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("archive");
    for id in 1..=3 {
        let config = cluster.node(id)?.config;
        let text = std::fs::read_to_string(&config)?;
        std::fs::write(&config, format!("{text}[audit.archive]\ndirectory = {archive:?}\n"))?;
        cluster.stop(id)?;
        cluster.restart(id)?;
        cluster.unseal(id).await?;
    }
    // It is not there yet: requests go on, and it is tried again.
    let (code, _, error) = run(&cluster, &["audit", "prune", "--before", "256"])?;
    ensure!(code != 0, "{error}");
    std::fs::create_dir(&archive)?;
    let client = cluster.client()?;
    let mut working = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let client = client.clone();
        working.spawn(async move {
            for _ in 0..270 {
                client.call(v1::StatusRequest::default()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(worked) = working.join_next().await {
        worked??;
    }
    let files = [0, 4_096].map(|first: u64| archive.join(format!("{first:020}.audit")));
    eventually("the log is archived", || async {
        files.iter().all(|file| file.exists())
    })
    .await?;
    let pin = done(&cluster, &["audit", "checkpoint"])?["fingerprint"].clone();
    let pin = pin.as_str().context("a fingerprint")?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let [first, second] = files.clone().map(|file| file.to_string_lossy().into_owned());
    let verdict = verified(&["export", &first, "--fingerprint", pin, "--save-checkpoint", &at("kept")])?;
    ensure!(verdict["verified"] == true && verdict["size"] == 4_096, "{verdict}");
    let verdict = verified(&["export", &second, "--fingerprint", pin, "--kept", &at("kept")])?;
    ensure!(
        verdict["verified"] == true && verdict["first_seq"] == 4_096,
        "{verdict}"
    );

    // A node that lost its files' names, or died before it gave one, writes the same bytes again.
    let before = std::fs::read(&files[1])?;
    std::fs::rename(&files[1], archive.join("00000000000000004096.part-1"))?;
    for id in 1..=3 {
        cluster.stop(id)?;
        cluster.restart(id)?;
        cluster.unseal(id).await?;
    }
    eventually("it is there again", || async { files[1].exists() }).await?;
    ensure!(std::fs::read(&files[1])? == before, "the same piece has other bytes");
    eventually("the leader has seen both", || async {
        let prune = ["audit", "prune", "--before", "7936"];
        run(&cluster, &prune).is_ok_and(|(code, told, _)| code == 0 && told["floor"] == 7_936)
    })
    .await?;
    let (code, _, error) = run(&cluster, &["audit", "prune", "--before", "8448"])?;
    ensure!(code != 0 && error.contains("before 8192"), "{error}");

    // With what is left in the log the files are one chain.
    done(&cluster, &["audit", "export", &at("rest")])?;
    verified(&[
        "export",
        &second,
        "--fingerprint",
        pin,
        "--save-checkpoint",
        &at("last"),
    ])?;
    let rest = verified(&["export", &at("rest"), "--fingerprint", pin, "--kept", &at("last")])?;
    ensure!(rest["verified"] == true && rest["first_seq"] == 7_936, "{rest}");

    // A sink that begins now, with the first record, begins with the first that is kept.
    done(&cluster, &["audit", "prune", "--before", "8192"])?;
    let (config, sink) = (cluster.node(1)?.config, folder.path().join("sink"));
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(
        &config,
        format!("{text}[[audit.file]]\nname = \"late\"\npath = {sink:?}\n"),
    )?;
    cluster.stop(1)?;
    cluster.restart(1)?;
    cluster.unseal(1).await?;
    let lines = || std::fs::read_to_string(&sink).unwrap_or_default();
    eventually("the sink writes", || async { lines().lines().count() > 5 }).await?;
    let seqs: Vec<u64> = lines()
        .lines()
        .take(5)
        .map(|line| Ok(serde_json::from_str::<Value>(line)?["seq"].as_u64().unwrap_or_default()))
        .collect::<Result<_>>()?;
    ensure!(seqs == [8_192, 8_193, 8_194, 8_195, 8_196], "{seqs:?}");
    Ok(())
}

/// What records cost on the disk, told for `docs/audit.md`. The bound is that of a record in an entry of its own, which has nobody to share with.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_record_costs_on_the_disk() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let client = cluster.client()?;
    put(&client, "secret/team/app", "x").await?;
    let data = cluster.node(1)?.data_dir;
    let used = || -> Result<u64> {
        let files = [Path::new(&data).join("audit"), Path::new(&data).join("tree")].map(|part| files_below(&part));
        let mut bytes = 0;
        for file in files.into_iter().collect::<Result<Vec<_>>>()?.concat() {
            bytes += std::fs::metadata(&file)?.len();
        }
        Ok(bytes)
    };
    for (what, lanes, is_write) in [
        ("read", 1, false),
        ("read", 64, false),
        ("write", 1, true),
        ("write", 64, true),
    ] {
        let before = end(&client).await?;
        let bytes = used()?;
        let mut working = tokio::task::JoinSet::new();
        for lane in 0..lanes {
            let client = client.clone();
            working.spawn(async move {
                for _ in 0..1_024 / lanes {
                    if is_write {
                        put(&client, &format!("secret/team/app-{lane}"), "x").await?;
                    } else {
                        get(&client, "secret/team/app").await?;
                    }
                }
                anyhow::Ok(())
            });
        }
        while let Some(worked) = working.join_next().await {
            worked??;
        }
        // Whoever reads the log has what was gathered written.
        let records = end(&client).await? - before;
        let each = (used()? - bytes) / records;
        tell(&format!("a {what} by {lanes} at once: {each} bytes a record"));
        ensure!(
            (1..700).contains(&each),
            "a {what} by {lanes} at once: {each} bytes a record"
        );
    }
    Ok(())
}

/// The number of the record of this very look.
async fn end(client: &Client) -> Result<u64> {
    let request = v1::AuditReadRequest {
        from: u64::MAX,
        limit: 1,
        ..Default::default()
    };
    Ok(client.call(request).await?.header.context("a header")?.audit_seq)
}
