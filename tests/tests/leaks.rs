//! No secret and no name is found where it must not be: on disks, in logs, on command lines, in metrics, in backups, in core files, and in the
//! memory of a node that was sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{
    Canaries, Cluster, Form, Found, binary, can_read_memory, combine_shares, decode_share, eventually,
    plant_everywhere, scrape, search, search_memory, tell,
};
use aumbry_types::SecretBytes;
use futures::future::join_all;

/// Secrets with canaries wherever a user chooses a text, with everything logged that can be: none is found.
///
/// Abuse cases: 57, 116.
#[tokio::test(flavor = "multi_thread")]
async fn no_name_and_no_value_is_readable_anywhere() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let path = temporary.path().to_string_lossy().into_owned();
    let cluster = Cluster::start_with(3, &[], &[("RUST_LOG", "trace"), ("TMPDIR", &path)])?;
    let mut canaries = Canaries::default();
    work(&cluster, &mut canaries, SECRETS).await?;
    // Flushed and reopened: what was in memory is on disk now.
    for node in cluster.nodes() {
        cluster.kill(node.id)?;
        cluster.restart(node.id)?;
        cluster.unseal(node.id).await?;
    }
    let collected = cluster.everything().join("collected");
    std::fs::create_dir(&collected)?;
    for node in cluster.nodes() {
        for file in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{}/{file}", node.pid))?;
            std::fs::write(collected.join(format!("proc-{}-{file}", node.id)), text)?;
        }
        let text = scrape(&node.metrics).await?;
        ensure!(text.contains("aumbry_applied_index"), "these are no metrics: {text}");
        std::fs::write(collected.join(format!("metrics-{}", node.id)), text)?;
    }
    let saved = collected.join("backup");
    let command = ["operator", "snapshot", "save", &saved.to_string_lossy()];
    ensure!(
        cluster.cli(&command, "")?.status.success() && saved.exists(),
        "no backup was saved"
    );

    // The places are there, and the search looks into each of them.
    let mut places = plant_everywhere(&cluster.everything(), &canaries)?;
    places.extend(plant_everywhere(temporary.path(), &canaries)?);
    for node in cluster.nodes() {
        for part in ["log", "state", "audit", "snapshots"] {
            let directory = Path::new(&node.data_dir).join(part);
            let directory = directory.to_string_lossy();
            ensure!(
                places.contains(&directory.clone().into_owned()),
                "{directory} is not searched"
            );
        }
        let log = cluster.dir().join(format!("n{}/server.log", node.id));
        let text = std::fs::read_to_string(&log)?;
        ensure!(text.contains("the node is up"), "{} has no log", log.display());
    }
    let mut found = search(&cluster.everything(), &canaries, |_| false)?;
    found.extend(search(temporary.path(), &canaries, |_| false)?);
    ensure!(found.is_empty(), "canaries were found: {}", list(&found));

    // The shares and the root token stand in the files that the tool writes for its user, and nowhere else.
    let mut keys = keys(&cluster)?;
    keys.add_as("root token", cluster.root_token().expose());
    let own = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        ["env.json", "cluster.json", "dev.log"].iter().any(|own| name == *own)
    };
    let found = search(&cluster.everything(), &keys, own)?;
    ensure!(found.is_empty(), "keys were found: {}", list(&found));
    Ok(())
}

/// What the memory of a sealed node holds, in three steps. Of keys and shares nothing, from the moment at which the call that seals it is answered.
/// Of values, names and tokens only what is in the buffers of connections that are still open: those of the peers, over which requests are forwarded.
/// And once these are closed, nothing at all.
///
/// Abuse cases: 57, 59.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_node_has_forgotten_everything() -> Result<()> {
    if !can_read_memory() {
        tell("left out: the memory of a node is for root alone, and this is not root");
        return Ok(());
    }
    let cluster = Cluster::start(3)?;
    let mut canaries = Canaries::default();
    work(&cluster, &mut canaries, SECRETS_IN_MEMORY).await?;
    let keys = keys(&cluster)?;
    let root_token = cluster.root_token();
    canaries.add_as("root token", root_token.expose());
    let leader = cluster.leader().await?;
    let open = search_memory(cluster.node(leader)?.pid, &canaries)?;
    tell(&format!(
        "an open leader: {} bytes, {:?}",
        open.bytes,
        counts(&open.found)
    ));
    for kind in ["name", "policy name", "policy text", "mount"] {
        ensure!(
            open.found.iter().any(|found| found.kind == kind),
            "the positive control: an open node has a {kind} in its memory"
        );
    }

    for node in cluster.nodes() {
        let client = cluster.client_on(node.id)?;
        client.call(v1::SealRequest::default()).await?;
        ensure!(client.seal_status(None).await?.sealed);
    }
    for node in cluster.nodes() {
        let searched = search_memory(node.pid, &keys)?;
        ensure!(
            searched.found.is_empty(),
            "keys are in memory: {}",
            list(&searched.found)
        );
        ensure!(searched.bytes > 1 << 24, "{} bytes were searched", searched.bytes);
    }
    // The clients hang up, which takes a moment; the peers do not.
    for node in cluster.nodes() {
        let left = Mutex::new(Vec::new());
        eventually("nothing is left but in the buffers of peers", || async {
            let found = search_memory(node.pid, &canaries).map(|searched| searched.found);
            let is_little = found.as_ref().is_ok_and(|found| pages(found) <= PAGES_OF_PEERS);
            *left.lock().unwrap_or_else(PoisonError::into_inner) = found.unwrap_or_default();
            is_little
        })
        .await?;
        let left = left.into_inner().unwrap_or_default();
        tell(&format!("sealed, with its peers: {:?}", counts(&left)));
        ensure!(left.iter().all(|found| found.form == Form::Raw), "{}", list(&left));
    }
    let [last, others @ ..] = &cluster.nodes()[..] else {
        anyhow::bail!("there are no nodes")
    };
    for node in others {
        cluster.kill(node.id)?;
    }
    let found = || {
        let searched = search_memory(last.pid, &canaries)?;
        anyhow::Ok(searched.found)
    };
    let gone = eventually("nothing is left once the peers are gone", || async {
        found().is_ok_and(|found| found.is_empty())
    });
    gone.await
        .with_context(|| format!("{:?}", found().map(|found| list(&found))))
}

/// How often each kind was found.
fn counts(found: &[Found]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for one in found {
        *counts.entry(one.kind).or_default() += 1;
    }
    counts
}

/// In how many pieces of memory something was found.
fn pages(found: &[Found]) -> usize {
    let places: BTreeSet<&str> = found.iter().map(|found| &*found.place).collect();
    places.len()
}

/// A node leaves no core file, whatever its limits were before: there a core file would hold all keys.
///
/// Abuse cases: 57, 116.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_crashes_leaves_no_core() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let node = cluster.node(1)?;
    cluster.kill(1)?;
    let directory = tempfile::tempdir()?;
    let crash = |program: &[&str]| {
        // A limit that this process may not raise shows in the control.
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"])
            .args(program);
        command.current_dir(directory.path()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    let mut control = crash(&["sleep", "600"])?;
    let program = binary();
    let mut server = crash(&[&program.to_string_lossy(), "server", "--config", &node.config])?;
    let client = cluster.client_on(1)?;
    eventually("the server is up", || async { client.health(None).await.is_ok() }).await?;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id()))?;
    let limit = limits.lines().find(|line| line.starts_with("Max core file size"));
    let limit = limit.context("a limit of core files")?.split_whitespace();
    let limit: Vec<_> = limit.skip(4).collect();
    for child in [&control, &server] {
        Command::new("kill").args(["-ABRT", &child.id().to_string()]).status()?;
    }
    let (control, ended) = (control.wait()?, server.wait()?);
    ensure!(limit.starts_with(&["0", "0"]), "{limit:?}");
    ensure!(
        ended.signal() == Some(SIGABRT) && !ended.core_dumped(),
        "the node dumped its core: {ended}"
    );
    let left = std::fs::read_dir(directory.path())?.count();
    if control.core_dumped() {
        ensure!(left <= 1, "the control's core file alone may be there");
    } else {
        tell("the system dumps no core of any process here: the limit of the node alone was seen");
    }
    Ok(())
}

/// Uses the cluster in every way, with canaries in every text that a user chooses.
async fn work(cluster: &Cluster, canaries: &mut Canaries, secrets: usize) -> Result<()> {
    let client = cluster.client()?;
    let mount = canaries.make_for("mount");
    let enable = v1::MountEnableRequest {
        path: mount.clone(),
        r#type: "kv".to_owned(),
        description: canaries.make_for("mount description"),
        ..Default::default()
    };
    client.call(enable).await?;
    let mut requests = Vec::new();
    for n in 0..secrets {
        let (directory, name) = (canaries.make_for("name"), canaries.make_for("name"));
        let (field, value) = (canaries.make_for("field"), canaries.make_for("value"));
        let mount = if n % 10 == 0 { &mount } else { "secret" };
        requests.push(v1::KvPutRequest {
            path: format!("{mount}/{directory}/{name}"),
            data: format!("{{\"{field}\":\"{value}\"}}").into(),
            ..Default::default()
        });
    }
    let paths: Vec<String> = requests.iter().map(|request| request.path.clone()).collect();
    for chunk in requests.chunks(50) {
        for written in join_all(chunk.iter().map(|request| client.call(request.clone()))).await {
            written?;
        }
    }
    for (n, path) in paths.iter().enumerate().take(30) {
        let node = &cluster.nodes()[n % 3];
        one_secret(&cluster.client_on(node.id)?, path, canaries).await?;
    }
    let policy = canaries.make_for("policy name");
    let text = format!(
        "path \"secret/data/{}\" {{ capabilities = [\"read\"] }}",
        canaries.make_for("policy text")
    );
    let put = v1::PolicyPutRequest {
        name: policy.clone(),
        policy: text,
        ..Default::default()
    };
    client.call(put).await?;
    let create = v1::TokenCreateRequest {
        policies: vec![policy],
        display_name: canaries.make_for("display name"),
        metadata: [(canaries.make_for("token metadata"), canaries.make_for("token metadata"))].into(),
        ttl_s: 600,
        ..Default::default()
    };
    let token = client.call(create).await?.token;
    canaries.add_as("token", &token);
    let denied = cluster.client_as(SecretBytes::new(token.to_vec()), &cluster.endpoints())?;
    let read = v1::KvGetRequest {
        path: paths[0].clone(),
        ..Default::default()
    };
    ensure!(denied.call(read).await.is_err());
    let joining = client.call(v1::JoinTokenCreateRequest::default()).await?;
    canaries.add_as("join token", &joining.join_token);
    client.call(v1::AuditReadRequest::default()).await?;
    Ok(())
}

/// Everything that is done with one secret.
async fn one_secret(client: &Client, path: &str, canaries: &mut Canaries) -> Result<()> {
    let metadata = v1::KvPutMetadataRequest {
        header: Some(v1::RequestHeader {
            idempotency_key: canaries.make_for("idempotency key"),
            ..Default::default()
        }),
        path: path.to_owned(),
        custom_metadata: [(canaries.make_for("metadata"), canaries.make_for("metadata"))].into(),
        set_custom_metadata: true,
        ..Default::default()
    };
    client.call(metadata).await?;
    let patch = v1::KvPatchRequest {
        path: path.to_owned(),
        data: format!("{{\"patched\":\"{}\"}}", canaries.make_for("value")).into(),
        ..Default::default()
    };
    client.call(patch).await?;
    let get = v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    client.call(get).await?;
    let batch = v1::KvBatchGetRequest {
        paths: vec![path.to_owned()],
        ..Default::default()
    };
    client.call(batch).await?;
    let (directory, _) = path.rsplit_once('/').context("a path has segments")?;
    let list = v1::KvListRequest {
        path: directory.to_owned(),
        after: canaries.make_for("list after"),
        ..Default::default()
    };
    client.call(list).await?;
    let missing = v1::KvGetRequest {
        path: format!("secret/{}", canaries.make_for("name")),
        ..Default::default()
    };
    ensure!(client.call(missing).await.is_err());
    Ok(())
}

/// The shares, what they hold, and the key that they give.
fn keys(cluster: &Cluster) -> Result<Canaries> {
    let mut keys = Canaries::default();
    let mut values = Vec::new();
    for share in cluster.shares() {
        keys.add_as("share", share.as_bytes());
        let value = decode_share(share)?;
        keys.add_as("value of a share", &value.1);
        values.push(value);
    }
    let root_key = combine_shares(&values[..cluster.threshold()]);
    ensure!(
        root_key == combine_shares(&values[values.len() - cluster.threshold()..]),
        "the positive control: any shares give one key"
    );
    keys.add_as("root key", &root_key);
    Ok(keys)
}

fn list(found: &[Found]) -> String {
    let texts: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
    format!("{}: {}", found.len(), texts.join("; "))
}

const SECRETS: usize = 500;
const SECRETS_IN_MEMORY: usize = 200;
const SIGABRT: i32 = 6;
/// Two peers, each with a connection either way for each of four purposes, and buffers for reading and writing of each.
const PAGES_OF_PEERS: usize = 32;
