//! A seal that a key in a file opens: a restart needs nobody, and everything that can be wrong with the file leaves the node sealed.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1::SnapshotPart;
use aumbry_client::{Client, v1};
use aumbry_tests::{Canaries, Cluster, NodeEnv, Server, Unusual, eventually, records, run_cli, search};
use aumbry_types::SecretBytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Show 6: all three nodes are restarted and serve again without a person; with the file gone they are sealed, and the shares open
/// them. The key is found in no file of the cluster, in no log and in no metrics.
#[tokio::test(flavor = "multi_thread")]
async fn three_restarted_nodes_serve_again_without_a_person() -> Result<()> {
    let cluster = Cluster::start_with(3, &[], &[("RUST_LOG", "trace")])?;
    let client = cluster.client()?;
    put(&client, "secret/before", "kept").await?;
    let keys = Keys::new(&cluster)?;
    let (file, id) = keys.make("key")?;
    // Whatever node is asked: a follower hands the key and the shares to the leader.
    keys.add(&file)?;
    for node in cluster.nodes() {
        configure(&node, &(section(&file) + "[log]\nlevel = \"trace\"\n"))?;
    }
    restart(&cluster, &[1, 2, 3])?;
    eventually("a secret from before is read", || async {
        get(&client, "secret/before").await.is_ok_and(|value| value == "kept")
    })
    .await?;
    for node in cluster.nodes() {
        opens(&cluster, node.id).await?;
        ensure!(
            log(&node).contains("this node unseals itself with a static key"),
            "{}",
            log(&node)
        );
        let status = cluster.client_on(node.id)?.seal_status(None).await?;
        ensure!(status.seals == ["shares", "static"], "{:?}", status.seals);
    }
    put(&client, "secret/after", "new").await?;

    // The file is gone: they elect a leader, stay sealed and say why.
    let elsewhere = file.with_extension("away");
    std::fs::rename(&file, &elsewhere)?;
    restart(&cluster, &[1, 2, 3])?;
    cluster.leader().await?;
    for node in cluster.nodes() {
        logs(&node, &format!("cannot read the key file {}", file.display())).await?;
        let read = get(&cluster.client_on(node.id)?, "secret/before").await;
        ensure!(read.is_err_and(|error| error.to_string().contains("sealed")));
    }
    for id in [1, 2] {
        cluster.unseal(id).await?;
    }
    ensure!(get(&client, "secret/after").await? == "new");
    // It comes back late, and opens the node that nobody unsealed.
    ensure!(is_sealed(&cluster, 3).await?);
    std::fs::rename(&elsewhere, &file)?;
    opens(&cluster, 3).await?;

    let added: Vec<_> = records(&client).await?;
    let added = added.iter().filter(|record| record.text("operation") == "sys.seal.add");
    let added: Vec<_> = added.filter(|record| record.is_allowed()).collect();
    ensure!(added.len() == 1 && added[0].text("path") == format!("sys/seals/{id}"));

    for node in cluster.nodes() {
        let text = metrics(&node.metrics).await?;
        ensure!(text.contains("aumbry_applied_index"), "these are no metrics: {text}");
        std::fs::write(cluster.everything().join(format!("metrics-{}", node.id)), text)?;
    }
    let backup = save(&client).await?;
    std::fs::write(cluster.everything().join("backup"), &backup)?;
    let found = search(&cluster.everything(), &keys.canaries(&file)?, |_| false)?;
    ensure!(found.is_empty(), "the key was found in {found:?}");
    Ok(())
}

/// Each thing that is wrong with a key file leaves the node sealed, with a line that says what to do; put right, it opens.
///
/// Abuse cases: 62.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_right_opens_nothing() -> Result<()> {
    let cluster = Cluster::start(1)?;
    put(&cluster.client()?, "secret/before", "kept").await?;
    let keys = Keys::new(&cluster)?;
    let (file, _) = keys.make("key")?;
    let (other, other_id) = keys.make("other")?;
    keys.add(&file)?;
    let node = cluster.node(1)?;
    configure(&node, &section(&file))?;
    let key = std::fs::read_to_string(&file)?;
    let check = async |content: &str, mode: u32, told: &str| {
        private(&file, content, mode)?;
        restart(&cluster, &[1])?;
        logs(&node, told).await?;
        ensure!(is_sealed(&cluster, 1).await?, "{told}: the node is open");
        // The positive control: the same process opens once the file is right.
        private(&file, &key, 0o600)?;
        opens(&cluster, 1).await
    };
    let mut cut = key.clone();
    cut.truncate(40);
    let stranger = std::fs::read_to_string(&other)?;
    check(
        &stranger,
        0o600,
        &format!("the key {other_id} opens no seal of this cluster"),
    )
    .await?;
    check(&key, 0o640, &format!("chmod 600 {}", file.display())).await?;
    check(&key, 0o604, "mode 0604").await?;
    check(&cut, 0o600, "it holds no seal key").await?;
    check("", 0o600, "it holds no seal key").await?;
    // Nothing that was in the files is in the log.
    ensure!(!log(&node).contains(&key[20..36]) && !log(&node).contains(&stranger[20..36]));

    let inside = Path::new(&node.data_dir).join("key").to_string_lossy().into_owned();
    let wrong = format!("{}-wrong", node.config);
    let text = std::fs::read_to_string(&node.config)?;
    std::fs::write(&wrong, text.replace(&*file.to_string_lossy(), &inside))?;
    let refused = run_cli(&["server", "--config", &wrong], &[], "")?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && told.contains("lies in data_dir"), "{told}");
    Ok(())
}

/// A person's seal holds for as long as the process lives; a removed seal opens nothing any more; adding one needs the shares.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_closes_or_removes_stays_so() -> Result<()> {
    let cluster = Cluster::start(1)?;
    put(&cluster.client()?, "secret/before", "kept").await?;
    let keys = Keys::new(&cluster)?;
    let (file, id) = keys.make("key")?;
    let node = cluster.node(1)?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let add = ["operator", "seals", "add", "--static-key", &text(&file)];

    // A root token alone makes no second way in, and neither do too few shares, or others'.
    let two = format!("{}\n{}\n", cluster.shares()[0], cluster.shares()[1]);
    let wrong = format!("{two}{}\n", "aumbry-share-");
    for (shares, told) in [
        ("", "0 of 3"),
        (two.as_str(), "2 of 3"),
        (wrong.as_str(), "letters and digits"),
    ] {
        let refused = cluster.cli(&add, shares)?;
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && error.contains(told), "{told}: {error}");
    }
    ensure!(keys.list()?.len() == 1, "a seal was added without shares");
    let added = cluster.cli(&add, &format!("{two}\n{}\n", cluster.shares()[4]))?;
    ensure!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let listed = keys.list()?;
    ensure!(listed.len() == 2 && listed[0]["kind"] == "shares" && listed[1]["kind"] == "static");
    ensure!(
        listed[1]["key_id"] == id.as_str() && listed[1]["current"] == true,
        "{listed:?}"
    );
    ensure!(
        !cluster
            .cli(&add, &format!("{two}{}", cluster.shares()[4]))?
            .status
            .success(),
        "it was added twice"
    );

    configure(&node, &section(&file))?;
    restart(&cluster, &[1])?;
    opens(&cluster, 1).await?;
    let sealed = cluster.cli(&["operator", "seal"], "")?;
    ensure!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
    logs(&node, "does not open it again before it is restarted").await?;
    ensure!(is_sealed(&cluster, 1).await?, "it undid what a person did");
    cluster.unseal(1).await?;
    let sealed = cluster.cli(&["operator", "seal"], "")?;
    ensure!(sealed.status.success() && is_sealed(&cluster, 1).await?);
    restart(&cluster, &[1])?;
    opens(&cluster, 1).await?;

    for (key_id, told) in [
        ("shares", "cannot be removed"),
        (&*"0".repeat(32), "no seal is opened by this key"),
    ] {
        let refused = cluster.cli(&["operator", "seals", "remove", key_id], "")?;
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && error.contains(told), "{error}");
    }
    let removed = cluster.cli(&["operator", "seals", "remove", &id], "")?;
    ensure!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    ensure!(keys.list()?.len() == 1);
    restart(&cluster, &[1])?;
    logs(&node, &format!("the key {id} opens no seal of this cluster")).await?;
    ensure!(is_sealed(&cluster, 1).await?, "a removed seal opened the node");
    cluster.unseal(1).await?;
    ensure!(get(&cluster.client()?, "secret/before").await? == "kept");
    for operation in ["sys.seal.add", "sys.seal.list", "sys.seal.remove"] {
        let all = records(&cluster.client()?).await?;
        ensure!(
            all.iter().any(|record| record.text("operation") == operation),
            "{operation} is not on record"
        );
    }
    Ok(())
}

/// Who seals the whole cluster keeps the key file from opening any node, running or restarted, until an operator releases it: then all open by themselves.
///
/// Abuse cases: 60.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_sealed_waits_for_its_release() -> Result<()> {
    let cluster = Cluster::start(3)?;
    put(&cluster.client()?, "secret/before", "kept").await?;
    let keys = Keys::new(&cluster)?;
    let (file, _) = keys.make("key")?;
    keys.add(&file)?;
    for node in cluster.nodes() {
        configure(&node, &section(&file))?;
    }
    restart(&cluster, &[1, 2, 3])?;
    for id in [1, 2, 3] {
        opens(&cluster, id).await?;
    }
    cluster.leader().await?;
    let operator = |arguments: &[&str]| -> Result<String> {
        let done = cluster.cli(&[&["operator"], arguments].concat(), "")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8(done.stdout)?)
    };
    let told = cluster.cli(&["operator", "seal", "--release"], "")?;
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    ensure!(told.contains("there is nothing to release"), "{told}");

    let told = operator(&["seal", "--cluster"])?;
    ensure!(told.matches("sealed with the whole cluster").count() == 3, "{told}");
    restart(&cluster, &[3])?;
    for node in cluster.nodes() {
        logs(&node, "keys open nothing until").await?;
        ensure!(is_sealed(&cluster, node.id).await?, "a key undid what an operator did");
    }
    // Shares open the node that they are shown to, and no other one.
    cluster.unseal(1).await?;
    let client = cluster.client_on(1)?;
    eventually("node 1 serves", || async {
        get(&client, "secret/before").await.is_ok_and(|value| value == "kept")
    })
    .await?;
    for id in [2, 3] {
        ensure!(is_sealed(&cluster, id).await?, "node {id} is open");
    }
    let shown = operator(&["seal-status", "--output", "json"])?;
    let shown: serde_json::Value = serde_json::from_str(&shown)?;
    ensure!(shown["keys_held_back"] == true, "{shown}");
    operator(&["seal", "--release"])?;
    for id in [2, 3] {
        opens(&cluster, id).await?;
    }
    let by_key = || async {
        let Ok(all) = records(&client).await else { return false };
        let by_key = |record: &aumbry_tests::Recorded| {
            record.text("operation") == "sys.unseal" && record.event["fields"]["opened_by"] == "static"
        };
        let opened = |id: u64| {
            all.iter()
                .filter(|record| by_key(record) && record.event["node"] == id)
                .count()
        };
        opened(2) > 0 && opened(3) > 0
    };
    eventually("that keys opened the nodes is on record", by_key).await?;
    for operation in ["sys.seal.cluster", "sys.seal.release"] {
        let all = records(&client).await?;
        let mut of = all.iter().filter(|record| record.text("operation") == operation);
        ensure!(
            of.any(aumbry_tests::Recorded::is_allowed),
            "{operation} is not on record"
        );
    }
    Ok(())
}

/// The seals come with a backup: the file opens what is restored, which serves root alone until it is released. A node that joins
/// opens itself as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_and_a_joined_node_open_with_the_file() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let client = cluster.client()?;
    put(&client, "secret/before", "kept").await?;
    let keys = Keys::new(&cluster)?;
    let (file, _) = keys.make("key")?;
    keys.add(&file)?;
    let backup = save(&client).await?;
    let directory = tempfile::tempdir()?;
    let unusual = Unusual {
        config: section(&file),
        ..Unusual::default()
    };
    let restored = Server::start(&directory.path().join("restored"), &cluster, &unusual).await?;
    restore(&restored.client_as(SecretBytes::default())?, &backup).await?;
    let root = restored.client_as(cluster.root_token())?;
    let is_taken_over = || async {
        let status = root.call(v1::StatusRequest::default()).await;
        status.is_ok_and(|status| status.quarantined && !status.sealed)
    };
    eventually("the restored node is open, and in quarantine", is_taken_over)
        .await
        .with_context(|| restored.log())?;
    ensure!(get(&root, "secret/before").await? == "kept");
    root.call(v1::SnapshotReleaseRequest::default()).await?;

    let joined = Server::start(&directory.path().join("joined"), &cluster, &unusual).await?;
    let request = v1::JoinClusterRequest {
        join_token: root.call(v1::JoinTokenCreateRequest::default()).await?.join_token,
        ca: std::fs::read(cluster.ca_file())?.into(),
    };
    joined
        .client_as(SecretBytes::default())?
        .join_cluster(None, request)
        .await?;
    let reader = joined.client_as(cluster.root_token())?;
    let reads = || async { get(&reader, "secret/before").await.is_ok_and(|value| value == "kept") };
    eventually("the joined node serves", reads)
        .await
        .with_context(|| joined.log())
}

/// Key files outside of the cluster's directory, and the commands that need them.
struct Keys<'a> {
    directory: tempfile::TempDir,
    cluster: &'a Cluster,
}

impl<'a> Keys<'a> {
    fn new(cluster: &'a Cluster) -> Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            cluster,
        })
    }

    /// Makes a key: its file, and its id.
    fn make(&self, name: &str) -> Result<(PathBuf, String)> {
        let file = self.directory.path().join(name);
        let text = file.to_string_lossy().into_owned();
        let make = ["operator", "seals", "key", &text, "--output", "json"];
        let made = run_cli(&make, &[], "")?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        ensure!(!run_cli(&make, &[], "")?.status.success(), "a key was overwritten");
        let made: serde_json::Value = serde_json::from_slice(&made.stdout)?;
        let id = made["key_id"].as_str().context("the id of the key")?.to_owned();
        Ok((file, id))
    }

    /// Adds it to the cluster, with the shares in files.
    fn add(&self, file: &Path) -> Result<()> {
        let mut arguments: Vec<String> = ["operator", "seals", "add", "--static-key"].map(str::to_owned).into();
        arguments.push(file.to_string_lossy().into_owned());
        for (n, share) in self.cluster.shares().iter().take(self.cluster.threshold()).enumerate() {
            let path = self.directory.path().join(format!("share-{n}"));
            std::fs::write(&path, share)?;
            arguments.extend(["--share".to_owned(), path.to_string_lossy().into_owned()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let added = self.cluster.cli(&arguments, "")?;
        ensure!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        Ok(())
    }

    fn list(&self) -> Result<Vec<serde_json::Value>> {
        let listed = self
            .cluster
            .cli(&["operator", "seals", "list", "--output", "json"], "")?;
        ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let mut listed: serde_json::Value = serde_json::from_slice(&listed.stdout)?;
        Ok(listed["seals"]
            .as_array_mut()
            .context("a list of seals")?
            .drain(..)
            .collect())
    }

    /// What must be found nowhere: the line in the file, and the key itself.
    fn canaries(&self, file: &Path) -> Result<Canaries> {
        let text = std::fs::read_to_string(file)?;
        let digits = text.trim().rsplit('-').next().context("digits")?;
        let digit = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16);
        let key = (0..digits.len()).step_by(2).map(digit).collect::<Result<Vec<_>, _>>()?;
        ensure!(key.len() == 32, "a key has 32 bytes");
        let mut canaries = Canaries::default();
        canaries.add(text.trim());
        canaries.add_bytes(&key);
        Ok(canaries)
    }
}

fn section(file: &Path) -> String {
    format!("\n[seal.static]\nkey_file = {:?}\n", file.to_string_lossy())
}

fn configure(node: &NodeEnv, sections: &str) -> Result<()> {
    let text = std::fs::read_to_string(&node.config)?;
    Ok(std::fs::write(&node.config, text + sections)?)
}

/// Replaces a file at once: what a node reads meanwhile is the old one or the new one.
fn private(file: &Path, content: &str, mode: u32) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, content)?;
    std::fs::set_permissions(&new, Permissions::from_mode(mode))?;
    Ok(std::fs::rename(&new, file)?)
}

/// Ends all of these nodes, and then starts them, each with a new log beside the old ones: a line that is found is of this start.
fn restart(cluster: &Cluster, nodes: &[u64]) -> Result<()> {
    nodes.iter().try_for_each(|id| cluster.kill(*id))?;
    for id in nodes {
        let log = log_file(&cluster.node(*id)?);
        let old = (1..).map(|n| log.with_extension(format!("log.{n}")));
        let free = old.into_iter().find(|path| !path.exists()).context("a free name")?;
        std::fs::rename(&log, free)?;
    }
    nodes.iter().try_for_each(|id| cluster.restart(*id))
}

async fn opens(cluster: &Cluster, id: u64) -> Result<()> {
    let opened = eventually("the node opens itself", || async {
        is_sealed(cluster, id).await.is_ok_and(|sealed| !sealed)
    });
    opened
        .await
        .with_context(|| cluster.node(id).map_or_else(|e| e.to_string(), |node| log(&node)))
}

async fn is_sealed(cluster: &Cluster, id: u64) -> Result<bool> {
    Ok(cluster.client_on(id)?.seal_status(None).await?.sealed)
}

/// Waits for a line that a node logs.
async fn logs(node: &NodeEnv, text: &str) -> Result<()> {
    let logged = eventually("it is logged", || async { log(node).contains(text) });
    logged.await.with_context(|| format!("{text:?} in {}", log(node)))
}

/// What it has logged since it was started last.
fn log(node: &NodeEnv) -> String {
    std::fs::read_to_string(log_file(node)).unwrap_or_default()
}

fn log_file(node: &NodeEnv) -> PathBuf {
    Path::new(&node.config).with_file_name("server.log")
}

async fn metrics(address: &str) -> Result<String> {
    let mut tcp = tokio::net::TcpStream::connect(address).await?;
    tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    tcp.read_to_string(&mut text).await?;
    Ok(text)
}

async fn save(client: &Client) -> Result<Vec<u8>> {
    let mut parts = client.save_backup(None).await?;
    let mut backup = Vec::new();
    while let Some(part) = parts.next().await? {
        backup.extend_from_slice(&part);
    }
    Ok(backup)
}

async fn restore(client: &Client, backup: &[u8]) -> Result<()> {
    let mut parts: Vec<SnapshotPart> = backup
        .chunks(100_000)
        .map(|data| SnapshotPart {
            data: data.to_vec().into(),
            ..Default::default()
        })
        .collect();
    parts.push(SnapshotPart {
        end: true,
        ..Default::default()
    });
    let mut restoring = client.restore_backup(None, futures::stream::iter(parts)).await?;
    while restoring.next().await?.restored.is_none() {}
    Ok(())
}

async fn put(client: &Client, path: &str, value: &str) -> Result<()> {
    let request = v1::KvPutRequest {
        path: path.to_owned(),
        data: serde_json::to_vec(&serde_json::json!({ "k": value }))?.into(),
        ..Default::default()
    };
    client.call(request).await?;
    Ok(())
}

async fn get(client: &Client, path: &str) -> Result<String> {
    let request = v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    let item = client.call(request).await?.item.context("there is an item")?;
    let data: serde_json::Value = serde_json::from_slice(&item.data)?;
    Ok(data["k"].as_str().unwrap_or_default().to_owned())
}
