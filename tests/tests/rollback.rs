//! An old copy of a whole data directory is put back. Nothing in it shows that it is old: the other nodes tell.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Fleet, Unusual, equal_states, eventually, operator};

/// The node is told by the leader's first message. It takes nothing in, ends with a line that says why and what to do, and does so at once when it
/// is started again, with nobody there to tell it. The others go on, and it comes back under another id.
///
/// Abuse cases: 111.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_put_back_to_an_old_copy_ends() -> Result<()> {
    let mut fleet = Fleet::start(&three()).await?;
    let client = fleet.client()?;
    put(&client, 0..50).await?;
    let copy = take_copy(&mut fleet, 3).await?;
    // A leader's own acknowledgements are known too.
    put(&client, 50..100).await?;
    fleet.lead(3).await?;
    put(&client, 100..150).await?;
    fleet.lead(2).await?;
    put(&client, 150..200).await?;
    equal_states(&[fleet.client_on(1)?, fleet.client_on(2)?, fleet.client_on(3)?]).await?;

    put_back(&mut fleet, 3, &copy)?;
    let (_, told) = start_and_end(&mut fleet, 3).await?;
    ensure!(told.contains("its disk was rolled back"), "{told}");
    put(&client, 200..210).await?;
    fleet.kill(1)?;
    fleet.kill(2)?;
    let (code, again) = start_and_end(&mut fleet, 3).await?;
    ensure!(code > 0, "it ended with {code}");
    ensure!(again.contains("its disk was rolled back"), "{again}");
    let (code, found) = operator("check", &fleet.server(3).config(), &[])?;
    ensure!(code == 8 && found["remedy"] == "discard", "{found}");
    let (code, told) = operator("repair", &fleet.server(3).config(), &[])?;
    ensure!(code == 8, "an old copy was repaired: {told}");
    for node in [1, 2] {
        fleet.server_mut(node).run().await?;
    }
    for node in [1, 2] {
        fleet.unseal(fleet.server(node)).await?;
    }
    come_back_anew(&fleet, 3, &[1, 2], 210).await
}

/// The case that matters most. A node that lags and one that was rolled back are the only two that are up: together they would elect a leader that
/// lacks what was acknowledged, as neither log shows that there was more. The one that lags knows that the other has acknowledged more than it has.
///
/// Abuse cases: 111.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_rolled_back_does_not_vote_for_one_that_lacks_what_it_acknowledged() -> Result<()> {
    let mut fleet = Fleet::start(&three()).await?;
    fleet.lead(1).await?;
    let client = fleet.client()?;
    put(&client, 0..20).await?;
    let copy = take_copy(&mut fleet, 2).await?;
    let at_copy = fleet.client_on(1)?.call(v1::StatusRequest::default()).await?.applied;
    put(&client, 20..120).await?;
    eventually(
        "the third node has heard and kept what the second acknowledged",
        || async { heard(&fleet, 3, 2).is_some_and(|index| index > at_copy + 50) },
    )
    .await?;
    fleet.kill(3)?;
    put(&client, 120..170).await?;
    put_back(&mut fleet, 2, &copy)?;
    fleet.kill(1)?;

    // The third one calls an election, or is asked by the second: either way the second is told.
    fleet.server_mut(3).run().await?;
    let (code, told) = start_and_end(&mut fleet, 2).await?;
    ensure!(code > 0, "it ended with {code}");
    ensure!(told.contains("its disk was rolled back"), "{told}");
    let lagging = fleet.client_on(3)?.health(None).await?;
    ensure!(!lagging.is_leader, "a node leads that lacks what was acknowledged");
    fleet.run(1).await?;
    fleet.unseal(fleet.server(3)).await?;
    come_back_anew(&fleet, 2, &[1, 3], 170).await
}

/// The control: the same absence without the old copy. The node comes back, is told of nothing, and elects a leader with one that lags.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_only_away_comes_back() -> Result<()> {
    let mut fleet = Fleet::start(&three()).await?;
    let client = fleet.client()?;
    put(&client, 0..50).await?;
    fleet.lead(1).await?;
    fleet.kill(2)?;
    put(&client, 50..100).await?;
    fleet.lead(3).await?;
    put(&client, 100..200).await?;
    fleet.run(2).await?;
    equal_states(&[fleet.client_on(1)?, fleet.client_on(2)?, fleet.client_on(3)?]).await?;

    fleet.kill(3)?;
    put(&client, 200..250).await?;
    fleet.kill(2)?;
    fleet.kill(1)?;
    fleet.server_mut(3).run().await?;
    fleet.server_mut(2).run().await?;
    for node in [2, 3] {
        fleet.unseal(fleet.server(node)).await?;
    }
    get(&client, 0..250).await?;
    fleet.run(1).await?;
    equal_states(&[fleet.client_on(1)?, fleet.client_on(2)?, fleet.client_on(3)?]).await?;
    for node in 1..=3 {
        let log = fleet.server(node).log();
        ensure!(!log.contains("rolled back"), "node {node}: {log}");
        ensure!(!fleet.data(node).join("rolled-back").exists());
    }
    Ok(())
}

/// What was acknowledged is all there; the node is removed, its directory thrown away, and it joins under another id.
async fn come_back_anew(fleet: &Fleet, node_id: u64, others: &[u64], acknowledged: u64) -> Result<()> {
    let client = fleet.client()?;
    get(&client, 0..acknowledged).await?;
    let remove = v1::RemoveRequest {
        node_id,
        ..Default::default()
    };
    client.call(remove).await?;
    let join_token = client.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
    let fresh = fleet.fresh("anew").await?;
    let id = fleet.join(&fresh, &join_token).await?;
    ensure!(id == 4);
    fleet.unseal(&fresh).await?;
    put(&client, acknowledged..acknowledged + 5).await?;
    let mut clients = others
        .iter()
        .map(|node| fleet.client_on(*node))
        .collect::<Result<Vec<_>>>()?;
    clients.push(fresh.client_as(fleet.root_token())?);
    equal_states(&clients).await?;
    get(&clients[2], 0..acknowledged + 5).await
}

fn three() -> [Unusual; 3] {
    std::array::from_fn(|_| Unusual::default())
}

/// Copies the data directory of a node, which is down meanwhile.
async fn take_copy(fleet: &mut Fleet, node: u64) -> Result<std::path::PathBuf> {
    let copy = fleet.directory().join("copy");
    fleet.kill(node)?;
    duplicate(&fleet.data(node), &copy)?;
    fleet.run(node).await?;
    Ok(copy)
}

/// Ends a node, and puts the copy of its data directory back.
fn put_back(fleet: &mut Fleet, node: u64, copy: &Path) -> Result<()> {
    fleet.kill(node)?;
    std::fs::remove_dir_all(fleet.data(node))?;
    duplicate(copy, &fleet.data(node))
}

fn duplicate(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(status.success(), "cp: {status}");
    Ok(())
}

/// Starts a node and waits until it has ended. Gives its exit code, and what it wrote.
async fn start_and_end(fleet: &mut Fleet, node: u64) -> Result<(i32, String)> {
    let server = fleet.server_mut(node);
    let before = server.log().len();
    server.spawn()?;
    let code = server.ended().await?;
    Ok((code, server.log().split_off(before)))
}

/// What a node has kept of what another one has acknowledged.
fn heard(fleet: &Fleet, node: u64, of: u64) -> Option<u64> {
    let text = std::fs::read_to_string(fleet.data(node).join("acknowledged")).ok()?;
    let prefix = format!("node {of} ");
    text.lines().find_map(|line| line.strip_prefix(&prefix)?.parse().ok())
}

async fn put(client: &Client, numbers: std::ops::Range<u64>) -> Result<()> {
    for n in numbers {
        let request = v1::KvPutRequest {
            path: format!("secret/n{n}"),
            data: serde_json::json!({ "n": n }).to_string().into(),
            ..Default::default()
        };
        client.call(request).await?;
    }
    Ok(())
}

async fn get(client: &Client, numbers: std::ops::Range<u64>) -> Result<()> {
    for n in numbers {
        let request = v1::KvGetRequest {
            path: format!("secret/n{n}"),
            ..Default::default()
        };
        let reply = client
            .call(request)
            .await
            .with_context(|| format!("number {n} is lost"))?;
        let data: serde_json::Value = serde_json::from_slice(&reply.item.unwrap_or_default().data)?;
        ensure!(data["n"] == n, "number {n} is {data}");
    }
    Ok(())
}
