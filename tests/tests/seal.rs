//! Initialising and the seal, over real processes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, Lab, Recorded, eventually, in_namespace, records, records_from};
use aumbry_types::SecretBytes;

/// The cluster is initialised once; each wrong share is refused by itself and named, and what was shown before still counts.
///
/// Abuse cases: 51.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_shares_are_named_and_change_nothing() -> Result<()> {
    let cluster = Cluster::start_with(1, &["--sealed"], &[])?;
    let foreign = Cluster::start_with(1, &["--sealed"], &[])?;
    let client = cluster.client_on(1)?;
    let again = client
        .init(v1::InitRequest {
            shares: 5,
            threshold: 3,
            key: "owner".into(),
            ..Default::default()
        })
        .await;
    ensure!(
        again
            .err()
            .is_some_and(|error| error.to_string().contains("initialised already"))
    );

    let share = |n: usize| cluster.shares()[n].clone();
    let shown = client.unseal(None, SecretBytes::from(share(0))).await?;
    ensure!((shown.progress, shown.threshold, shown.sealed) == (1, 3, true));
    let flipped = {
        let mut text = share(1).into_bytes();
        let last = text.len() - 6;
        text[last] = if text[last] == b'7' { b'8' } else { b'7' };
        String::from_utf8(text)?
    };
    let wrong = [
        ("repeated", share(0)),
        ("flipped", flipped),
        ("foreign", foreign.shares()[1].clone()),
        ("number zero", with_number(&share(1), 0)?),
        ("number of another", with_number(&share(1), 4)?),
        ("short", share(1)[..30].to_owned()),
        ("empty", String::new()),
        ("no share at all", "correct horse battery staple".to_owned()),
        ("1 MB", "7".repeat(1 << 20)),
        ("10 MB", "7".repeat(10 << 20)),
    ];
    let mut messages = Vec::new();
    for (what, text) in wrong {
        let refused = client.unseal(None, SecretBytes::from(text)).await;
        let Err(error) = refused else {
            anyhow::bail!("a {what} share was taken")
        };
        messages.push(format!("{what}: {error}"));
        let status = client.seal_status(None).await?;
        ensure!(
            (status.progress, status.sealed) == (1, true),
            "a {what} share changed the progress"
        );
    }
    ensure!(
        messages.iter().all(|message| !message.contains(&share(1)[20..40])),
        "{messages:?}"
    );
    ensure!(
        messages.iter().take(3).collect::<std::collections::BTreeSet<_>>().len() == 3,
        "{messages:?}"
    );
    for n in [2, 4] {
        client.unseal(None, SecretBytes::from(share(n))).await?;
    }
    ensure!(!client.seal_status(None).await?.sealed);
    Ok(())
}

/// The share with another number, and the checksum that goes with it: nobody mistypes that.
fn with_number(share: &str, number: u8) -> Result<String> {
    const ALPHABET: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";
    const PREFIX: &str = "aumbry-share-";
    let symbols = share.trim().strip_prefix(PREFIX).context("a share has its prefix")?;
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for symbol in symbols.bytes() {
        let value = ALPHABET
            .iter()
            .position(|known| *known == symbol)
            .context("a letter of the alphabet")?;
        bits = bits << 5 | u32::try_from(value)?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    ensure!(bytes.len() == 51, "a share has {} bytes", bytes.len());
    let checksum = |content: &[u8]| crc32c::crc32c(content).to_be_bytes();
    ensure!(
        bytes[47..] == checksum(&bytes[..47]),
        "the positive control: the checksum is where it is expected"
    );
    bytes[14] = number;
    let new = checksum(&bytes[..47]);
    bytes[47..].copy_from_slice(&new);
    let symbol = |at: usize| {
        let (byte, bit) = (at * 5 / 8, at * 5 % 8);
        let pair = [bytes[byte], bytes.get(byte + 1).copied().unwrap_or(0)];
        char::from(ALPHABET[usize::from((u16::from_be_bytes(pair) >> (11 - bit)) & 0x1f)])
    };
    Ok(format!("{PREFIX}{}", (0..82).map(symbol).collect::<String>()))
}

/// All nodes are killed and come back without their keys: they elect a leader, replicate, and answer nothing.
///
/// Abuse cases: 58.
#[tokio::test(flavor = "multi_thread")]
async fn sealed_nodes_lead_and_replicate_and_answer_nothing() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let put = put("secret/a");
    let before = cluster.client()?.call(put.clone()).await?.header.unwrap_or_default();
    for node in cluster.nodes() {
        cluster.kill(node.id)?;
    }
    for node in cluster.nodes() {
        cluster.restart(node.id)?;
    }
    cluster.leader().await?;
    for node in cluster.nodes() {
        let client = cluster.client_on(node.id)?;
        let mut answers = vec![
            sealed(&client, put.clone()).await,
            sealed(
                &client,
                v1::KvGetRequest {
                    path: "secret/a".to_owned(),
                    ..Default::default()
                },
            )
            .await,
            sealed(
                &client,
                v1::KvListRequest {
                    path: "secret".to_owned(),
                    ..Default::default()
                },
            )
            .await,
            sealed(&client, v1::PolicyListRequest::default()).await,
            sealed(&client, v1::TokenLookupRequest::default()).await,
            sealed(&client, v1::MountListRequest::default()).await,
            sealed(&client, v1::AuditReadRequest::default()).await,
            sealed(&client, v1::MembersRequest::default()).await,
            sealed(&client, v1::StatusRequest::default()).await,
        ];
        answers.retain(|reason| reason != "SEALED");
        ensure!(answers.is_empty(), "node {} answered {answers:?}", node.id);
    }
    for node in cluster.nodes() {
        cluster.unseal(node.id).await?;
    }
    let after = cluster.client()?.call(put).await?.header.unwrap_or_default();
    ensure!(
        after.term > before.term && after.index > before.index + 1,
        "the sealed cluster elected and committed"
    );
    Ok(())
}

async fn sealed<O: aumbry_client::Dispatch>(client: &Client, request: O) -> String {
    match client.call(request).await {
        Ok(_) => "an answer".to_owned(),
        Err(error) => error.reason().to_owned(),
    }
}

/// A node that was killed comes back sealed, catches up, and serves once it is unsealed.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_comes_back_and_catches_up() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let client = cluster.client()?;
    let leader = cluster.leader().await?;
    cluster.kill(leader)?;
    for n in 0..20 {
        let data = format!("{{\"n\":{n}}}");
        let path = format!("secret/x{n}");
        client
            .call(v1::KvPutRequest {
                path,
                data: data.into(),
                ..Default::default()
            })
            .await?;
    }
    cluster.restart(leader)?;
    cluster.unseal(leader).await?;
    let others: Vec<u64> = cluster.nodes().iter().map(|node| node.id).collect();
    eventually("digests are equal at an equal index", || async {
        let Ok(statuses) = futures::future::try_join_all(others.iter().map(|id| cluster.status(*id))).await else {
            return false;
        };
        let same =
            |f: fn(&v1::StatusReply) -> (u64, &str, &str)| statuses.windows(2).all(|pair| f(&pair[0]) == f(&pair[1]));
        same(|s| (s.applied, &s.state_digest, &s.audit_root))
    })
    .await
}

/// The nodes with the newest log stay sealed, and the one that was unsealed lacks what the others acknowledged: a sealed one is elected, brings it up to
/// date and hands over, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn the_only_unsealed_node_may_have_the_shortest_log() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let leader = cluster.leader().await?;
    let behind = if leader == 1 { 2 } else { 1 };
    let short = cluster.status(behind).await?.last_log;
    cluster.kill(behind)?;
    let client = cluster.client()?;
    for n in 0..20 {
        client.call(put(&format!("secret/late/{n}"))).await?;
    }
    let others: Vec<u64> = cluster.nodes().iter().map(|node| node.id).collect();
    let others = others.iter().filter(|id| **id != behind);
    for id in others.clone() {
        // The positive control: they hold what the other one lacks.
        ensure!(cluster.status(*id).await?.last_log >= short + 20);
    }
    for id in others.clone() {
        cluster.kill(*id)?;
    }
    for node in cluster.nodes() {
        cluster.restart(node.id)?;
    }
    cluster.unseal(behind).await?;
    let reader = cluster.client_on(behind)?;
    let get = || v1::KvGetRequest {
        path: "secret/late/19".to_owned(),
        ..Default::default()
    };
    eventually("what the sealed nodes acknowledged is read", || async {
        reader.call(get()).await.is_ok()
    })
    .await?;
    ensure!(cluster.leader().await? == behind, "a sealed node leads on");
    reader.call(put("secret/more")).await?;
    for id in others {
        ensure!(
            cluster.client_on(*id)?.seal_status(None).await?.sealed,
            "node {id} is open"
        );
    }
    Ok(())
}

/// What is tried on the seal of a node is on record, though the node cannot record it: wrong shares, right ones, and how it was opened.
/// Many wrong shares are refused at once, and a right one from the same address is taken among them.
///
/// Abuse cases: 52, 85, 86.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_on_a_seal_is_on_record() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let leader = cluster.leader().await?;
    let tried = if leader == 1 { 2 } else { 1 };
    cluster.kill(tried)?;
    cluster.restart(tried)?;
    let (root, client) = (cluster.client_on(leader)?, cluster.client_on(tried)?);
    let first = records(&root).await?.len();
    let show = async |share: String| client.unseal(None, SecretBytes::from(share)).await;
    eventually("it has a leader", || async {
        show(cluster.shares()[0].clone()).await.is_ok()
    })
    .await?;
    client.reset_unseal(None).await?;

    let wrong = |record: &Recorded| {
        let is_it = record.text("operation") == "sys.unseal" && record.event["node"] == tried;
        let count = record.event["count"].as_u64().unwrap_or_default();
        (is_it && record.text("reason") == "INVALID_SHARE").then_some(count)
    };
    let mut refused = 0;
    for n in 0..60_u64 {
        let mut share = cluster.shares()[1].clone().into_bytes();
        let at = share.len() - 1 - usize::try_from(n)?;
        share[at] = if share[at] == b'7' { b'8' } else { b'7' };
        let error = show(String::from_utf8(share)?)
            .await
            .err()
            .context("a wrong share was taken")?;
        refused += u64::from(error.reason() == "TOO_MANY_WRONG_SHARES");
    }
    ensure!((1..=40).contains(&refused), "{refused} of 60 were refused unlooked at");
    ensure!(client.seal_status(None).await?.sealed);

    for share in &cluster.shares()[2..5] {
        show(share.clone()).await?;
    }
    let field = |record: &Recorded, name: &str| -> Option<u64> {
        let is_it = record.text("operation") == "sys.unseal" && record.event["node"] == tried;
        let text = record.event["fields"][name]
            .as_str()
            .filter(|_| is_it && record.is_allowed())?;
        text.parse().ok()
    };
    // In one report or in two: a node that hears a leader tells it at once what came first.
    let is_told = || async {
        let Ok(new) = records_from(&root, first).await else {
            return false;
        };
        let sum = |name: &str| new.iter().filter_map(|record| field(record, name)).sum::<u64>();
        let wrong: u64 = new.iter().filter_map(wrong).sum();
        (wrong, sum("shares"), sum("resets")) == (60, 4, 1)
    };
    eventually("each share is counted", is_told).await?;
    let new = records_from(&root, first).await?;
    let opened = |record: &&Recorded| field(record, "opened_ms").is_some();
    let last = new.iter().rfind(opened).context("that it was opened is on record")?;
    ensure!(
        last.event["fields"]["opened_by"] == "shares" && last.text("client").starts_with("127.0.0.1:"),
        "{}",
        last.event
    );
    Ok(())
}

/// A node that is cut off while the whole cluster is sealed, opened and released again wipes its keys as soon as it hears of the others.
///
/// Abuse cases: 60.
#[test]
fn a_node_that_was_cut_off_is_sealed_with_its_cluster() -> Result<()> {
    let name = "a_node_that_was_cut_off_is_sealed_with_its_cluster";
    in_namespace(name, || async {
        let lab = Lab::start(3).await?;
        let all: Vec<u8> = lab.ids().collect();
        let leader = lab.leader_of(&all).await?;
        let away = all.iter().copied().find(|id| *id != leader).context("a follower")?;
        let others: Vec<u8> = all.iter().copied().filter(|id| *id != away).collect();
        let client = |id: u8| lab.client_on(id, Duration::from_secs(10));
        let is_sealed = |id: u8| {
            let client = client(id);
            async move { Ok::<_, anyhow::Error>(client?.seal_status(None).await?.sealed) }
        };
        for other in &others {
            lab.cut(away, *other)?;
            lab.cut(*other, away)?;
        }
        client(leader)?.call(on_seal(v1::Verb::Write)).await?;
        ensure!(is_sealed(leader).await?, "the leader is open after its answer");
        for other in &others {
            eventually("who hears of it obeys", || async {
                is_sealed(*other).await.is_ok_and(|sealed| sealed)
            })
            .await?;
            lab.unseal(*other).await?;
        }
        let leader = lab.leader_of(&others).await?;
        client(leader)?.call(on_seal(v1::Verb::Delete)).await?;
        ensure!(!is_sealed(away).await?, "the control: nothing has reached it");
        for other in &others {
            lab.heal(away, *other)?;
            lab.heal(*other, away)?;
        }
        eventually("it obeys when it comes back", || async {
            is_sealed(away).await.is_ok_and(|sealed| sealed)
        })
        .await?;
        ensure!(sealed(&client(away)?, v1::PolicyListRequest::default()).await == "SEALED");
        lab.unseal(away).await?;
        eventually("it serves", || async {
            let Ok(client) = client(away) else { return false };
            client.call(v1::PolicyListRequest::default()).await.is_ok()
        })
        .await
    })
}

fn on_seal(verb: v1::Verb) -> v1::LogicalRequest {
    v1::LogicalRequest {
        verb: verb.into(),
        path: "sys/seal/cluster".to_owned(),
        ..Default::default()
    }
}

fn put(path: &str) -> v1::KvPutRequest {
    v1::KvPutRequest {
        path: path.to_owned(),
        data: "{}".into(),
        ..Default::default()
    }
}
