//! What plans are made on, under one lock: the applied state with everything in flight on top.

use std::collections::VecDeque;
use std::sync::Arc;

use aumbry_audit::Outcome;
use aumbry_state::{At, Command, Overlay, ProposeError, Reads, View, execute_after};
use aumbry_types::{LeaderId, LogTime};
use tokio::sync::oneshot;

use crate::keys::Uses;
use crate::mounts::AuthCache;
use crate::time::Timekeeper;

/// A command that waits for its place in the log, with its audit record.
pub(crate) struct Queued {
    pub(crate) command: Command,
    pub(crate) record: Vec<u8>,
    pub(crate) salt: [u8; 16],
    /// When it was planned, by the time since boot.
    pub(crate) since_ms: u64,
    pub(crate) done: oneshot::Sender<Result<Placed, ProposeError>>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) seq: u64,
    pub(crate) outcome: Outcome,
}

/// The leader's working state. Everything in it belongs to one leadership.
pub(crate) struct Planner {
    pub(crate) leadership: Option<LeaderId>,
    pub(crate) overlay: Overlay<Arc<dyn View>>,
    pub(crate) auth: AuthCache,
    pub(crate) time: Option<Timekeeper>,
    /// Since when, by the time since boot, log time waits for the clocks of the other voters.
    pub(crate) waits_since_ms: Option<u64>,
    pub(crate) queue: VecDeque<Queued>,
    /// Whether the first entry can no more be repeated, as far as this leadership's own commands go.
    pub(crate) confirmed: bool,
    /// How often the current key may still be used.
    pub(crate) uses: Uses,
    /// The number of the command that was queued last; the tag of its changes in the overlay.
    last_tag: u64,
}

impl Planner {
    pub(crate) fn new(view: Arc<dyn View>) -> Self {
        Self {
            leadership: None,
            overlay: Overlay::new(view),
            auth: AuthCache::default(),
            time: None,
            waits_since_ms: None,
            queue: VecDeque::new(),
            confirmed: false,
            uses: Uses::default(),
            last_tag: 0,
        }
    }

    /// Whether log time has not begun for want of clocks.
    pub(crate) const fn waits_for_clocks(&self) -> bool {
        self.time.is_none() && self.waits_since_ms.is_some()
    }

    /// Drops all that belongs to the leadership. Commands in the queue were proposed to nobody: they fail as not applied.
    pub(crate) fn reset(&mut self) {
        for queued in self.queue.drain(..) {
            // Who no longer waits needs no answer.
            let _ = queued
                .done
                .send(Err(ProposeError::NotApplied("the leadership has changed")));
        }
        self.leadership = None;
        self.time = None;
        self.waits_since_ms = None;
        self.confirmed = false;
        self.uses = Uses::default();
        self.overlay.clear();
        // An entry may be on its way still, if the leadership did not end after all.
        self.overlay.distrust();
        self.auth.clear();
    }

    /// Executes a command on the state in flight, of which these are reads, and queues it. Its real outcome comes from apply.
    pub(crate) fn enqueue(&mut self, queued: Queued, reads: Reads, now: LogTime) {
        self.last_tag += 1;
        self.overlay.set_tag(self.last_tag);
        if !queued.command.writes.is_empty() {
            let at = At {
                log_time: now.0,
                ..At::default()
            };
            execute_after(&mut self.overlay, reads, &queued.command, at);
        }
        self.queue.push_back(queued);
    }

    /// Takes what is queued, within the bounds of one entry, with the tag of its last changes.
    pub(crate) fn take_batch(&mut self) -> (u64, Vec<Queued>) {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(next) = self.queue.front() {
            bytes += next.command.size_hint() + next.record.len();
            let is_full = batch.len() == BATCH_COMMANDS_MAX || bytes > BATCH_BYTES_MAX;
            if is_full && !batch.is_empty() {
                break;
            }
            batch.extend(self.queue.pop_front());
        }
        (self.last_tag - self.queue.len() as u64, batch)
    }
}

/// Enough that the fixed cost of an entry is spread thin.
const BATCH_COMMANDS_MAX: usize = 512;
/// Small enough that one entry does not hold up a heartbeat behind it.
const BATCH_BYTES_MAX: usize = 256 << 10;
