//! Consensus with oneself, in memory: for tests of everything above, and for simulation.

use std::sync::{Arc, Mutex, PoisonError};

use aumbry_types::{LeaderId, LogId, LogIndex, NodeId, Term};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};
use tokio::sync::watch;

use crate::consensus::{Change, Committed, Consensus, Member, MembershipError, ProposeError, Status};
use crate::machine::{Input, Machine, Payload};
use crate::view::{MemoryView, View};

/// A cluster of one node that never fails, unless told to be deposed.
pub struct Local {
    view: Arc<MemoryView>,
    log: Mutex<Log>,
    change: watch::Sender<Change>,
}

struct Log {
    machine: Machine,
    last: LogId,
    leader: Option<LeaderId>,
    bodies: Vec<(u64, Vec<u8>)>,
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl Local {
    /// An empty cluster that leads itself.
    ///
    /// # Panics
    /// Never: an empty state loads.
    #[must_use]
    pub fn new() -> Self {
        let view = Arc::new(MemoryView::default());
        let machine = Machine::load(&*view).expect("an empty state loads");
        let log = Log {
            machine,
            last: LogId::default(),
            leader: None,
            bodies: Vec::new(),
        };
        let local = Self {
            view,
            log: Mutex::new(log),
            change: watch::Sender::new(Change::default()),
        };
        local.depose();
        local
    }

    /// Ends the leadership and begins the next one, as an election would.
    pub fn depose(&self) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let leader = LeaderId {
            term: Term(log.last.leader.term.0 + 1),
            node: NodeId(1),
        };
        log.leader = Some(leader);
        self.append(&mut log, leader, Payload::Blank);
    }

    fn append(&self, log: &mut Log, leader: LeaderId, payload: Payload<'_>) -> Committed {
        let log_id = LogId {
            leader,
            index: LogIndex(log.last.index.0 + 1),
        };
        let applied = log.machine.apply(&*self.view, &[Input { log_id, payload }]);
        let mut applied = applied.expect("this build applies what it wrote");
        self.view.write(applied.rows);
        log.last = log_id;
        let result = applied.results.remove(0);
        log.bodies
            .extend(applied.bodies.into_iter().map(|(_, body)| (result.first_seq, body)));
        self.change.send_replace(Change {
            leader: Some(NodeId(1)),
            leadership: log.leader,
            applied: log_id.index,
        });
        Committed {
            log_id,
            first_seq: result.first_seq,
            outcomes: result.outcomes,
        }
    }
}

impl Consensus for Local {
    fn leadership(&self) -> Option<LeaderId> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).leader
    }

    fn propose(&self, leader: LeaderId, entry: Bytes) -> BoxFuture<'_, Result<Committed, ProposeError>> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = if log.leader == Some(leader) {
            Ok(self.append(&mut log, leader, Payload::Command(&entry)))
        } else {
            Err(ProposeError::NotApplied("the leadership has changed"))
        };
        ready(answer).boxed()
    }

    fn view(&self) -> Arc<dyn View> {
        Arc::<MemoryView>::clone(&self.view)
    }

    fn status(&self) -> Status {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        Status {
            node: NodeId(1),
            leader: Some(NodeId(1)),
            term: log.last.leader.term,
            applied: log.last.index,
            committed: log.last.index,
            purged: LogIndex(0),
            last_log: log.last.index,
            digest: log.machine.digest(),
            audit_root: log.machine.audit_root(),
            audit_size: log.machine.audit_size(),
            log_time: log.machine.log_time(),
            members: Vec::new(),
        }
    }

    fn barrier(&self) -> BoxFuture<'_, Result<LogIndex, ProposeError>> {
        ready(Ok(self.status().applied)).boxed()
    }

    fn wait_applied(&self, index: LogIndex) -> BoxFuture<'_, ()> {
        let mut changed = self.change.subscribe();
        async move {
            // The sender lives in self, so waiting ends only with the index or the caller's deadline.
            let _ = changed.wait_for(|change| change.applied >= index).await;
        }
        .boxed()
    }

    fn changed(&self) -> watch::Receiver<Change> {
        self.change.subscribe()
    }

    fn audit_bodies(&self, from_seq: u64, limit: usize) -> Vec<Vec<u8>> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let start = log
            .bodies
            .partition_point(|(first, _)| *first <= from_seq)
            .saturating_sub(1);
        log.bodies[start..]
            .iter()
            .take(limit)
            .map(|(_, body)| body.clone())
            .collect()
    }

    fn prune_audit(&self, before: u64) -> bool {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = log.bodies.partition_point(|(first, _)| *first <= before);
        let _ = log.bodies.drain(..keep.saturating_sub(1));
        true
    }

    fn add_learner(&self, _: Member) -> BoxFuture<'_, Result<(), MembershipError>> {
        alone()
    }

    fn promote(&self, _: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        alone()
    }

    fn remove(&self, _: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        alone()
    }

    fn transfer(&self, _: Option<NodeId>) -> BoxFuture<'_, Result<(), MembershipError>> {
        alone()
    }
}

fn alone() -> BoxFuture<'static, Result<(), MembershipError>> {
    ready(Err(MembershipError::Refused(
        "a local cluster has one member".to_owned(),
    )))
    .boxed()
}
