//! Nodes that were removed or died, initialisations that are repeated, addresses that want everything.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, Server, Unusual, eventually};
use aumbry_types::SecretBytes;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// A node that was removed is heard no more, though its id was the highest of all; nor does it get an answer for its clients.
///
/// Abuse cases: 68.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_a_stranger() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let client = cluster.client()?;
    if cluster.leader().await? == 3 {
        client.call(v1::StepDownRequest::default()).await?;
    }
    let on_third = cluster.client_on(3)?;
    let read = || {
        on_third.call(v1::KvListRequest {
            path: "secret".to_owned(),
            ..Default::default()
        })
    };
    let write = v1::KvPutRequest {
        path: "secret/x".to_owned(),
        data: "{}".into(),
        ..Default::default()
    };
    client.call(write.clone()).await?;
    eventually("the node answers as long as it is a member", || async {
        read().await.is_ok()
    })
    .await?;
    let members = cluster.client_as(cluster.root_token(), &cluster.endpoints()[..2])?;
    members
        .call(v1::RemoveRequest {
            node_id: 3,
            ..Default::default()
        })
        .await?;
    let stranger = cluster.builder(cluster.root_token(), &[cluster.node(3)?.client])?;
    let stranger = stranger.retries(false).timeout(Duration::from_secs(3)).build()?;
    for _ in 0..3 {
        ensure!(
            stranger.call(write.clone()).await.is_err(),
            "a removed node still writes"
        );
    }
    // The others do not mind: no new term, no lost leader.
    let before = members.call(v1::StatusRequest::default()).await?.term;
    for _ in 0..50 {
        members.call(write.clone()).await?;
    }
    ensure!(
        members.call(v1::StatusRequest::default()).await?.term == before,
        "the removed node made elections"
    );
    Ok(())
}

/// A peer that is down costs a few lines in the log, not the disk and a core.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_follower_is_told_once() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let leader = cluster.leader().await?;
    let nodes = cluster.nodes();
    let dead = nodes.iter().find(|node| node.id != leader).context("a follower")?.id;
    cluster.kill(dead)?;
    let client = cluster.client_on(leader)?;
    for n in 0..200 {
        let put = v1::KvPutRequest {
            path: format!("secret/{n}"),
            data: "{}".into(),
            ..Default::default()
        };
        client.call(put).await?;
    }
    let log = cluster.dir().join(format!("n{leader}/server.log"));
    let text = std::fs::read_to_string(log)?;
    let about = text.lines().filter(|line| line.contains("cannot be reached")).count();
    ensure!(about >= 1, "nobody is told that a peer is down:\n{text}");
    ensure!(
        text.len() < 20_000,
        "{} bytes of log for one peer that is down",
        text.len()
    );
    Ok(())
}

/// Only who initialised a node can throw its shares away, and only until they are used.
///
/// Abuse cases: 48.
#[tokio::test(flavor = "multi_thread")]
async fn an_initialisation_is_repeated_by_its_owner_only() -> Result<()> {
    let lender = Cluster::start(1)?;
    let directory = tempfile::tempdir()?;
    let server = Server::start(&directory.path().join("n"), &lender, &Unusual::default()).await?;
    let client = server.client_as(SecretBytes::default())?;
    let init = |key: &'static str| {
        client.init(v1::InitRequest {
            shares: 1,
            threshold: 1,
            key: key.into(),
            ..Default::default()
        })
    };
    let first = init("mine").await?;
    for stranger in ["", "theirs"] {
        ensure!(init(stranger).await.is_err(), "{stranger:?} threw the shares away");
    }
    let second = init("mine").await?;
    let share = |reply: &v1::InitReply| SecretBytes::new(reply.shares[0].to_vec());
    ensure!(
        client.unseal(None, share(&first)).await.is_err(),
        "a share of before opens the seal"
    );
    ensure!(!client.unseal(None, share(&second)).await?.sealed);
    let root = server.client_as(SecretBytes::new(second.root_token.to_vec()))?;
    root.call(v1::StatusRequest::default()).await?;
    ensure!(init("mine").await.is_err(), "shares in use were thrown away");
    Ok(())
}

/// One address that holds all its connections open leaves others theirs, and does not get more.
///
/// Abuse cases: 94.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_so_many_connections() -> Result<()> {
    let lender = Cluster::start(1)?;
    let directory = tempfile::tempdir()?;
    let unusual = Unusual {
        config: "[limits]\nconnections_per_address = 5\n".to_owned(),
        ..Unusual::default()
    };
    let server = Server::start(&directory.path().join("n"), &lender, &unusual).await?;
    let mut held = Vec::new();
    let mut closed = 0;
    for _ in 0..20 {
        let mut tcp = TcpStream::connect(server.client_address()).await?;
        let read = tokio::time::timeout(Duration::from_millis(300), tcp.read(&mut [0; 1])).await;
        match read {
            // Still open: it waits for a handshake.
            Err(_) => held.push(tcp),
            Ok(_) => closed += 1,
        }
    }
    ensure!(
        held.len() <= 5 && closed >= 15,
        "{} are open, {closed} were closed",
        held.len()
    );
    drop(held);
    let client = server.client_as(SecretBytes::default())?;
    eventually("it is served when places are free", || async {
        client.health(None).await.is_ok()
    })
    .await
}
