//! What a node does without being asked: propose what was planned, and, on the leader, keep house.

use std::sync::Arc;
use std::time::Duration;

use aumbry_audit::Outcome;
use aumbry_state::{Member, ProposeError, Room};
use aumbry_types::NodeId;
use bytes::Bytes;
use tokio::sync::watch;

use crate::expiry::Expired;
use crate::keys::{Due, Rewrapped};
use crate::pipeline::Waiter;
use crate::{Class, Failure, Node, PeerState, checkpoints, clocks, expiry, genesis, keys, record, rooms, stack};

/// Runs until `stop` turns true.
pub async fn run(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let propose = async {
        loop {
            node.sequencer.step(&node).await;
        }
    };
    let keep_house = async {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut house = House::default();
        loop {
            tick.tick().await;
            house.count += 1;
            house.look(&node).await;
        }
    };
    let keep_time = async {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            node.obey_cluster_seal();
            let status = node.consensus.status();
            rooms::tend(&node, &status);
            clocks::tend(&node, &status);
        }
    };
    let ask = async {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = 0_u64;
        loop {
            tick.tick().await;
            count += 1;
            // A new leader does not wait for the next turn: its log time begins with the answers.
            if count % ASK_EVERY == 1 || node.sequencer.lock().waits_for_clocks() {
                ask_peers(&node).await;
            }
        }
    };
    let index = async {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // What is damaged is told by whoever reads it.
            let _ = node.tend_audit_index().await;
        }
    };
    tokio::select! {
        () = propose => {}
        () = keep_house => {}
        () = keep_time => {}
        () = ask => {}
        () = index => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// What a leader remembers from one look around to the next.
#[derive(Default)]
struct House {
    /// How many looks there were.
    count: u64,
    /// Up to where the index of expiry was cleared.
    expired: Option<Bytes>,
    /// Up to where rows were looked at that older keys may seal.
    rewrapped: Option<Bytes>,
}

impl House {
    async fn look(&mut self, node: &Node) {
        node.follow_keys();
        if !node.is_unsealed() {
            stack::wipe();
        }
        if node.consensus.leadership().is_none() {
            (self.expired, self.rewrapped) = (None, None);
            return;
        }
        if !node.is_unsealed() {
            if self.count.is_multiple_of(ASK_EVERY) {
                hand_over(node, "it is sealed", |state| state.unsealed).await;
            }
            return;
        }
        if self.count.is_multiple_of(ASK_EVERY) && node.is_short_of_room() {
            let can = |state: &PeerState| state.unsealed && state.room == Room::Ample;
            hand_over(node, "its disk is nearly full", can).await;
        }
        if let Err(failure) = self.keep(node).await {
            tracing::debug!(reason = failure.reason, "a duty of the leader was put off");
        }
        promote(node).await;
    }

    async fn keep(&mut self, node: &Node) -> Result<(), Failure> {
        if !node.holds_the_clusters_keys() {
            tracing::warn!(
                "the cluster was initialised again after this node was unsealed: it seals itself; use the new shares"
            );
            node.seal();
            return Ok(());
        }
        settle(node.plan_internal(genesis::CONFIRM, genesis::confirm)?).await;
        record_refusals(node).await?;
        settle(checkpoints::record(node)?).await;
        self.expire(node).await?;
        settle(node.plan_internal("sys.sweep", |txn| Ok(expiry::sweep(txn)))?).await;
        self.care_for_keys(node).await
    }

    /// Makes a new term when one is due, seals anew what older ones seal, and takes out those that nothing uses.
    async fn care_for_keys(&mut self, node: &Node) -> Result<(), Failure> {
        if self.count.is_multiple_of(ASK_EVERY) {
            match node.look_at_keys()? {
                Some(Due::Rotation) => settle(node.plan_internal(keys::ROTATE, keys::rotate_now)?).await,
                Some(Due::Retirement) => settle(node.plan_internal(keys::RETIRE, keys::retire_now)?).await,
                Some(Due::HandoverEnd) => settle(node.plan_internal(keys::HANDOVER_END, keys::end_handover)?).await,
                None => None,
            };
        }
        for _ in 0..REWRAP_PIECES_MAX {
            let mut found = Rewrapped::default();
            let after = self.rewrapped.as_ref();
            let planned = node.plan_internal(keys::REWRAP, |txn| {
                found = keys::rewrap(txn, after)?;
                Ok(found.is_written)
            })?;
            // What was not applied is looked at once more, from the beginning that is kept.
            let is_lost = planned.is_some() && settle(planned).await != Some(true);
            self.rewrapped = if is_lost { None } else { found.after };
            if is_lost || !found.is_more {
                self.rewrapped = self.rewrapped.take().filter(|_| found.is_more);
                break;
            }
        }
        Ok(())
    }

    /// Removes what has expired, behind what was removed before: the remains of that cost a scan as much as rows do. Begins anew now and then, with
    /// a word of what cannot be removed.
    async fn expire(&mut self, node: &Node) -> Result<(), Failure> {
        let is_loud = self.count % TELL_EVERY == 1;
        if is_loud {
            self.expired = None;
        }
        for _ in 0..EXPIRE_ENTRIES_MAX {
            let mut found = Expired::default();
            let after = self.expired.as_deref();
            let waiter = node.plan_internal("sys.expire", |txn| {
                found = expiry::expire(txn, after, is_loud);
                Ok(found.is_any())
            })?;
            if settle(waiter).await != Some(true) {
                break;
            }
            let is_full = found.is_full();
            self.expired = found.last;
            if !is_full {
                break;
            }
        }
        Ok(())
    }
}

/// Records the refusals of minutes that have ended. What is certainly not recorded is counted again.
async fn record_refusals(node: &Node) -> Result<(), Failure> {
    let mut ended = node.refusals.take_ended(node.clock.boottime_ms());
    while let Some((operation, source, refused)) = ended.pop() {
        let region = node.outside.region.clone();
        let client = source.clone();
        let record = |leader: aumbry_types::LeaderId, id| {
            record::aggregate(operation, client, refused, leader.node.0, &region, id)
        };
        let settled = match node.plan_recorded(record, |_| Ok(true)) {
            Ok(waiter) => Ok(settle(waiter).await),
            Err(failure) => Err(failure),
        };
        if !matches!(settled, Ok(Some(true) | None)) {
            ended.push((operation, source, refused));
            node.refusals.put_back(ended);
            return settled.map(drop);
        }
    }
    Ok(())
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

/// Hands leadership over because this node stops, if it leads and another voter can serve.
pub async fn step_aside(node: &Node) {
    if node.consensus.leadership().is_some() {
        let can = |state: &PeerState| state.unsealed && state.room == Room::Ample;
        hand_over(node, "it stops", can).await;
    }
}

/// A leader that serves nobody hands over to a voter that can, and of those to the one that holds most of the log.
async fn hand_over(node: &Node, why: &str, can: impl Fn(&PeerState) -> bool) {
    let status = node.consensus.status();
    let others = status
        .members
        .iter()
        .filter(|member| member.voter && member.id != status.node);
    let mut others: Vec<&Member> = others.collect();
    others.sort_by_key(|member| std::cmp::Reverse(member.matched));
    for member in others {
        let state = (node.outside.ask_peer)(member.id).await;
        if state.is_some_and(|state| can(&state)) {
            tracing::info!(
                to = member.id.0,
                why,
                "this leader hands over to a voter that can serve"
            );
            let _ = tokio::time::timeout(DUTY_TIMEOUT, node.consensus.transfer(Some(member.id))).await;
            return;
        }
    }
}

async fn ask_peers(node: &Node) {
    let status = node.consensus.status();
    let others = status.members.iter().filter(|member| member.id != status.node);
    let asking = others.map(|member| async {
        let Some(state) = (node.outside.ask_peer)(member.id).await else {
            return;
        };
        // Noted at once: a peer that does not answer holds up no other one's answer.
        let now = node.clock.boottime_ms();
        node.clocks.hear(member.id, state.wall, now);
        node.rooms.hear(member.id, state.room, now);
        node.erasures.hear(member.id, state.erased);
        node.checkpoints.compare(&status, member.id, &state);
    });
    futures::future::join_all(asking).await;
}

/// As [`settle`], of something that was planned: fails unless it was applied for sure.
pub(crate) async fn settled(waiter: Option<Waiter>) -> Result<(), Failure> {
    match settle(waiter).await {
        Some(true) => Ok(()),
        _ => Err(Failure::new(
            Class::Unavailable,
            "NOT_RECORDED",
            "nobody knows whether it was recorded; try again",
        )
        .retry()),
    }
}

/// Waits for the outcome of what was planned: whether it was applied, or `None` if nobody knows or there was nothing.
async fn settle(waiter: Option<Waiter>) -> Option<bool> {
    // What fails here is still to be done at the next tick.
    match tokio::time::timeout(DUTY_TIMEOUT, waiter?).await {
        Ok(Ok(Ok(placed))) => Some(placed.outcome == Outcome::Ok),
        Ok(Ok(Err(ProposeError::NotApplied(_)))) => Some(false),
        _ => None,
    }
}

/// How often the leader looks around; each look is a few reads.
const TICK: Duration = Duration::from_millis(100);
/// Peers are asked every second.
const ASK_EVERY: u64 = 10;
const DUTY_TIMEOUT: Duration = Duration::from_secs(10);
/// Entries of removals in a tick: several times the rows that a busy second makes, so that what expires never piles up.
const EXPIRE_ENTRIES_MAX: usize = 4;
/// Pieces that are sealed anew in a tick, each of at most 256 KiB: some ten megabytes a second, which leaves requests most of the disk and the network.
const REWRAP_PIECES_MAX: usize = 4;
/// Damage that stays is told every minute.
const TELL_EVERY: u64 = 600;

#[cfg(test)]
mod tests {
    use aumbry_state::Local;
    use aumbry_types::{SimulatedClock, SimulatedEntropy, WallTime};

    use super::*;
    use crate::Outside;

    #[tokio::test]
    async fn refusals_that_cannot_be_recorded_are_kept() {
        let clock = Arc::new(SimulatedClock::new(WallTime(1_700_000_000_000)));
        let outside = Outside {
            sign_node: Box::new(|_, _, _, _, _| Ok(String::new())),
            ask_peer: Box::new(|_| Box::pin(async { None })),
            room: Box::new(|| Room::Ample),
            ask_web: crate::no_web(),
            ask_directory: crate::no_directory(),
            audit_hashes: Box::<crate::MemoryHashes>::default(),
            cluster: aumbry_types::ClusterId::from_bytes([7; 16]),
            region: String::new(),
        };
        let entropy = Arc::new(SimulatedEntropy::new(1));
        let node = Node::new(
            Arc::new(Local::new()),
            Arc::<SimulatedClock>::clone(&clock),
            entropy,
            outside,
        );
        for source in ["a", "b"] {
            for _ in 0..25 {
                node.refusals.count("kv.get", source, 0);
            }
        }
        clock.advance_ms(60_000);
        // The node is sealed: nothing can be planned.
        for _ in 0..2 {
            let failure = record_refusals(&node).await.expect_err("is sealed");
            assert_eq!(failure.reason, "SEALED");
        }
        let kept = node.refusals.take_ended(60_000);
        assert_eq!(kept, [("kv.get", "a".to_owned(), 15), ("kv.get", "b".to_owned(), 15)]);
    }
}
