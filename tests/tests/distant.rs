//! Nodes in distant places: the way from one to another and back takes 80 ms, and the configuration says so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::Client;
use aumbry_tests::{Load, Rack, Setup, put, tell};

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_over_long_lines_keeps_its_place_until_it_is_killed() -> Result<()> {
    let mut rack = Rack::start_as(Setup {
        times: Some("profile = \"wan\""),
        round_trip: Some(ROUND_TRIP),
        ..Setup::default()
    })
    .await?;
    let result = run(&mut rack).await;
    result.with_context(|| rack.logs())
}

async fn run(rack: &mut Rack) -> Result<()> {
    let leader = rack.leader().await?;
    let term = rack.status(leader).await?.term;
    // The positive control: the lines are long. A write is at one of the others before it is acknowledged.
    let client = rack.client_from(leader)?;
    let mut lone = Vec::new();
    for n in 0..LONE {
        let begun = Instant::now();
        put(&client, &format!("secret/lone/{n}"), "far").await?;
        lone.push(begun.elapsed());
    }
    lone.sort_unstable();
    ensure!(
        lone[0] >= ROUND_TRIP,
        "a write took {:?}: the lines are not long",
        lone[0]
    );

    let writers: Result<Vec<Client>> = (0..WRITERS).map(|n| rack.client_from(n)).collect();
    let load = Load::start(writers?, "distant", VALUE_BYTES);
    let begun = Instant::now();
    load.goes_on(WRITES).await?;
    let took = begun.elapsed();
    ensure!(rack.leader().await? == leader, "another node leads");
    let now = rack.status(leader).await?.term;
    ensure!(now == term, "under load the term {term} became {now}");

    let killed = Instant::now();
    rack.kill(&[leader])?;
    // Every writer had one on its way; what comes after these was asked of the new leader.
    load.goes_on(2 * WRITERS as u64).await?;
    let replaced = killed.elapsed();
    let next = rack.leader().await?;
    let after = rack.status(next).await?.term;
    ensure!(
        (term + 1..=term + ELECTIONS_MAX).contains(&after),
        "the term {term} became {after}"
    );
    rack.restart(&[leader]).await?;
    load.goes_on(WRITERS as u64).await?;
    let ledger = load.end().await?;
    ensure!(
        ledger.failures.is_empty(),
        "of {} writes some failed: {:?}",
        ledger.acknowledged.len(),
        ledger.failures
    );
    ledger.check(&rack.client()?).await?;
    rack.equal_states().await?;
    tell(&format!(
        "80 ms there and back: a lone write {:?}, {WRITES} writes of {WRITERS} writers {took:?}, writes go on {replaced:?} after a kill, terms {term} to {after}",
        lone[LONE / 2]
    ));
    Ok(())
}

const ROUND_TRIP: Duration = Duration::from_millis(80);
const LONE: usize = 11;
const WRITERS: usize = 16;
const WRITES: u64 = 1_000;
const VALUE_BYTES: usize = 200;
/// Two that ask for votes at once can take them from each other, and try again.
const ELECTIONS_MAX: u64 = 3;
