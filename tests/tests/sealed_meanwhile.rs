//! A node that is sealed while writes are on their way: what it then calls not applied is not there, however often it was tried.

use std::time::Duration;

use anyhow::{Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, tell};

/// The node tries again by itself what it may have applied, and finds itself sealed: that it is sealed now says nothing of the first try.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_applied_is_not_called_refused_because_the_node_was_sealed() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let (mut refused, mut unknown) = (0, 0);
    for round in 0..ROUNDS_MAX {
        if round >= ROUNDS && unknown > 0 {
            break;
        }
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let client = cluster.client();
                tokio::spawn(async move { write(&client?, &format!("secret/{round}/{writer}")).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(WARM_MS)).await;
        let client = cluster.client_on(1)?;
        client.call(v1::SealRequest::default()).await?;
        let mut failed = Vec::new();
        for writer in writers {
            failed.push(writer.await??);
        }
        cluster.unseal(1).await?;
        for (path, was_applied) in failed {
            let is_there = get(&client, &path).await?;
            match was_applied {
                v1::OutcomeClass::NotApplied => {
                    refused += 1;
                    ensure!(!is_there, "round {round}: {path} was refused for sure, and is there");
                }
                v1::OutcomeClass::Unknown => unknown += u32::from(is_there),
            }
        }
    }
    tell(&format!(
        "{refused} were refused, {unknown} had an unknown outcome and were applied"
    ));
    // The positive control: some were on their way.
    ensure!(
        refused > 0 && unknown > 0,
        "no write was on its way: this shows nothing"
    );
    Ok(())
}

/// Writes one secret after the other until one fails. Gives its path and what the failure says of the outcome.
async fn write(client: &Client, below: &str) -> Result<(String, v1::OutcomeClass)> {
    for n in 0_u64.. {
        let path = format!("{below}/{n}");
        let request = v1::KvPutRequest {
            path: path.clone(),
            data: "{}".into(),
            ..Default::default()
        };
        if let Err(error) = client.call(request).await {
            let outcome = error.failure().map(v1::Failure::outcome);
            return Ok((path, outcome.unwrap_or(v1::OutcomeClass::NotApplied)));
        }
    }
    unreachable!("numbers do not end")
}

async fn get(client: &Client, path: &str) -> Result<bool> {
    let request = v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    match client.call(request).await {
        Ok(_) => Ok(true),
        Err(error) if error.reason() == "NOT_FOUND" => Ok(false),
        Err(error) => Err(error.into()),
    }
}

const ROUNDS: usize = 10;
/// A seal meets a write that is applied and not told yet in about every third round.
const ROUNDS_MAX: usize = 60;
const WRITERS: usize = 16;
/// Each writer is at work by then.
const WARM_MS: u64 = 300;
