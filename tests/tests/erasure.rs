//! What was destroyed, and shredded, is in no file of any node: looked for byte by byte, as a backup from before says how it was stored.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_storage::Backup;
use aumbry_tests::{Cluster, eventually, files_below, get, put};
use serde_json::Value;

/// Three nodes, of which all are there; then with one that is down when the order comes and sealed when it comes back.
///
/// Abuse cases: 114.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_shredded_is_in_no_file() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let client = cluster.client()?;
    let mut stored = Stored::default();
    put(&client, "secret/kept", "kept").await?;
    let kept = stored.new_versions(&cluster)?;
    put(&client, "secret/gone", "gone").await?;
    let gone = stored.new_versions(&cluster)?;
    ensure!(
        on_nodes(&cluster, &gone)? == [true; 3],
        "the control: its bytes lie in the logs of all nodes"
    );
    let destroy = [
        "kv",
        "destroy",
        "--shred",
        "--versions",
        "1",
        "secret/gone",
        "--output",
        "json",
    ];
    let shredded = cluster.cli(&destroy, "")?;
    ensure!(
        shredded.status.success(),
        "{}",
        String::from_utf8_lossy(&shredded.stderr)
    );
    let told: Value = serde_json::from_slice(&shredded.stdout)?;
    ensure!(
        told["erased"] == true && told["keys_gone"] == false && told["root_key_replaced"] == false,
        "{told}"
    );
    ensure!(
        on_nodes(&cluster, &gone)? == [false; 3],
        "it lies in a file still: {told}"
    );
    ensure!(on_nodes(&cluster, &kept)? == [true; 3], "what is kept is there");
    ensure!(get(&client, "secret/kept").await?.contains("kept"));

    // One node is down. Of it nobody says that it is done.
    put(&client, "secret/gone", "gone again").await?;
    let gone = stored.new_versions(&cluster)?;
    let leader = cluster.leader().await?;
    let down = cluster
        .nodes()
        .into_iter()
        .find(|node| node.id != leader)
        .context("two follow")?;
    let at = cluster
        .nodes()
        .iter()
        .position(|node| node.id == down.id)
        .context("it is one of them")?;
    cluster.stop(down.id)?;
    let destroy = [
        "kv",
        "destroy",
        "--shred",
        "--timeout",
        "3s",
        "--versions",
        "2",
        "secret/gone",
    ];
    let shredded = cluster.cli(&destroy, "")?;
    let said = String::from_utf8_lossy(&shredded.stderr).into_owned();
    ensure!(
        !shredded.status.success() && said.contains("not every node is done"),
        "{said}"
    );
    let others_are_done = || async {
        let mut on = on_nodes(&cluster, &gone).unwrap_or([true; 3]);
        let is_left_there = std::mem::take(&mut on[at]);
        is_left_there && on == [false; 3]
    };
    eventually("the others are done", others_are_done).await?;
    // It is sealed when it comes back, obeys all the same, and says so.
    cluster.restart(down.id)?;
    let status = ["operator", "erase", "--status", "--field", "erased"];
    eventually("all are done", || async {
        let told = cluster.cli(&status, "");
        told.is_ok_and(|told| told.stdout.starts_with(b"true"))
    })
    .await
    .with_context(|| {
        let told = cluster.cli(&["operator", "erase", "--status"], "");
        told.map_or_else(
            |error| error.to_string(),
            |told| String::from_utf8_lossy(&told.stdout).into_owned(),
        )
    })?;
    ensure!(on_nodes(&cluster, &gone)? == [false; 3], "it lies in a file still");
    let sealed = cluster.client_on(down.id)?.seal_status(None).await?.sealed;
    ensure!(sealed, "it needs no keys for it");

    // Nothing was broken by it: all start again, have what was kept, and obey once more.
    for node in cluster.nodes() {
        cluster.kill(node.id)?;
    }
    for node in cluster.nodes() {
        cluster.restart(node.id)?;
    }
    for node in cluster.nodes() {
        cluster.unseal(node.id).await?;
    }
    ensure!(get(&client, "secret/kept").await?.contains("kept"));
    let again = cluster.cli(&["operator", "erase", "--wait", "--timeout", "2m"], "")?;
    ensure!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    Ok(())
}

/// What lies in the data directory set aside keeps a node from saying that it is done; and who may not order it does not.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_aside_is_waited_for() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let node = cluster.nodes().remove(0);
    let status = cluster.cli(&["operator", "erase", "--status"], "")?;
    ensure!(String::from_utf8_lossy(&status.stderr).contains("nothing was erased yet"));
    let aside = Path::new(&node.data_dir).join("damaged-1");
    std::fs::create_dir(&aside)?;
    let waits = cluster.cli(&["operator", "erase", "--wait", "--timeout", "2s"], "")?;
    let said = String::from_utf8_lossy(&waits.stderr).into_owned();
    ensure!(!waits.status.success() && said.contains("damaged-N"), "{said}");
    std::fs::remove_dir(&aside)?;
    let done = cluster.cli(&["operator", "erase", "--wait", "--timeout", "2m"], "")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    ensure!(String::from_utf8_lossy(&done.stdout).contains("3 backups and copies"));

    // `update` without `sudo` does not order it.
    let client = cluster.client()?;
    let policy = v1::PolicyPutRequest {
        name: "weak".to_owned(),
        policy: "path \"sys/erasure\" { capabilities = [\"read\", \"update\"] }".to_owned(),
        ..Default::default()
    };
    client.call(policy).await?;
    let made = v1::TokenCreateRequest {
        policies: vec!["weak".to_owned()],
        ..Default::default()
    };
    let token = client.call(made).await?.token;
    let weak = cluster.client_as(aumbry_types::SecretBytes::new(token.to_vec()), &cluster.endpoints())?;
    let ask = |verb| v1::LogicalRequest {
        verb: verb as i32,
        path: "sys/erasure".to_owned(),
        ..Default::default()
    };
    let refused = weak.call(ask(v1::Verb::Write)).await;
    ensure!(refused.is_err_and(|error| error.reason() == "PERMISSION_DENIED"));
    ensure!(weak.call(ask(v1::Verb::Read)).await.is_ok());
    Ok(())
}

/// The rows of versions of secrets that were stored when it was looked at last.
#[derive(Default)]
struct Stored(Vec<Vec<u8>>);

impl Stored {
    /// The sealed bytes of the versions that came since.
    fn new_versions(&mut self, cluster: &Cluster) -> Result<Vec<Vec<u8>>> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("backup");
        let saved = cluster.cli(&["operator", "snapshot", "save", &file.to_string_lossy()], "")?;
        ensure!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
        let rows = Backup::open(&file)?.snapshot.rows();
        let versions: Vec<Vec<u8>> = rows
            .filter(|(key, _)| key.first() == Some(&VERSIONS))
            .map(|(_, row)| row.to_vec())
            .collect();
        let new: Vec<Vec<u8>> = versions.iter().filter(|row| !self.0.contains(row)).cloned().collect();
        self.0 = versions;
        ensure!(new.len() == 1, "{} versions came", new.len());
        Ok(new)
    }
}

/// Whether any file of each node holds a part of these bytes.
fn on_nodes(cluster: &Cluster, sealed: &[Vec<u8>]) -> Result<[bool; 3]> {
    // From the end: what a row begins with differs from file to file.
    let parts: HashSet<&[u8]> = sealed
        .iter()
        .flat_map(|row| row.rchunks_exact(PART).take(PARTS))
        .collect();
    let mut found = [false; 3];
    for (node, found) in cluster.nodes().iter().zip(&mut found) {
        for file in files_below(Path::new(&node.data_dir))? {
            // Files come and go while they are looked at.
            let content = std::fs::read(&file).unwrap_or_default();
            *found |= content.windows(PART).any(|window| parts.contains(window));
        }
    }
    Ok(found)
}

/// The table of the versions of secrets.
const VERSIONS: u8 = 4;
/// So much of sealed bytes comes nowhere else.
const PART: usize = 24;
/// The wrapped key and the sealed data of a small secret take more than this many parts.
const PARTS: usize = 5;
