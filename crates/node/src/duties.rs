//! What a node does without being asked: propose what was planned, and, on the leader, keep house.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aumbry_auth::token;
use aumbry_barrier::{Kind, Txn};
use aumbry_state::{Write, key};
use aumbry_types::NodeId;
use tokio::sync::watch;

use crate::pipeline::Waiter;
use crate::{Failure, Node, genesis, record};

/// Runs until `stop` turns true.
pub async fn run(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let propose = async {
        loop {
            let barrier = || node.seal.barrier();
            let on_reset = || node.lists.clear();
            node.sequencer
                .step(&*node.consensus, &*node.clock, &*node.entropy, barrier, on_reset)
                .await;
        }
    };
    let keep_house = async {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = 0_u64;
        loop {
            tick.tick().await;
            count += 1;
            house(&node, count).await;
        }
    };
    tokio::select! {
        () = propose => {}
        () = keep_house => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn house(node: &Node, count: u64) {
    if count % ASK_EVERY == 1 {
        ask_peers(node).await;
    }
    if node.consensus.leadership().is_none() {
        return;
    }
    if !node.is_unsealed() {
        if count.is_multiple_of(ASK_EVERY) {
            hand_over(node).await;
        }
        return;
    }
    if let Err(failure) = keep(node).await {
        tracing::debug!(reason = failure.reason, "a duty of the leader was put off");
    }
    promote(node).await;
}

async fn keep(node: &Node) -> Result<(), Failure> {
    if !node.holds_the_clusters_keys() {
        tracing::warn!(
            "the cluster was initialised again after this node was unsealed: it seals itself; use the new shares"
        );
        node.seal();
        return Ok(());
    }
    settle(node.plan_internal(genesis::CONFIRM, genesis::confirm)?).await;
    for (operation, source, refused) in node.refusals.take_ended(node.clock.boottime_ms()) {
        let region = node.outside.region.clone();
        let record = |leader: aumbry_types::LeaderId, id| {
            record::aggregate(operation, source, refused, leader.node.0, &region, id)
        };
        settle(node.plan_recorded(record, |_| Ok(true))?).await;
    }
    settle(node.plan_internal("sys.expire", expire)?).await;
    settle(node.plan_internal("sys.sweep", sweep)?).await;
    Ok(())
}

/// Removes what has expired. An expired token is refused from its very moment on; this only takes it off the disk.
fn expire(txn: &mut Txn<'_>) -> Result<bool, Failure> {
    let now = txn.now().0;
    let mut found = false;
    for (entry, _) in txn.scan_rows(&key::expiry_prefix(), None, EXPIRE_MAX) {
        let Some((when, row_key)) = key::parse_expiry(&entry) else {
            continue;
        };
        if when > now {
            break;
        }
        found = true;
        let is_token = txn.peek_row(&row_key)?.is_some_and(|row| row.kind == Kind::Token as u8);
        match key::parse_id(&row_key) {
            Some(id) if is_token => token::revoke(txn, id)?,
            _ => txn.write(Write::Delete(row_key)),
        }
    }
    Ok(found)
}

/// Removes children of what was revoked, a piece at a time.
fn sweep(txn: &mut Txn<'_>) -> Result<bool, Failure> {
    let waiting = txn.scan_rows(&key::work_prefix(), None, 1);
    let Some(id) = waiting.first().and_then(|(row, _)| key::parse_id(row)) else {
        return Ok(false);
    };
    token::sweep(txn, id, SWEEP_MAX)?;
    Ok(true)
}

/// Makes voters of learners that have caught up.
async fn promote(node: &Node) {
    let status = node.consensus.status();
    let learners: Vec<NodeId> = status
        .members
        .iter()
        .filter(|member| !member.voter)
        .map(|member| member.id)
        .collect();
    for id in learners {
        // A learner that lags is tried again at the next tick.
        if let Ok(Ok(())) = tokio::time::timeout(DUTY_TIMEOUT, node.consensus.promote(id)).await {
            tracing::info!(node = id.0, "a learner has caught up and votes now");
        }
    }
}

/// A sealed leader serves nobody: it hands over to a voter that is unsealed.
async fn hand_over(node: &Node) {
    let status = node.consensus.status();
    for member in status
        .members
        .iter()
        .filter(|member| member.voter && member.id != status.node)
    {
        if let Some((true, _)) = (node.outside.ask_peer)(member.id).await {
            tracing::info!(
                to = member.id.0,
                "this leader is sealed and hands over to an unsealed voter"
            );
            let _ = tokio::time::timeout(DUTY_TIMEOUT, node.consensus.transfer(Some(member.id))).await;
            return;
        }
    }
}

async fn ask_peers(node: &Node) {
    let status = node.consensus.status();
    let others = status.members.iter().filter(|member| member.id != status.node);
    let answers = futures::future::join_all(others.map(|member| (node.outside.ask_peer)(member.id))).await;
    let clocks = answers.into_iter().flatten().map(|(_, clock)| clock).collect();
    *node.peer_clocks.lock().unwrap_or_else(PoisonError::into_inner) = clocks;
}

async fn settle(waiter: Option<Waiter>) {
    if let Some(waiter) = waiter {
        // What fails here is still to be done at the next tick.
        let _ = tokio::time::timeout(DUTY_TIMEOUT, waiter).await;
    }
}

/// How often the leader looks around; each look is a few reads.
const TICK: Duration = Duration::from_millis(100);
/// Peers are asked every second.
const ASK_EVERY: u64 = 10;
const DUTY_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows that one entry removes; a token takes about four.
const EXPIRE_MAX: usize = 500;
/// Children that one entry sweeps.
const SWEEP_MAX: usize = 1_000;
