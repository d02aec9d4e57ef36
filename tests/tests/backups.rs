//! A backup brings everything back, on a fresh node, with the shares; and nodes that join get all of it over the network.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1::SnapshotPart;
use aumbry_client::{Client, v1};
use aumbry_tests::{Canaries, Cluster, Server, Unusual, equal_states, eventually};
use aumbry_types::SecretBytes;

const SECRETS: usize = 300;

/// Abuse cases: 70, 116.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_with_the_shares() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let client = cluster.client()?;
    let mut canaries = Canaries::default();
    let words: Vec<String> = (0..SECRETS).map(|_| canaries.make()).collect();
    for (n, canary) in words.iter().enumerate() {
        put(&client, &format!("secret/s/{n}"), canary).await?;
    }
    let token = client
        .call(v1::TokenCreateRequest {
            policies: vec!["default".to_owned()],
            ttl_s: 3_600,
            ..Default::default()
        })
        .await?
        .token;
    let token = SecretBytes::new(token.to_vec());

    // Any node sends one: here a follower.
    let leader = cluster.leader().await?;
    let follower = cluster.nodes().iter().map(|node| node.id).find(|id| *id != leader);
    let backup = save(&cluster.client_on(follower.context("there is one")?)?).await?;
    ensure!(!canaries.are_in(&backup)?, "a secret is readable in the backup");
    let later = client.call(v1::StatusRequest::default()).await?;

    // What is damaged is refused, and the node stays fresh.
    let directory = tempfile::tempdir()?;
    let mut first = Server::start(&directory.path().join("r1"), &cluster, &Unusual::default()).await?;
    let anonymous = first.client_as(SecretBytes::default())?;
    for at in [9, 300, backup.len() / 2, backup.len() - 3] {
        let mut damaged = backup.clone();
        damaged[at] ^= 1;
        ensure!(
            restore(&anonymous, &damaged).await.is_err(),
            "byte {at} was changed, and it was restored"
        );
    }
    ensure!(
        restore(&anonymous, &backup[..backup.len() - 1]).await.is_err(),
        "a cut backup was restored"
    );
    ensure!(
        !anonymous.seal_status(None).await?.initialized,
        "a refused backup left something"
    );

    let restored = restore(&anonymous, &backup).await?;
    ensure!(restored.storage_id == later.storage_id && restored.cluster_id != later.cluster_id);
    ensure!(
        restore(&anonymous, &backup).await.is_err(),
        "a node that has a cluster took another one"
    );
    // A crash right after it loses nothing.
    first.kill()?;
    first.run().await?;
    let shares = &cluster.shares()[..cluster.threshold()];
    first.unseal(shares).await?;

    let root = first.client_as(cluster.root_token())?;
    for (n, canary) in words.iter().enumerate() {
        ensure!(
            get(&root, &format!("secret/s/{n}")).await?.contains(canary),
            "secret {n} is not as it was"
        );
    }
    let status = root.call(v1::StatusRequest::default()).await?;
    ensure!(status.quarantined && status.restored_from == later.cluster_id);
    let other = first.client_as(token.duplicate())?;
    let lookup = || other.call(v1::TokenLookupRequest::default());
    ensure!(lookup().await.is_err(), "a token of the backup is served in quarantine");
    root.call(v1::SnapshotReleaseRequest::default()).await?;
    lookup().await.context("after the release")?;

    // A node that joins gets everything in a snapshot: the log begins after the backup.
    let second = Server::start(&directory.path().join("r2"), &cluster, &Unusual::default()).await?;
    join(&root, &second, &cluster).await?;
    second.unseal(shares).await?;
    let on_second = second.client_as(cluster.root_token())?;
    ensure!(get(&on_second, "secret/s/7").await?.contains(&words[7]));
    put(&on_second, "secret/after", "joined").await?;
    equal_states(&[root, on_second]).await?;
    restarts_as_it_was(&mut first, shares, cluster.root_token()).await
}

/// A node that slept while the log was purged gets a snapshot, under load, and has the same state afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lags_behind_the_log_gets_a_snapshot() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let directory = tempfile::tempdir()?;
    let unusual = Unusual {
        config: "snapshot_log_bytes = 1048576\n".to_owned(),
        ..Unusual::default()
    };
    let [a, b, c] = ["a", "b", "c"].map(|name| directory.path().join(name));
    let first = Server::start(&a, &cluster, &unusual).await?;
    let mut second = Server::start(&b, &cluster, &unusual).await?;
    let third = Server::start(&c, &cluster, &unusual).await?;
    let init = v1::InitRequest {
        shares: 1,
        threshold: 1,
        ..Default::default()
    };
    let made = first.client_as(SecretBytes::default())?.init(init).await?;
    let shares = [String::from_utf8(made.shares[0].to_vec())?];
    let root_token = SecretBytes::new(made.root_token.to_vec());
    first.unseal(&shares).await?;
    let root = first.client_as(root_token.duplicate())?;
    for server in [&second, &third] {
        join(&root, server, &cluster).await?;
        server.unseal(&shares).await?;
    }
    let voters = || async {
        let members = root.call(v1::MembersRequest::default()).await;
        members.is_ok_and(|reply| reply.members.iter().filter(|member| member.voter).count() == 3)
    };
    eventually("all three vote", voters).await?;
    let held = second
        .client_as(root_token.duplicate())?
        .call(v1::StatusRequest::default())
        .await?
        .applied;
    second.kill()?;
    let large = "v".repeat(64 << 10);
    for n in 0..60 {
        put(&root, &format!("secret/large/{n}"), &large).await?;
    }
    // Nobody has what it needs next in a log any more, so that it can only get it in a snapshot.
    for server in [&first, &third] {
        let client = server.client_as(root_token.duplicate())?;
        let is_purged = || async {
            client
                .call(v1::StatusRequest::default())
                .await
                .is_ok_and(|status| status.purged > held)
        };
        eventually("the log is purged behind a snapshot", is_purged).await?;
    }

    let load = root.clone();
    let writing = tokio::spawn(async move {
        for n in 0..100 {
            put(&load, &format!("secret/load/{n}"), "y").await?;
        }
        anyhow::Ok(())
    });
    second.run().await?;
    second.unseal(&shares).await?;
    writing.await??;
    let on_second = second.client_as(root_token)?;
    ensure!(get(&on_second, "secret/large/59").await?.contains(&large));
    equal_states(&[root, on_second]).await
}

async fn restarts_as_it_was(server: &mut Server, shares: &[String], root: SecretBytes) -> Result<()> {
    server.kill()?;
    server.run().await?;
    server.unseal(shares).await?;
    let client = server.client_as(root)?;
    eventually("it serves again", || async {
        get(&client, "secret/after").await.is_ok()
    })
    .await
}

async fn join(root: &Client, server: &Server, cluster: &Cluster) -> Result<()> {
    let ticket = root.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
    let request = v1::JoinClusterRequest {
        join_token: ticket,
        ca: std::fs::read(cluster.ca_file())?.into(),
    };
    let joining = server.client_as(SecretBytes::default())?;
    joining.join_cluster(None, request).await?;
    Ok(())
}

async fn save(client: &Client) -> Result<Vec<u8>> {
    let mut parts = client.save_backup(None).await?;
    let mut backup = Vec::new();
    while let Some(part) = parts.next().await? {
        backup.extend_from_slice(&part);
    }
    ensure!(
        parts.size() == backup.len() as u64,
        "the announced size is not the size"
    );
    Ok(backup)
}

async fn restore(client: &Client, backup: &[u8]) -> Result<v1::SnapshotRestored> {
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
    loop {
        if let Some(restored) = restoring.next().await?.restored {
            return Ok(restored);
        }
    }
}

async fn put(client: &Client, path: &str, value: &str) -> Result<()> {
    client
        .call(v1::KvPutRequest {
            path: path.to_owned(),
            data: serde_json::to_vec(&serde_json::json!({ "k": value }))?.into(),
            ..Default::default()
        })
        .await?;
    Ok(())
}

async fn get(client: &Client, path: &str) -> Result<String> {
    let request = v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    let item = client.call(request).await?.item.context("there is an item")?;
    Ok(String::from_utf8(item.data.to_vec())?)
}
