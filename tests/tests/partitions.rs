//! Nodes that cannot hear each other, and a leader that does not know that it is one no more.
#![expect(clippy::print_stdout, reason = "what was measured is shown with --nocapture")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, Error, v1};
use aumbry_tests::{Lab, eventually, in_namespace};
use tokio::task::JoinHandle;

/// The regression schedule of the read fence: a leader is cut off with reads waiting in it, another one acknowledges a write, the network
/// heals, the other one dies, and the first leads again in a later term. What was waiting must not leave with the old value.
///
/// Abuse cases: 74, 81.
#[test]
fn a_leader_that_is_cut_off_and_leads_again_answers_nothing_stale() -> Result<()> {
    let name = "a_leader_that_is_cut_off_and_leads_again_answers_nothing_stale";
    in_namespace(name, || async { rounds(Trouble::Cut).await })
}

/// The same, with a leader that is stopped and goes on, knowing of nothing.
///
/// Abuse cases: 74, 81.
#[test]
fn a_leader_that_was_stopped_and_leads_again_answers_nothing_stale() -> Result<()> {
    let name = "a_leader_that_was_stopped_and_leads_again_answers_nothing_stale";
    in_namespace(name, || async { rounds(Trouble::Stop).await })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Cut,
    Stop,
}

async fn rounds(trouble: Trouble) -> Result<()> {
    let mut lab = Lab::start(3).await?;
    let mut told = Told::default();
    for n in 0..ROUNDS {
        round(&mut lab, trouble, n, &mut told)
            .await
            .with_context(|| format!("round {n}"))?;
    }
    let Told {
        waited,
        refused,
        answered,
    } = told;
    println!(
        "{ROUNDS} rounds: {waited} reads waited at the old leader when it woke up; {refused} were refused, {answered} answered, none stale"
    );
    // The positive control: what is asked of a leader is answered within milliseconds, but these were with one that was none any more.
    ensure!(
        waited >= ROUNDS * WAITING,
        "too few reads waited at the old leader: {waited}"
    );
    Ok(())
}

/// What became of the reads.
#[derive(Default)]
struct Told {
    waited: usize,
    refused: usize,
    answered: usize,
}

async fn round(lab: &mut Lab, trouble: Trouble, n: usize, told: &mut Told) -> Result<()> {
    let all: Vec<u8> = lab.ids().collect();
    let old = lab.leader_of(&all).await?;
    let others: Vec<u8> = all.iter().copied().filter(|node| *node != old).collect();
    put(&lab.client_on(old, SHORT)?, &format!("{n} before")).await?;
    // Connected before, so that the requests lie ready in the socket of a process that is stopped.
    let at_old = lab.client_on(old, LONG)?;
    at_old.health(None).await?;

    match trouble {
        Trouble::Cut => {
            for other in &others {
                lab.cut(old, *other)?;
                lab.cut(*other, old)?;
            }
            // Clients still reach it: what follows is not for want of a connection.
            at_old.health(None).await?;
        }
        Trouble::Stop => lab.signal(old, "STOP")?,
    }
    let early = reads(&at_old);
    let new = lab.leader_of(&others).await?;
    ensure!(new != old);
    let written = put(&lab.client_on(new, SHORT)?, &format!("{n} after")).await?;
    let late = reads(&at_old);
    told.waited += early.iter().chain(&late).filter(|read| !read.is_finished()).count();
    match trouble {
        Trouble::Cut => {
            for other in &others {
                lab.heal(old, *other)?;
                lab.heal(*other, old)?;
            }
        }
        Trouble::Stop => lab.signal(old, "CONT")?,
    }

    // Each second time the old leader leads again at once, with all its clients' requests still in it.
    if n % 2 == 1 {
        lead(lab, old).await?;
    }
    lab.kill(new)?;
    let rest: Vec<u8> = all.iter().copied().filter(|node| *node != new).collect();
    lab.leader_of(&rest).await?;
    lead(lab, old).await?;
    for (reads, were_late) in [(early, false), (late, true)] {
        for read in reads {
            match read.await? {
                Ok((index, value)) => {
                    told.answered += 1;
                    // What was asked before the write was acknowledged may be older than it, if its place in the log says so.
                    let may_be_old = !were_late && index < written;
                    ensure!(
                        value == format!("{n} after") || may_be_old,
                        "a read at index {index} gave {value:?}; the write was at {written}, asked after it: {were_late}"
                    );
                }
                Err(_) => told.refused += 1,
            }
        }
    }
    lab.restart(new).await
}

/// Makes a node the leader, as soon as it can be.
async fn lead(lab: &Lab, node: u8) -> Result<()> {
    let all: Vec<u8> = lab.ids().collect();
    eventually("leadership is transferred", || async {
        let Ok(client) = lab.client_on(node, SHORT) else {
            return false;
        };
        let node_id = u64::from(node);
        let _ = client
            .call(v1::TransferRequest {
                node_id,
                ..Default::default()
            })
            .await;
        client
            .call(v1::StatusRequest::default())
            .await
            .is_ok_and(|status| status.is_leader)
    })
    .await
    .with_context(|| format!("node {node} of {all:?}: {}", lab.log(node)))
}

/// A leader whose messages arrive and who hears nothing, or the other way round: the others elect a new one, and it answers nothing.
///
/// Abuse cases: 74.
#[test]
fn one_way_loss_makes_a_new_leader_and_silences_the_old() -> Result<()> {
    in_namespace("one_way_loss_makes_a_new_leader_and_silences_the_old", || async {
        let lab = Lab::start(3).await?;
        let all: Vec<u8> = lab.ids().collect();
        for hears in [false, true] {
            let old = lab.leader_of(&all).await?;
            let others: Vec<u8> = all.iter().copied().filter(|node| *node != old).collect();
            put(&lab.client_on(old, SHORT)?, "before").await?;
            let direction = |other: u8| if hears { (old, other) } else { (other, old) };
            for other in &others {
                let (from, to) = direction(*other);
                lab.cut(from, to)?;
            }
            let since = Instant::now();
            let new = lab.leader_of(&others).await?;
            let took = since.elapsed();
            println!(
                "the old leader {}: a new leader after {took:?}",
                if hears { "hears only" } else { "speaks only" }
            );
            ensure!(took < Duration::from_secs(10), "it took {took:?} to elect a new leader");
            put(&lab.client_on(new, SHORT)?, "after").await?;
            let at_old = lab.client_on(old, SHORT)?;
            // The positive control: clients do reach it.
            at_old.health(None).await?;
            for _ in 0..5 {
                let answer = get(&at_old).await;
                ensure!(answer.is_err(), "the old leader told {:?}", answer.ok());
            }
            for other in &others {
                let (from, to) = direction(*other);
                lab.heal(from, to)?;
            }
            eventually("the old leader serves by the new one", || async {
                get(&at_old).await.is_ok_and(|(_, value)| value == "after")
            })
            .await?;
        }
        Ok(())
    })
}

/// Two of three nodes are down: what is asked is refused within its deadline, and nothing of it is told as done.
#[test]
fn without_a_quorum_requests_are_refused_within_their_deadline() -> Result<()> {
    in_namespace(
        "without_a_quorum_requests_are_refused_within_their_deadline",
        || async {
            let mut lab = Lab::start(3).await?;
            let all: Vec<u8> = lab.ids().collect();
            let leader = lab.leader_of(&all).await?;
            put(&lab.client_on(leader, SHORT)?, "before").await?;
            let others: Vec<u8> = all.iter().copied().filter(|node| *node != leader).collect();
            for other in &others {
                lab.kill(*other)?;
            }
            let alone = lab.client_on(leader, SHORT)?;
            for n in 0..6 {
                let since = Instant::now();
                let refused = if n % 2 == 0 {
                    put(&alone, &format!("alone {n}")).await.map(drop)
                } else {
                    get(&alone).await.map(drop)
                };
                let error = refused.err().context("it answered without a quorum")?;
                ensure!(
                    since.elapsed() < SHORT + Duration::from_secs(2),
                    "it took {:?}: {error}",
                    since.elapsed()
                );
            }
            for other in others {
                lab.restart(other).await?;
            }
            let leader = lab.leader_of(&all).await?;
            put(&lab.client_on(leader, SHORT)?, "again").await?;
            let (_, value) = get(&lab.client_on(leader, SHORT)?).await?;
            ensure!(value == "again");
            Ok(())
        },
    )
}

fn reads(client: &Client) -> Vec<JoinHandle<Result<(u64, String), Error>>> {
    let read = |client: Client| tokio::spawn(async move { get(&client).await });
    (0..WAITING).map(|_| read(client.clone())).collect()
}

/// Writes the value; the index of the write.
async fn put(client: &Client, value: &str) -> Result<u64, Error> {
    let data = serde_json::json!({ "value": value }).to_string();
    let path = "secret/seen".to_owned();
    let request = v1::KvPutRequest {
        path,
        data: data.into(),
        ..Default::default()
    };
    Ok(client.call(request).await?.header.unwrap_or_default().index)
}

/// The index at which the value was read, and the value.
async fn get(client: &Client) -> Result<(u64, String), Error> {
    let path = "secret/seen".to_owned();
    let reply = client
        .call(v1::KvGetRequest {
            path,
            ..Default::default()
        })
        .await?;
    let item = reply.item.unwrap_or_default();
    let data: serde_json::Value = serde_json::from_slice(&item.data).unwrap_or_default();
    let value = data["value"].as_str().unwrap_or_default().to_owned();
    Ok((reply.header.unwrap_or_default().index, value))
}

const ROUNDS: usize = 20;
/// Reads that wait at the old leader at each of two moments.
const WAITING: usize = 8;
/// What is asked of a node that can answer, or must refuse.
const SHORT: Duration = Duration::from_secs(5);
/// Longer than a round: what waits is not ended by its own deadline.
const LONG: Duration = Duration::from_secs(25);
