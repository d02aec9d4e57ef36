//! Members that come and go.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, Server, Unusual, equal_states, eventually};
use aumbry_types::SecretBytes;

/// Two nodes join and two leave while a third one sleeps. It wakes up among members of whom it has never heard, and catches up; a member that
/// left disturbs nobody with its old disk; a join token works once, and no id is given twice.
///
/// Abuse cases: 66, 67, 68.
#[tokio::test(flavor = "multi_thread")]
async fn the_members_are_exchanged_while_one_sleeps() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let directory = tempfile::tempdir()?;
    let shares = &cluster.shares()[..cluster.threshold()];
    let old = cluster.client()?;
    for n in 0..20 {
        put(&old, n).await?;
    }
    let sleeper = 3;
    cluster.kill(sleeper)?;

    let mut joined = Vec::new();
    for name in ["n4", "n5"] {
        let server = Server::start(&directory.path().join(name), &cluster, &Unusual::default()).await?;
        let join_token = old.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
        join(&cluster, &server, &join_token).await?;
        server.unseal(shares).await?;
        let again = Server::start(
            &directory.path().join(format!("not-{name}")),
            &cluster,
            &Unusual::default(),
        )
        .await?;
        let refused = join(&cluster, &again, &join_token)
            .await
            .err()
            .context("a join token worked twice")?;
        ensure!(refused.to_string().contains("join token"), "{refused}");
        joined.push(server);
    }
    let endpoints: Vec<String> = joined.iter().map(|server| server.client_address().to_owned()).collect();
    let new = cluster.client_as(cluster.root_token(), &endpoints)?;
    voters(&new, &[1, 2, 3, 4, 5]).await?;
    put(&new, 20).await?;

    // Whoever leads of those that leave hands over first, as an operator would.
    for (leaving, rest) in [(1, vec![2, 3, 4, 5]), (2, vec![3, 4, 5])] {
        eventually("leadership is with one that stays", || async {
            let node_id = if leaving == 1 { 4 } else { 5 };
            let _ = new
                .call(v1::TransferRequest {
                    node_id,
                    ..Default::default()
                })
                .await;
            new.call(v1::StatusRequest::default())
                .await
                .is_ok_and(|status| status.leader_id == node_id)
        })
        .await?;
        new.call(v1::RemoveRequest {
            node_id: leaving,
            ..Default::default()
        })
        .await?;
        voters(&new, &rest).await?;
        cluster.kill(leaving)?;
    }
    for n in 21..60 {
        put(&new, n).await?;
    }

    cluster.restart(sleeper)?;
    cluster.unseal(sleeper).await?;
    let mut clients = vec![cluster.client_on(sleeper)?];
    for server in &joined {
        clients.push(server.client_as(cluster.root_token())?);
    }
    equal_states(&clients).await?;
    for n in [0, 20, 59] {
        ensure!(get(&clients[0], n).await? == n, "the node that slept has everything");
    }

    let before = new.call(v1::StatusRequest::default()).await?;
    cluster.restart(1)?;
    let (log, refused) = (log_of(&cluster, 1), "removed");
    eventually("the node that left is told so", || async {
        read(&log).contains(refused)
    })
    .await
    .with_context(|| read(&log))?;
    for n in 60..100 {
        put(&new, n).await?;
    }
    let after = new.call(v1::StatusRequest::default()).await?;
    ensure!(
        (before.term, before.leader_id) == (after.term, after.leader_id),
        "the node that left disturbed the others: terms {} and {}",
        before.term,
        after.term
    );
    let left = cluster.client_on(1)?;
    let answer = left
        .call(v1::KvGetRequest {
            path: path(0),
            ..Default::default()
        })
        .await;
    ensure!(answer.is_err(), "the node that left answered");

    // The id of one that left is never given again, not even to the one who had it.
    new.call(v1::RemoveRequest {
        node_id: 5,
        ..Default::default()
    })
    .await?;
    let late = Server::start(&directory.path().join("n6"), &cluster, &Unusual::default()).await?;
    let join_token = new.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
    let id = join(&cluster, &late, &join_token).await?;
    ensure!(id > 5, "the id {id} was given before");
    Ok(())
}

/// A node whose disk was wiped is not the member that it was: it comes back by a join token, under another id, and the old one is removed.
///
/// Abuse cases: 67.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_comes_back_by_a_join_token_alone() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let directory = tempfile::tempdir()?;
    let client = cluster.client()?;
    for n in 0..10 {
        put(&client, n).await?;
    }
    let leader = cluster.leader().await?;
    let lost = if leader == 3 { 2 } else { 3 };
    let (node, lost_id) = (cluster.node(lost)?, lost);
    cluster.kill(lost)?;
    std::fs::remove_dir_all(&node.data_dir)?;
    cluster.restart(lost)?;
    // It is a fresh node: it knows no cluster, whatever its members say to it, and they go on without.
    for n in 10..30 {
        put(&client, n).await?;
    }
    let wiped = cluster.client_on(lost)?;
    ensure!(
        !wiped.seal_status(None).await?.initialized,
        "a wiped node belongs to no cluster"
    );
    client
        .call(v1::RemoveRequest {
            node_id: lost_id,
            ..Default::default()
        })
        .await?;
    cluster.kill(lost)?;

    let server = Server::start(&directory.path().join("again"), &cluster, &Unusual::default()).await?;
    let join_token = client.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
    let id = join(&cluster, &server, &join_token).await?;
    ensure!(id == 4);
    server.unseal(&cluster.shares()[..cluster.threshold()]).await?;
    let others = cluster.nodes().into_iter().filter(|node| node.id != lost_id);
    let mut clients = others
        .map(|node| cluster.client_on(node.id))
        .collect::<Result<Vec<_>>>()?;
    clients.push(server.client_as(cluster.root_token())?);
    equal_states(&clients).await?;
    ensure!(get(&clients[2], 29).await? == 29);
    Ok(())
}

async fn join(cluster: &Cluster, server: &Server, token: &[u8]) -> Result<u64> {
    let request = v1::JoinClusterRequest {
        join_token: token.to_vec().into(),
        ca: std::fs::read(cluster.ca_file())?.into(),
    };
    let client = server.client_as(SecretBytes::default())?;
    Ok(client.join_cluster(None, request).await?.node_id)
}

async fn voters(client: &Client, expected: &[u64]) -> Result<()> {
    eventually("the voters are as expected", || async {
        let Ok(reply) = client.call(v1::MembersRequest::default()).await else {
            return false;
        };
        let voters: Vec<u64> = reply
            .members
            .iter()
            .filter(|member| member.voter)
            .map(|member| member.id)
            .collect();
        voters == expected
    })
    .await
    .with_context(|| format!("{expected:?}"))
}

async fn put(client: &Client, n: u64) -> Result<()> {
    let data = serde_json::json!({ "n": n }).to_string();
    client
        .call(v1::KvPutRequest {
            path: path(n),
            data: data.into(),
            ..Default::default()
        })
        .await?;
    Ok(())
}

async fn get(client: &Client, n: u64) -> Result<u64> {
    let reply = client
        .call(v1::KvGetRequest {
            path: path(n),
            ..Default::default()
        })
        .await?;
    let data: serde_json::Value = serde_json::from_slice(&reply.item.unwrap_or_default().data)?;
    data["n"].as_u64().context("a number was written")
}

fn path(n: u64) -> String {
    format!("secret/n{n}")
}

fn log_of(cluster: &Cluster, node: u64) -> std::path::PathBuf {
    cluster.dir().join(format!("n{node}")).join("server.log")
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
