//! What lies on the disk: whose it is, and what is gone from it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, binary, eventually};

use crate::bed::{each, get, put};

/// Everything below a directory.
fn below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut all = vec![directory.to_owned()];
    let mut at = 0;
    while let Some(path) = all.get(at) {
        if path.is_dir() {
            let entries = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
            all.extend(entries.into_iter().map(|entry| entry.path()));
        }
        at += 1;
    }
    Ok(all)
}

/// All that a node writes is its owner's alone, whatever the process was allowed to give away; and with a directory that others may enter it does
/// not start.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_115_everything_is_its_owners_alone() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let node = cluster.node(1)?;
    cluster.kill(1)?;
    let start = || {
        let program = binary().to_string_lossy().into_owned();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "umask 0; exec \"$@\"",
            "sh",
            &program,
            "server",
            "--config",
            &node.config,
        ]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    };
    let mut server = start()?;
    let root = cluster.client_on(1)?;
    cluster.unseal(1).await?;
    // Logs, rows, audit bodies, a snapshot, a backup: all kinds of files are written anew.
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 19));
    for n in 0..40 {
        root.call(put(&format!("secret/a115/{n}"), &large)).await?;
    }
    root.save_backup(None).await?;
    let data = PathBuf::from(&node.data_dir);
    let paths = below(&data)?;
    ensure!(paths.len() > 10, "{paths:?}");
    let mut wrong = Vec::new();
    for path in &paths {
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        if metadata.mode() & 0o7777 != expected {
            wrong.push(format!("{} {:o}", path.display(), metadata.mode()));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:?}");
    server.kill()?;
    server.wait()?;
    for mode in [0o755, 0o750, 0o701, 0o777] {
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode))?;
        let refused = start()?.wait_with_output()?;
        ensure!(!refused.status.success(), "it started with {mode:o}");
        ensure!(String::from_utf8_lossy(&refused.stderr).contains("data"), "{refused:?}");
    }
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700))?;
    let mut server = start()?;
    eventually("it starts again", || async { root.health(None).await.is_ok() }).await?;
    server.kill()?;
    server.wait()?;
    Ok(())
}

/// A version that was destroyed is read nowhere from the moment of the answer on: on no node, after a restart, by no other way.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_114_a_destroyed_version_is_read_nowhere() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.client()?;
    root.call(put("secret/a114", r#"{"canary":1}"#)).await?;
    root.call(put("secret/a114", r#"{"other":2}"#)).await?;
    let destroy = v1::KvDestroyRequest {
        path: "secret/a114".to_owned(),
        versions: vec![1],
        ..Default::default()
    };
    root.call(destroy).await?;
    let first = || v1::KvGetRequest {
        version: 1,
        ..get("secret/a114")
    };
    for round in 0..2 {
        for endpoints in each(&cluster) {
            let client = cluster.client_as(cluster.root_token(), &endpoints)?;
            let undelete = v1::KvUndeleteRequest {
                path: "secret/a114".to_owned(),
                versions: vec![1],
                ..Default::default()
            };
            let undeleted = client.call(undelete).await;
            ensure!(undeleted.is_err(), "what is destroyed was restored");
            match client.call(first()).await {
                Ok(reply) => {
                    let item = reply.item.context("what is known of it is told")?;
                    ensure!(!item.has_data && item.data.is_empty(), "round {round}: it was read");
                }
                Err(error) => ensure!(error.reason() == "NOT_FOUND", "{error}"),
            }
            let now = client
                .call(get("secret/a114"))
                .await?
                .item
                .context("the other version")?;
            ensure!(now.data == r#"{"other":2}"#, "the positive control");
        }
        if round == 0 {
            for node in cluster.nodes() {
                cluster.kill(node.id)?;
            }
            for node in cluster.nodes() {
                cluster.restart(node.id)?;
            }
            for node in cluster.nodes() {
                cluster.unseal(node.id).await?;
            }
        }
    }
    Ok(())
}
