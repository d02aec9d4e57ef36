//! Lost quorum: two of three nodes are destroyed, and the last one becomes a cluster again, with every write that it had.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, NodeEnv, Server, Unusual, equal_states, eventually, records, run_cli};
use aumbry_types::SecretBytes;
use futures::StreamExt as _;
use serde_json::Value;

/// Show 7. The survivor is cut off before the others acknowledge more: what it had is there, what came after is the gap.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_survivor_is_a_cluster_again() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let client = cluster.client()?;
    let before = client.call(v1::StatusRequest::default()).await?;
    let reader = limited_token(&client).await?;
    let written = write_many(&client, "before", 300).await?;
    let before_ids: Vec<u64> = cluster.nodes().iter().map(|node| node.id).collect();
    let all: Vec<Client> = before_ids
        .iter()
        .map(|id| cluster.client_on(*id))
        .collect::<Result<_>>()?;
    equal_states(&all).await?;

    let leader = cluster.leader().await?;
    let survivor = cluster
        .nodes()
        .into_iter()
        .find(|node| node.id != leader)
        .context("a follower")?;
    let others: Vec<NodeEnv> = cluster
        .nodes()
        .into_iter()
        .filter(|node| node.id != survivor.id)
        .collect();
    let refused = recover(&survivor, &["--yes", "--share", "-"], &shares(&cluster))?;
    ensure!(
        !refused.status.success() && text(&refused).contains("is running"),
        "{}",
        text(&refused)
    );

    cluster.kill(survivor.id)?;
    let unseen = write_many(&client, "after", 20).await?;
    for node in &others {
        cluster.kill(node.id)?;
    }
    let kept_disks = tempfile::tempdir()?;
    for node in &others {
        copy(Path::new(&node.data_dir), &kept_disks.path().join(node.id.to_string()))?;
    }
    for node in &others {
        std::fs::remove_dir_all(&node.data_dir)?;
    }

    // Looking, and showing too few or wrong shares, changes no byte.
    let untouched = content(Path::new(&survivor.data_dir))?;
    let look = look(&survivor)?;
    let last = look["last_log_index"].as_u64().context("an index")?;
    ensure!(
        look["members"].as_array().is_some_and(|members| members.len() >= 3),
        "{look}"
    );
    ensure!(look["forgotten_entries"] == 0 && look["threshold"] == 3, "{look}");
    ensure!(
        written.iter().all(|write| write.index <= last),
        "it had all of the first ones"
    );
    ensure!(
        unseen.iter().all(|write| write.index > last),
        "it had none of the others"
    );
    let foreign = Cluster::start_with(1, &["--sealed"], &[])?;
    let own = cluster.shares();
    let too_few = [
        own[..2].join("\n"),
        String::new(),
        [&own[0], &own[0], &own[0]].map(String::as_str).join("\n"),
        foreign.shares()[..3].join("\n"),
        [
            own[0].clone(),
            own[1].clone(),
            own[2].to_lowercase().replacen('7', "8", 1).replacen('2', "3", 1) + "x",
        ]
        .join("\n"),
    ];
    for given in too_few {
        let refused = recover(&survivor, &["--yes", "--share", "-"], &given)?;
        ensure!(!refused.status.success(), "{given:?} was enough");
        ensure!(text(&refused).contains("nothing was changed"), "{}", text(&refused));
        ensure!(
            given.is_empty() || !text(&refused).contains(&own[0][20..40]),
            "a share is told"
        );
    }
    ensure!(
        text(&recover(
            &survivor,
            &["--yes", "--share", "-"],
            &foreign.shares()[..3].join("\n")
        )?)
        .contains("line 2: ")
    );
    ensure!(
        content(Path::new(&survivor.data_dir))? == untouched,
        "the directory was changed"
    );

    let recovered = json(&recover(
        &survivor,
        &["--yes", "--share", "-", "--output", "json"],
        &shares(&cluster),
    )?)?;
    ensure!(
        recovered["node_id"] == survivor.id && recovered["from_index"] == last,
        "{recovered}"
    );
    let set_aside = PathBuf::from(recovered["set_aside"].as_str().context("a directory")?);
    for name in ["log", "state", "audit", "identity"] {
        ensure!(set_aside.join(name).exists(), "the old {name} is gone");
    }
    let again = recover(&survivor, &["--yes", "--share", "-"], &shares(&cluster))?;
    ensure!(
        !again.status.success() && text(&again).contains("only voter"),
        "{}",
        text(&again)
    );

    cluster.restart(survivor.id)?;
    cluster.unseal(survivor.id).await?;
    let root = cluster.client_on(survivor.id)?;
    for write in &written {
        ensure!(
            get(&root, &write.path).await? == write.value,
            "{} is not as it was",
            write.path
        );
    }
    for write in &unseen {
        let gone = get(&root, &write.path)
            .await
            .err()
            .context("what it never had is there")?;
        let reason = gone
            .downcast_ref::<aumbry_client::Error>()
            .map(aumbry_client::Error::reason);
        ensure!(reason == Some("NOT_FOUND"), "{gone}");
    }
    let after = root.call(v1::StatusRequest::default()).await?;
    ensure!(after.storage_id == before.storage_id && after.cluster_id != before.cluster_id);
    ensure!(after.restored_from == before.cluster_id && !after.quarantined);
    ensure!(after.members.len() == 1 && after.term > before.term);
    let limited = cluster.client_as(reader, std::slice::from_ref(&survivor.client))?;
    ensure!(
        get(&limited, &written[0].path).await? == written[0].value,
        "an old token is not served"
    );
    ensure!(get(&limited, "secret/other").await.is_err() && put(&limited, "secret/before/0", "x").await.is_err());
    put(&root, "secret/anew", "written").await?;

    check_audit(&cluster, &survivor, &before, last).await?;
    members_given_up_disturb_nothing(&cluster, &survivor, &others, kept_disks.path()).await?;

    // The others are wiped machines now: they join as any node does, under ids that nobody had.
    let directory = tempfile::tempdir()?;
    let mut all = vec![root.clone()];
    let mut joined = Vec::new();
    for name in ["j1", "j2"] {
        let server = Server::start(&directory.path().join(name), &cluster, &Unusual::default()).await?;
        join(&root, &server, &cluster).await?;
        server.unseal(&own[..cluster.threshold()]).await?;
        all.push(server.client_as(cluster.root_token())?);
        joined.push(server);
    }
    equal_states(&all).await?;
    ensure!(get(&all[2], "secret/before/7").await? == written[7].value);
    let members = root.call(v1::MembersRequest::default()).await?.members;
    let ids: BTreeSet<u64> = members.iter().map(|member| member.id).collect();
    ensure!(
        ids.len() == 3 && ids.iter().all(|id| *id == survivor.id || !before_ids.contains(id)),
        "{ids:?}"
    );
    // It is a cluster as any other: it goes on without the node that it was made of.
    let voters = || async {
        let members = root.call(v1::MembersRequest::default()).await;
        members.is_ok_and(|reply| reply.members.iter().filter(|member| member.voter).count() == 3)
    };
    eventually("all three vote", voters).await?;
    cluster.kill(survivor.id)?;
    let went_on = || async { put(&all[1], "secret/goes-on", "x").await.is_ok() };
    eventually("the others go on", went_on).await
}

/// The survivor is the leader, under load to the end: it has everything that was ever acknowledged. The tool is killed while it works, again and
/// again; then it is let through. Nothing in between counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_is_cut_off_is_made_anew() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let client = cluster.client()?;
    let reader = limited_token(&client).await?;
    let mut written = write_many(&client, "before", 50).await?;
    let survivor = cluster.node(cluster.leader().await?)?;
    let alone = cluster.client_on(survivor.id)?;
    let load: Vec<_> = (0..AT_ONCE)
        .map(|writer| tokio::spawn(write_to_the_end(alone.clone(), format!("load-{writer}"))))
        .collect();
    for node in cluster.nodes().iter().filter(|node| node.id != survivor.id) {
        cluster.kill(node.id)?;
        std::fs::remove_dir_all(&node.data_dir)?;
    }
    for writer in load {
        written.extend(writer.await?);
    }
    // Without a quorum nothing is answered.
    ensure!(get(&alone, "secret/before/0").await.is_err() && put(&alone, "secret/x", "x").await.is_err());
    cluster.kill(survivor.id)?;

    let first = look(&survivor)?;
    let last = first["last_log_index"].as_u64().context("an index")?;
    ensure!(
        written.iter().all(|write| write.index <= last),
        "the leader lost what it had acknowledged"
    );
    let data = PathBuf::from(&survivor.data_dir);
    let mut cut_off = 0;
    for _ in 0..ROUNDS {
        let mut tool = Command::new(aumbry_tests::binary())
            .args([
                "operator",
                "recover",
                "--yes",
                "--share",
                "-",
                "--config",
                &survivor.config,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::io::Write::write_all(&mut tool.stdin.take().context("no stdin")?, shares(&cluster).as_bytes())?;
        // What is built appears first; from then on the tool can be anywhere.
        while tool.try_wait()?.is_none() && !data.join("replacement").exists() {
            std::thread::yield_now();
        }
        tool.kill()?;
        tool.wait()?;
        let Ok(found) = look(&survivor) else { break };
        cut_off += 1;
        let same = ["last_log_index", "state_digest", "audit_root", "cluster_id", "members"];
        ensure!(
            same.iter().all(|key| found[key] == first[key]),
            "{found} is not {first}"
        );
        ensure!(!data.join("replacement").exists(), "what was cut off is still there");
    }
    ensure!(cut_off > 0, "the tool was never cut off");
    let ended = recover(&survivor, &["--yes", "--quarantine", "--share", "-"], &shares(&cluster))?;
    let was_done = text(&ended).contains("only voter");
    ensure!(ended.status.success() || was_done, "{}", text(&ended));

    cluster.restart(survivor.id)?;
    cluster.unseal(survivor.id).await?;
    let root = cluster.client_on(survivor.id)?;
    for write in &written {
        ensure!(
            get(&root, &write.path).await? == write.value,
            "{} is not as it was",
            write.path
        );
    }
    let status = root.call(v1::StatusRequest::default()).await?;
    ensure!(status.quarantined != was_done);
    let limited = cluster.client_as(reader, std::slice::from_ref(&survivor.client))?;
    ensure!(
        get(&limited, &written[0].path).await.is_ok() == was_done,
        "a token is served in quarantine"
    );
    if !was_done {
        root.call(v1::SnapshotReleaseRequest::default()).await?;
    }
    ensure!(get(&limited, &written[0].path).await.is_ok());
    // A cluster that has its quorum is not one to recover.
    cluster.kill(survivor.id)?;
    let whole = recover(&survivor, &[], "")?;
    ensure!(
        !whole.status.success() && text(&whole).contains("only voter"),
        "{}",
        text(&whole)
    );
    let fresh = tempfile::tempdir()?;
    let config = std::fs::read_to_string(&survivor.config)?
        .replace(&survivor.data_dir, &fresh.path().join("d").to_string_lossy());
    let config_file = fresh.path().join("aumbry.toml");
    std::fs::write(&config_file, config)?;
    let nothing = run_cli(
        &["operator", "recover", "--config", &config_file.to_string_lossy()],
        &[],
        "",
    )?;
    ensure!(
        !nothing.status.success() && text(&nothing).contains("holds no node's data"),
        "{}",
        text(&nothing)
    );
    ensure!(!fresh.path().join("d").exists(), "looking made a directory");
    Ok(())
}

/// The gap is in the log of the cluster, and the tree goes on over it.
async fn check_audit(cluster: &Cluster, survivor: &NodeEnv, before: &v1::StatusReply, last: u64) -> Result<()> {
    let root = cluster.client_on(survivor.id)?;
    let records = records(&root).await?;
    let gaps: Vec<_> = records
        .iter()
        .filter(|record| record.text("operation") == "sys.recover")
        .collect();
    ensure!(
        gaps.len() == 1 && gaps[0].is_allowed(),
        "{} records of a recovery",
        gaps.len()
    );
    let event = gaps[0].event.to_string();
    let named = [
        before.cluster_id.clone(),
        format!("\"{last}\""),
        "given_up".to_owned(),
        "from_term".to_owned(),
    ];
    ensure!(named.iter().all(|name| event.contains(name.as_str())), "{event}");
    let next = &records[usize::try_from(gaps[0].seq)? + 1];
    ensure!(next.text("operation") == "raft.membership", "{}", next.event);

    let environment = [
        ("AUMBRY_ADDR", survivor.client.as_str()),
        ("AUMBRY_CACERT", cluster.ca_file()),
        ("AUMBRY_TOKEN", cluster.root_token().expose_str().context("text")?),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let log = run_cli(&["audit", "log", "--from", "0"], &environment, "")?;
    ensure!(text(&log).contains("sys.recover"), "{}", text(&log));
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("export").to_string_lossy().into_owned();
    let export = run_cli(&["audit", "export", &file], &environment, "")?;
    ensure!(export.status.success(), "{}", text(&export));
    let verified = json(&run_cli(
        &["audit", "verify", &file, "--output", "json"],
        &environment,
        "",
    )?)?;
    ensure!(
        verified["intact"] == true && verified["storage_id"] == before.storage_id.as_str(),
        "{verified}"
    );
    Ok(())
}

/// One that comes back with its old disk is of another cluster, finds no quorum, and answers nobody. Two are the old cluster again, as nothing can
/// stop them: that is what the operator is told to prevent, and here the control that they do all they can. The new cluster hears neither.
async fn members_given_up_disturb_nothing(
    cluster: &Cluster,
    survivor: &NodeEnv,
    others: &[NodeEnv],
    old_disks: &Path,
) -> Result<()> {
    let root = cluster.client_on(survivor.id)?;
    let before = root.call(v1::StatusRequest::default()).await?;
    let undisturbed = async |value: String| {
        for n in 0..50 {
            put(&root, "secret/undisturbed", &format!("{value}{n}")).await?;
        }
        let after = root.call(v1::StatusRequest::default()).await?;
        ensure!(
            (after.term, after.leader_id, after.members.len()) == (before.term, survivor.id, 1),
            "it was disturbed"
        );
        ensure!(get(&root, "secret/undisturbed").await? == format!("{value}49"));
        anyhow::Ok(())
    };
    for member in others {
        copy(&old_disks.join(member.id.to_string()), Path::new(&member.data_dir))?;
    }
    let tries = || {
        let told = others.iter().map(node_log).collect::<String>();
        let of_survivor = told.lines().filter(|line| line.contains(&survivor.peer));
        of_survivor.filter(|line| line.contains("cannot be reached")).count()
    };
    let tries_before = tries();
    let [first, second] = others else {
        anyhow::bail!("there are two")
    };
    cluster.restart(first.id)?;
    let old = cluster.client_on(first.id)?;
    ensure!(old.seal_status(None).await?.cluster_id == before.restored_from && old.health(None).await?.initialized);
    undisturbed("one ".to_owned()).await?;
    let share = SecretBytes::from(cluster.shares()[0].clone());
    ensure!(
        old.unseal(None, share).await.is_err(),
        "a share was taken without a leader"
    );
    ensure!(get(&old, "secret/before/0").await.is_err() && put(&old, "secret/old", "x").await.is_err());
    ensure!(!old.health(None).await?.leader_known, "it follows somebody");

    cluster.restart(second.id)?;
    let has_leader = || async { old.health(None).await.is_ok_and(|health| health.leader_known) };
    eventually("the two elect a leader", has_leader).await?;
    let is_tried = || async { tries() > tries_before };
    eventually("their leader tries to reach the survivor", is_tried).await?;
    undisturbed("two ".to_owned()).await?;
    for member in others {
        cluster.kill(member.id)?;
        std::fs::remove_dir_all(&member.data_dir)?;
    }
    Ok(())
}

struct Written {
    path: String,
    value: String,
    index: u64,
}

/// Writes some at once, so that entries hold many.
async fn write_many(client: &Client, name: &str, count: usize) -> Result<Vec<Written>> {
    let writes = (0..count).map(|n| async move {
        let (path, value) = (format!("secret/{name}/{n}"), format!("{name} value {n}"));
        let index = put(client, &path, &value).await?;
        anyhow::Ok(Written { path, value, index })
    });
    let done: Vec<Result<Written>> = futures::stream::iter(writes).buffered(AT_ONCE).collect().await;
    done.into_iter().collect()
}

/// Writes one after the other until one fails.
async fn write_to_the_end(client: Client, name: String) -> Vec<Written> {
    let mut written = Vec::new();
    loop {
        let (path, value) = (
            format!("secret/{name}/{}", written.len()),
            format!("{name} {}", written.len()),
        );
        match put(&client, &path, &value).await {
            Ok(index) => written.push(Written { path, value, index }),
            Err(_) => return written,
        }
    }
}

async fn limited_token(client: &Client) -> Result<SecretBytes> {
    let policy = v1::PolicyPutRequest {
        name: "reader".to_owned(),
        policy: r#"path "secret/data/before/*" { capabilities = ["read"] }"#.to_owned(),
        ..Default::default()
    };
    client.call(policy).await?;
    let create = v1::TokenCreateRequest {
        policies: vec!["reader".to_owned()],
        ttl_s: 3_600,
        ..Default::default()
    };
    Ok(SecretBytes::new(client.call(create).await?.token.to_vec()))
}

async fn put(client: &Client, path: &str, value: &str) -> Result<u64> {
    let request = v1::KvPutRequest {
        path: path.to_owned(),
        data: serde_json::to_vec(&serde_json::json!({ "k": value }))?.into(),
        ..Default::default()
    };
    Ok(client.call(request).await?.header.unwrap_or_default().index)
}

async fn get(client: &Client, path: &str) -> Result<String> {
    let request = v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    let item = client.call(request).await?.item.context("there is an item")?;
    let data: BTreeMap<String, String> = serde_json::from_slice(&item.data)?;
    data.get("k").cloned().context("it has its key")
}

async fn join(root: &Client, server: &Server, cluster: &Cluster) -> Result<()> {
    let ticket = root.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
    let request = v1::JoinClusterRequest {
        join_token: ticket,
        ca: std::fs::read(cluster.ca_file())?.into(),
    };
    server
        .client_as(SecretBytes::default())?
        .join_cluster(None, request)
        .await?;
    Ok(())
}

fn recover(node: &NodeEnv, arguments: &[&str], input: &str) -> Result<Output> {
    let arguments = [&["operator", "recover", "--config", &node.config][..], arguments].concat();
    run_cli(&arguments, &[], input)
}

fn look(node: &NodeEnv) -> Result<Value> {
    json(&recover(node, &["--output", "json"], "")?)
}

fn json(output: &Output) -> Result<Value> {
    ensure!(output.status.success(), "{}", text(output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr]
        .map(String::from_utf8_lossy)
        .concat()
}

fn shares(cluster: &Cluster) -> String {
    cluster.shares()[..cluster.threshold()].join("\n")
}

fn node_log(node: &NodeEnv) -> String {
    std::fs::read_to_string(Path::new(&node.config).with_file_name("server.log")).unwrap_or_default()
}

/// The names and bytes of everything in a directory.
fn content(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(content(&path)?);
        } else {
            found.insert(path.clone(), std::fs::read(&path)?);
        }
    }
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(copied.success(), "cp: {copied}");
    Ok(())
}

const AT_ONCE: usize = 16;
/// How often the tool is killed.
const ROUNDS: usize = 4;
