//! A leader whose process is gone is replaced at once, however long elections take. One that is there, and lost its connections, is not.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Rack, Setup, eventually, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_killed_is_replaced_before_its_lease_ends() -> Result<()> {
    let mut rack = patient(None).await?;
    let result = kill(&mut rack).await;
    result.with_context(|| rack.logs())
}

async fn kill(rack: &mut Rack) -> Result<()> {
    for round in 0..ROUNDS {
        let leader = rack.leader().await?;
        let term = rack.status(leader).await?.term;
        rack.kill(&[leader])?;
        let client = rack.client()?;
        eventually(
            "a write is acknowledged before an election could begin by its time",
            || async { put(&client, "secret/lost", "no").await.is_ok() },
        )
        .await?;
        let now = rack.leader().await?;
        let after = rack.status(now).await?.term;
        ensure!(after == term + 1, "round {round}: term {term} became {after}");
        rack.restart(&[leader]).await?;
        rack.equal_states().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_connections_break_and_who_still_listens_is_left_in_its_place() -> Result<()> {
    let rack = patient(Some(Duration::ZERO)).await?;
    let result = break_connections(&rack).await;
    result.with_context(|| rack.logs())
}

async fn break_connections(rack: &Rack) -> Result<()> {
    let leader = rack.leader().await?;
    let term = rack.status(leader).await?.term;
    let client = rack.client()?;
    put(&client, "secret/breaks", "not yet").await?;
    for proxy in &rack.between {
        proxy.break_connections();
    }
    let others = (0..3).filter(|at| *at != leader);
    let have_looked = || {
        let mut others = others.clone();
        others.all(|at| rack.servers[at].log().contains(STILL_LISTENS))
    };
    eventually("both others have missed it, and have looked", || async {
        have_looked()
    })
    .await?;
    put(&client, "secret/breaks", "no more").await?;
    ensure!(rack.leader().await? == leader, "another node leads");
    let after = rack.status(leader).await?.term;
    ensure!(after == term, "term {term} became {after}");
    Ok(())
}

/// Nodes that call an election after a silence of one and a half minutes, which is longer than a test waits.
async fn patient(round_trip: Option<Duration>) -> Result<Rack> {
    Rack::start_as(Setup {
        times: Some("heartbeat_ms = 200\nelection_min_ms = 30000\nelection_max_ms = 60000"),
        round_trip,
        ..Setup::default()
    })
    .await
}

const ROUNDS: usize = 3;
const STILL_LISTENS: &str = "the connection of the leader broke, and it still listens";
