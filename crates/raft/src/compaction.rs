//! The log is kept short: a snapshot once it has grown, and what the snapshot covers is dropped, but for an end that members may still need.

use std::sync::Arc;
use std::time::Duration;

use aumbry_state::Room;
use openraft::async_runtime::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;

use crate::node::RaftNode;

/// Looks at the log now and then.
pub(crate) async fn run(node: Arc<RaftNode>) {
    let mut tick = tokio::time::interval(LOG_CHECK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        remove_files(&node).await;
        let limit = node.config.snapshot_log_bytes;
        let length = Length::of(&node);
        if length.bytes < limit {
            continue;
        }
        let covered = snapshot_index(&node);
        let is_sending = node.peers.outbox.is_busy() && length.waits_for_transfers();
        let is_due = node.log.bytes_after(covered) >= limit / 2 && !is_sending;
        // What does not fit would end the process. What the last one covers is purged all the same.
        if is_due && has_room(&node).await {
            if let Err(error) = node.raft.trigger().snapshot().await {
                tracing::warn!(%error, "no snapshot was taken");
                continue;
            }
            // Only one at a time, and none again before this one is there.
            let _ = tokio::time::timeout(SNAPSHOT_TIMEOUT, newer_snapshot(&node, covered)).await;
        }
        purge(&node, limit / KEPT_PART).await;
    }
}

async fn has_room(node: &RaftNode) -> bool {
    let (shared, space) = (Arc::clone(&node.shared), Arc::clone(&node.space));
    let looking = tokio::task::spawn_blocking(move || shared.has_room_for_flush(&space));
    looking.await.unwrap_or(false)
}

/// Removes the files of snapshots that were sent or received, once nobody goes on with them.
async fn remove_files(node: &RaftNode) {
    let kept = match node.space.room() {
        Room::Ample => FILE_KEPT,
        Room::Low | Room::Spent => Duration::ZERO,
    };
    if node.peers.outbox.is_busy() || node.peers.outbox.moved_within(kept) {
        return;
    }
    let shared = Arc::clone(&node.shared);
    let removing = tokio::task::spawn_blocking(move || shared.remove_reached());
    if let Ok(Err(error)) = removing.await {
        tracing::warn!(%error, "snapshots that nobody needs could not be removed");
    }
}

/// How long the log is.
#[derive(Clone, Copy)]
struct Length {
    bytes: u64,
    limit: u64,
}

impl Length {
    fn of(node: &RaftNode) -> Self {
        Self {
            bytes: node.log.bytes(),
            limit: node.config.snapshot_log_bytes,
        }
    }

    /// Whether entries are kept for members that are there and a little behind. One that cannot catch up gets a snapshot, before it fills the disk.
    const fn waits_for_members(self) -> bool {
        self.bytes < self.limit.saturating_mul(WAITING_LIMITS)
    }

    /// Whether a snapshot that is on its way to a member stays the newest one: another would have to be sent from its beginning.
    const fn waits_for_transfers(self) -> bool {
        self.bytes < self.limit.saturating_mul(SENDING_LIMITS)
    }
}

/// Purges what the snapshot covers, but for the last `kept` bytes, and for what a member needs that is there and a little behind.
async fn purge(node: &RaftNode, kept: u64) {
    let before_kept = node.log.tail(kept).saturating_sub(1);
    let needed = match Length::of(node).waits_for_members() {
        true => needed_by_the_living(node),
        false => u64::MAX,
    };
    let upto = snapshot_index(node).min(before_kept).min(needed);
    if upto > 0
        && let Err(error) = node.raft.trigger().purge_log(upto).await
    {
        tracing::warn!(%error, "the log was not purged");
    }
}

/// The last index that every member that is there holds. One that does not answer is not waited for: it gets a snapshot when it is back, and
/// the disk of the others does not fill.
pub(crate) fn needed_by_the_living(node: &RaftNode) -> u64 {
    let metrics = node.raft.metrics().borrow_watched().clone();
    let (Some(replication), Some(heartbeat)) = (metrics.replication, metrics.heartbeat) else {
        return u64::MAX;
    };
    let silence = SILENCES * node.config.election_max;
    let is_alive = |id: &u64| {
        let heard = heartbeat.get(id).and_then(|heard| *heard);
        heard.is_some_and(|heard| heard.elapsed() < silence)
    };
    // A member whose disk is full holds nothing back: the disks of the others would fill as well.
    let is_needed = |id: &u64| *id != node.node.0 && is_alive(id) && !node.spent.has(*id);
    let living = replication.iter().filter(|(id, _)| is_needed(id));
    let held = living.map(|(_, matched)| matched.as_ref().map_or(0, |id| id.index));
    held.min().unwrap_or(u64::MAX)
}

/// The index that the last snapshot reaches.
pub(crate) fn snapshot_index(node: &RaftNode) -> u64 {
    let metrics = node.raft.metrics().borrow_watched().clone();
    metrics.snapshot.map_or(0, |id| id.index)
}

/// Waits for a snapshot that reaches farther.
pub(crate) async fn newer_snapshot(node: &RaftNode, than: u64) {
    let mut metrics = node.raft.metrics();
    while snapshot_index(node) <= than {
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

const LOG_CHECK: Duration = Duration::from_secs(1);
/// How long a member whose connection broke may stay away and still go on with the snapshot that it was being sent.
const FILE_KEPT: Duration = Duration::from_secs(600);
/// A snapshot of a large store takes minutes.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Limits that the log may have before members that are there are waited for no more. A gigabyte with the default: hours of a slow line.
const WAITING_LIMITS: u64 = 4;
/// Limits that the log may have before a snapshot is taken although another is being sent. More than the above, so that what follows the one that is
/// being sent is still there when it has arrived.
const SENDING_LIMITS: u64 = 8;
/// The part of the log that is kept for a member that was away for a moment.
const KEPT_PART: u64 = 4;
/// Elections without a word after which a member counts as away: 12 seconds with the default times.
const SILENCES: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_member_fills_the_disk() {
        // A member that is there and holds nothing yet: what covers the snapshot that it is being sent is dropped before the snapshot is replaced.
        for (bytes, members, transfers) in [
            (10, true, true),
            (39, true, true),
            (40, false, true),
            (79, false, true),
            (80, false, false),
        ] {
            let length = Length { bytes, limit: 10 };
            let found = (length.waits_for_members(), length.waits_for_transfers());
            assert_eq!(found, (members, transfers), "{bytes}");
        }
    }
}
