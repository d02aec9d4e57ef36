//! From running, empty nodes to an unsealed cluster, by the requests that any operator makes.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use aumbry_client::{Client, Error, v1};
use aumbry_types::SecretBytes;
use tokio::time::Instant;

use super::layout::NodePlace;

/// What became of the nodes.
pub(super) struct Secrets {
    /// The numbers of the nodes, in the order of their places.
    pub(super) ids: Vec<u64>,
    pub(super) root_token: String,
    pub(super) shares: Vec<String>,
    pub(super) checkpoint_fingerprint: String,
}

/// Makes one cluster of all nodes: initialised, joined, all voters, all unsealed and serving.
pub(super) async fn set_up(nodes: &[NodePlace], ca_pem: &str, root_token: Option<String>) -> anyhow::Result<Secrets> {
    for node in nodes {
        wait_for_health(&node.client, ca_pem).await?;
    }
    let fresh = client(nodes, ca_pem, SecretBytes::default())?;
    let request = v1::InitRequest {
        shares: SHARES,
        threshold: THRESHOLD,
        root_token: root_token.unwrap_or_default().into_bytes().into(),
        ..Default::default()
    };
    let made = fresh.init(request).await.context("cannot initialise the cluster")?;
    let text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| anyhow!("the node answered with what is no text"));
    let mut secrets = Secrets {
        ids: vec![made.node_id],
        root_token: text(&made.root_token)?,
        shares: made.shares.iter().map(|share| text(share)).collect::<Result<_, _>>()?,
        checkpoint_fingerprint: made.checkpoint_fingerprint,
    };
    let client = client(nodes, ca_pem, SecretBytes::from(secrets.root_token.clone()))?;
    unseal(&client, &nodes[0].client, &secrets.shares).await?;
    // One after the other, each unsealed before the next joins: whichever leads by then can admit it.
    for node in &nodes[1..] {
        secrets.ids.push(join(&client, &node.client, ca_pem).await?);
        unseal(&client, &node.client, &secrets.shares).await?;
    }
    wait_for_voters(&client, nodes.len()).await?;
    for node in nodes {
        let deadline = Instant::now() + STEP_DEADLINE;
        while let Err(error) = client.call_on(&node.client, v1::StatusRequest::default()).await {
            pause(deadline)
                .await
                .with_context(|| format!("the node at {} does not serve: {error}", node.client))?;
        }
    }
    Ok(secrets)
}

/// Seals every node; the leader last, because it has to admit the requests.
pub(super) async fn seal(nodes: &[NodePlace], ca_pem: &str, secrets: &Secrets) -> anyhow::Result<()> {
    let client = client(nodes, ca_pem, SecretBytes::from(secrets.root_token.clone()))?;
    let members = client
        .call(v1::MembersRequest::default())
        .await
        .context("cannot list the members")?
        .members;
    let leads = |id: u64| members.iter().any(|member| member.id == id && member.leader);
    let mut order: Vec<(u64, &NodePlace)> = secrets.ids.iter().copied().zip(nodes).collect();
    order.sort_by_key(|(id, _)| leads(*id));
    for (id, node) in order {
        let deadline = Instant::now() + STEP_DEADLINE;
        // A reply may be lost to the sealing itself; what counts is the state of the seal.
        loop {
            let sealing = client.call_on(&node.client, v1::SealRequest::default()).await;
            if client
                .seal_status(Some(&node.client))
                .await
                .is_ok_and(|status| status.sealed)
            {
                break;
            }
            let said = sealing.err().map(|error| error.to_string()).unwrap_or_default();
            pause(deadline)
                .await
                .with_context(|| format!("node {id} was not sealed: {said}"))?;
        }
    }
    Ok(())
}

/// Waits until a node answers.
pub(super) async fn wait_for_health(endpoint: &str, ca_pem: &str) -> anyhow::Result<()> {
    let client = Client::builder()
        .endpoints([endpoint.to_owned()])
        .ca_pem(ca_pem.as_bytes().to_vec())
        .timeout(HEALTH_TIMEOUT)
        .build()?;
    let deadline = Instant::now() + HEALTH_DEADLINE;
    while let Err(error) = client.health(None).await {
        if Instant::now() >= deadline {
            bail!(
                "the node at {endpoint} did not answer within {} s: {error}",
                HEALTH_DEADLINE.as_secs()
            );
        }
        tokio::time::sleep(HEALTH_PAUSE).await;
    }
    Ok(())
}

/// Shows shares until the seal is open. What to show next is asked of the node, so that a lost reply does no harm.
async fn unseal(client: &Client, endpoint: &str, shares: &[String]) -> anyhow::Result<()> {
    let deadline = Instant::now() + STEP_DEADLINE;
    let mut problem = "it has not heard of the cluster's shares yet".to_owned();
    loop {
        match client.seal_status(Some(endpoint)).await {
            Ok(status) if status.initialized && !status.sealed => return Ok(()),
            Ok(status) if status.initialized => {
                let share = shares
                    .get(status.progress as usize)
                    .context("the node asks for more shares than there are")?;
                match client.unseal(Some(endpoint), SecretBytes::from(share.clone())).await {
                    Ok(_) => continue,
                    Err(error) => problem = error.to_string(),
                }
            }
            Ok(_) => {}
            Err(error) => problem = error.to_string(),
        }
        pause(deadline)
            .await
            .with_context(|| format!("the node at {endpoint} was not unsealed: {problem}"))?;
    }
}

/// Joins a node with a join token of its own.
async fn join(client: &Client, endpoint: &str, ca_pem: &str) -> anyhow::Result<u64> {
    let deadline = Instant::now() + STEP_DEADLINE;
    loop {
        let token = client
            .call(v1::JoinTokenCreateRequest::default())
            .await
            .context("cannot make a join token")?;
        let request = v1::JoinClusterRequest {
            join_token: token.join_token,
            ca: ca_pem.as_bytes().to_vec().into(),
        };
        match client.join_cluster(Some(endpoint), request).await {
            Ok(reply) => return Ok(reply.node_id),
            // Between two leaders, for example. What may have happened is not tried again.
            Err(error) if was_not_applied(&error) => {
                pause(deadline)
                    .await
                    .with_context(|| format!("the node at {endpoint} did not join: {error}"))?;
            }
            Err(error) => return Err(error).with_context(|| format!("the node at {endpoint} did not join")),
        }
    }
}

async fn wait_for_voters(client: &Client, count: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + STEP_DEADLINE;
    loop {
        let members = client
            .call(v1::MembersRequest::default())
            .await
            .context("cannot list the members")?
            .members;
        let voters = members.iter().filter(|member| member.voter).count();
        if voters == count {
            return Ok(());
        }
        pause(deadline)
            .await
            .with_context(|| format!("only {voters} of {count} nodes became voters"))?;
    }
}

fn was_not_applied(error: &Error) -> bool {
    error
        .failure()
        .is_some_and(|failure| failure.outcome() == v1::OutcomeClass::NotApplied)
}

fn client(nodes: &[NodePlace], ca_pem: &str, token: SecretBytes) -> anyhow::Result<Client> {
    let endpoints = nodes.iter().map(|node| node.client.clone());
    Ok(Client::builder()
        .endpoints(endpoints)
        .ca_pem(ca_pem.as_bytes().to_vec())
        .token(token)
        .build()?)
}

async fn pause(deadline: Instant) -> anyhow::Result<()> {
    ensure!(Instant::now() < deadline, "not within {} s", STEP_DEADLINE.as_secs());
    tokio::time::sleep(STEP_PAUSE).await;
    Ok(())
}

/// As many shares as people usually have trustees.
const SHARES: u32 = 5;
/// How many of them open a node.
pub(super) const THRESHOLD: u32 = 3;

/// A node that starts has a database to open, and the machine may be busy.
const HEALTH_DEADLINE: Duration = Duration::from_secs(30);
const HEALTH_PAUSE: Duration = Duration::from_millis(10);
/// Of one attempt: a connection that hangs must not use up the deadline.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Each step takes well below a second on an idle machine.
const STEP_DEADLINE: Duration = Duration::from_secs(15);
const STEP_PAUSE: Duration = Duration::from_millis(20);
