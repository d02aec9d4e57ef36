//! How many bytes a request is on the wire, between nodes and between the client and the leader, with TLS, HTTP/2 and all.
//!
//! A figure here may only go down. Each has a lower bound beside it, which what is sent cannot do without: a proxy that counted nothing would be below it.

use anyhow::{Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Proxy, Rack, Setup, tell};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_no_more_than_so_many_bytes() -> Result<()> {
    let rack = Rack::start_as(Setup {
        // Heartbeats are not what is counted here.
        times: Some("heartbeat_ms = 10000\nelection_min_ms = 30000\nelection_max_ms = 60000"),
        round_trip: Some(Duration::ZERO),
        ..Setup::default()
    })
    .await?;
    let leader = rack.leader().await?;
    let near = Proxy::start(rack.servers[leader].client_address()).await?;
    let client = rack.client_of([near.address().to_owned()])?;
    // Connections are made, and what is read later is there.
    ask(&client, Work::Write, MANY, 1).await?;
    let mut misses = Vec::new();
    for Limit {
        work,
        in_flight,
        nodes,
        client: at_client,
    } in LIMITS
    {
        let count = if in_flight == 1 { LONE } else { MANY };
        let before = (between(&rack), near.count());
        ask(&client, work, count, in_flight).await?;
        let after = (between(&rack), near.count());
        let each = |after: u64, before: u64| (after - before) / count;
        let (sent, asked) = (each(after.0, before.0), each(after.1, before.1));
        tell(&format!(
            "{work:?}, {in_flight} in flight: {sent} bytes between nodes, {asked} between client and leader"
        ));
        for (what, bytes, [least, most]) in [("between nodes", sent, nodes), ("at the client", asked, at_client)] {
            if !(least..=most).contains(&bytes) {
                misses.push(format!(
                    "{work:?}, {in_flight} in flight, {what}: {bytes} bytes, not {least} to {most}"
                ));
            }
        }
    }
    ensure!(misses.is_empty(), "{}", misses.join("; "));
    Ok(())
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Work {
    Write,
    Read,
}

/// How many bytes of all that is sent a request may be: at least, and at most.
struct Limit {
    work: Work,
    in_flight: u64,
    nodes: [u64; 2],
    client: [u64; 2],
}

async fn ask(client: &Client, work: Work, count: u64, in_flight: u64) -> Result<()> {
    let asking = (0..in_flight).map(|first| async move {
        for n in (first..count).step_by(in_flight as usize) {
            let path = format!("secret/wire/{n:04}");
            match work {
                Work::Write => {
                    let request = v1::KvPutRequest {
                        path,
                        data: format!("{{\"k\":\"{}\"}}", "x".repeat(VALUE_BYTES as usize - 8)).into(),
                        ..Default::default()
                    };
                    client.call(request).await?;
                }
                Work::Read => {
                    let request = v1::KvGetRequest {
                        path,
                        ..Default::default()
                    };
                    let item = client.call(request).await?.item.unwrap_or_default();
                    ensure!(item.data.len() as u64 == VALUE_BYTES, "it is not what was written");
                }
            }
        }
        Ok(())
    });
    futures::future::try_join_all(asking).await.map(drop)
}

fn between(rack: &Rack) -> u64 {
    rack.between.iter().map(Proxy::count).sum()
}

const VALUE_BYTES: u64 = 1_024;
const LONE: u64 = 100;
const MANY: u64 = 1_280;
/// Two followers get the value, and its record; a record alone is a commitment, a salt and what was asked.
const VALUE_TWICE: u64 = 2 * VALUE_BYTES;
const RECORD_TWICE: u64 = 2 * 200;
const LIMITS: [Limit; 4] = [
    Limit {
        work: Work::Write,
        in_flight: 1,
        nodes: [VALUE_TWICE, 4_900],
        client: [VALUE_BYTES, 1_450],
    },
    Limit {
        work: Work::Read,
        in_flight: 1,
        nodes: [RECORD_TWICE, 1_350],
        client: [VALUE_BYTES, 1_450],
    },
    Limit {
        work: Work::Write,
        in_flight: 64,
        nodes: [VALUE_TWICE, 4_400],
        client: [VALUE_BYTES, 1_400],
    },
    Limit {
        work: Work::Read,
        in_flight: 64,
        nodes: [RECORD_TWICE, 750],
        client: [VALUE_BYTES, 1_400],
    },
];
