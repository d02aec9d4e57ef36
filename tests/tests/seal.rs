//! Initialising and the seal, over real processes.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, eventually};
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
    let put = v1::KvPutRequest {
        path: "secret/a".to_owned(),
        data: "{}".into(),
        ..Default::default()
    };
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
