//! A client of several nodes, of which one has stopped and says nothing: its connection stays open, and each request of it runs out of time.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::Client;
use aumbry_tests::{Disks, Rack, put};

/// One request that was under way is lost to it, and then the others are asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_says_nothing_costs_a_client_one_request() -> Result<()> {
    let rack = Rack::start(Disks::Directories, "").await?;
    let silent = (rack.leader().await? + 1) % 3;
    let client = rack.client_from(silent)?;
    put(&client, "secret/endpoints", "before").await?;
    let process = rack.servers[silent].process().context("it runs")?.to_string();
    let stopped = Command::new("kill").args(["-STOP", &process]).status()?;
    ensure!(stopped.success());
    let result = ask(&client).await;
    Command::new("kill").args(["-CONT", &process]).status()?;
    result
}

async fn ask(client: &Client) -> Result<()> {
    let first = put(client, "secret/endpoints", "lost").await;
    // The positive control: the node that says nothing was asked.
    ensure!(first.is_err(), "another node was asked: this shows nothing");
    for n in 0..REQUESTS {
        let next = put(client, "secret/endpoints", "served").await;
        next.with_context(|| {
            format!("request {n} after the first: the client goes on asking the node that says nothing")
        })?;
    }
    Ok(())
}

const REQUESTS: usize = 5;
