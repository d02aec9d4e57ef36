//! What the state adds up to, put on record now and then, and compared between nodes: apply is pure, so equal logs must give equal states, and
//! a node on which they do not is broken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aumbry_audit::Field;
use aumbry_state::Status;
use aumbry_types::{LeaderId, NodeId, hex};

use crate::outside::PeerState;
use crate::pipeline::Waiter;
use crate::{Failure, Node, record};

/// What was put on record last, and how often nodes differed.
#[derive(Default)]
pub(crate) struct Checkpoints {
    last: Mutex<Last>,
    differences: AtomicU64,
}

#[derive(Default, Clone, Copy)]
struct Last {
    /// When, by the time since boot; at the first look if there was none yet.
    boottime_ms: Option<u64>,
    /// The size of the audit tree after it.
    audit_size: u64,
}

impl Checkpoints {
    /// Compares a peer's state with this node's, if both are at the same index.
    pub(crate) fn compare(&self, own: &Status, peer: NodeId, state: &PeerState) {
        if state.applied != own.applied || state.digest == own.digest || state.digest == [0; 32] {
            return;
        }
        // Told once: it does not go away by itself.
        if self.differences.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(
                %peer,
                index = own.applied.0,
                "this node and a peer have applied the same log and have different states; compare `aumbry operator status` of all nodes, and stop, check (`aumbry operator check`), discard and join again the one that differs"
            );
        }
    }

    pub(crate) fn differences(&self) -> u64 {
        self.differences.load(Ordering::Relaxed)
    }

    /// Whether it is time for the next one: after a while, if anything was recorded since.
    fn is_due(&self, now_ms: u64, audit_size: u64) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *last.boottime_ms.get_or_insert(now_ms);
        let is_due = now_ms.saturating_sub(since) >= EVERY_MS && audit_size > last.audit_size;
        if is_due {
            *last = Last {
                boottime_ms: Some(now_ms),
                // Its own record is nothing new.
                audit_size: audit_size + 1,
            };
        }
        is_due
    }
}

impl Node {
    /// How often this node and a peer had different states at the same index. Anything but 0 means that one of them is broken.
    #[must_use]
    pub fn state_differences(&self) -> u64 {
        self.checkpoints.differences()
    }
}

/// Puts on record what the state adds up to, if it is time. The record is in the log and in the audit, so that every copy of either tells what the
/// state was when.
pub(crate) fn record(node: &Node) -> Result<Option<Waiter>, Failure> {
    let status = node.consensus.status();
    if !node.checkpoints.is_due(node.clock.boottime_ms(), status.audit_size) {
        return Ok(None);
    }
    let fields = [
        ("index", status.applied.0.to_string()),
        ("audit_size", status.audit_size.to_string()),
        ("audit_root", hex::encode(&status.audit_root)),
        ("state_digest", hex::encode(&status.digest)),
    ];
    let make = |leader: LeaderId, id| {
        let mut record = record::internal("sys.checkpoint", leader.node.0, &node.outside.region, id);
        record.fields = fields
            .map(|(name, value)| (name.to_owned(), Field::Clear(value)))
            .to_vec();
        record
    };
    node.plan_recorded(make, |_| Ok(true))
}

/// Often enough to narrow down a fault, seldom enough to be nothing in the log.
const EVERY_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use aumbry_types::{LogIndex, WallTime};

    use super::*;

    #[test]
    fn due_when_time_has_passed_and_something_happened() {
        let checkpoints = Checkpoints::default();
        let steps = [
            (0, 100, false),
            (EVERY_MS - 1, 200, false),
            (EVERY_MS, 200, true),
            (EVERY_MS + 1, 300, false),
            (3 * EVERY_MS, 201, false),
            (3 * EVERY_MS, 202, true),
        ];
        for (now, size, due) in steps {
            assert_eq!(checkpoints.is_due(now, size), due, "{now} {size}");
        }
    }

    #[test]
    fn only_states_of_one_index_are_compared() {
        let own = Status {
            applied: LogIndex(7),
            digest: [1; 32],
            ..Status::default()
        };
        let peer = |applied, digest| PeerState {
            unsealed: true,
            wall: WallTime(0),
            applied: LogIndex(applied),
            digest: [digest; 32],
            room: aumbry_state::Room::Ample,
            erased: aumbry_state::Erased::default(),
        };
        let checkpoints = Checkpoints::default();
        for (state, differences) in [(peer(7, 1), 0), (peer(8, 2), 0), (peer(7, 2), 1)] {
            checkpoints.compare(&own, NodeId(2), &state);
            assert_eq!(checkpoints.differences(), differences);
        }
    }
}
