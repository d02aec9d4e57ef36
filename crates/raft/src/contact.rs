//! Whether a peer is in reach, told once when it changes: a peer that is down for an hour is two lines in the log, not a hundred thousand.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tonic::{Code, Status};

use crate::peers::Purpose;

/// The contact with one peer.
pub(crate) struct Contact {
    node: u64,
    address: String,
    is_lost: AtomicBool,
    is_refused: AtomicBool,
    asked: AtomicUsize,
}

impl Contact {
    pub(crate) const fn new(node: u64, address: String) -> Self {
        Self {
            node,
            address,
            is_lost: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        }
    }

    /// The connection that the peer is asked on next for its state: each in turn, so that all of them are there when this node begins to lead, or to hand
    /// requests on. To make one takes some milliseconds, and over a long line three round trips.
    pub(crate) fn next(&self) -> Purpose {
        ASKED_ON[self.asked.fetch_add(1, Ordering::Relaxed) % ASKED_ON.len()]
    }

    /// Notes whether the peer answered.
    pub(crate) fn note(&self, answered: bool) {
        let was_lost = self.is_lost.swap(!answered, Ordering::Relaxed);
        match (was_lost, answered) {
            (false, false) => tracing::warn!(node = self.node, address = self.address, "a peer cannot be reached"),
            (true, true) => tracing::info!(node = self.node, address = self.address, "the peer is back"),
            _ => {}
        }
    }

    /// Notes an answer that is a failure: a peer that does not take this node for a member any more will not change its mind.
    pub(crate) fn noted(&self, status: Status) -> Status {
        if status.code() == Code::PermissionDenied && !self.is_refused.swap(true, Ordering::Relaxed) {
            let (node, reason) = (self.node, status.message());
            tracing::error!(node, address = self.address, reason, "a peer refuses this node");
        }
        status
    }
}

/// All but the one for snapshots, which are worth a connection of their own when they come.
const ASKED_ON: [Purpose; 3] = [Purpose::Heartbeat, Purpose::Append, Purpose::Forward];
