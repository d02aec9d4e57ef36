//! Faults of the code that stand between the pipeline and consensus when they are put in on purpose.

use std::sync::Arc;
use std::time::Duration;

use aumbry_audit::Outcome;
use aumbry_raft::RaftNode;
use aumbry_state::{
    Campaign, Change, Committed, Consensus, Entry, Member, MembershipError, ProposeError, Status, View,
};
use aumbry_types::{LeaderId, LogId, LogIndex, NodeId};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::run::Mutation;

/// Consensus as the pipeline of a node sees it.
pub(crate) fn consensus(raft: &Arc<RaftNode>, mutation: Option<Mutation>) -> Arc<dyn Consensus> {
    let raft = Arc::clone(raft);
    match mutation {
        Some(Mutation::FenceLost) => Arc::new(Faulty {
            raft,
            fault: Fault::FenceLost,
        }),
        Some(Mutation::AnswersEarly) => Arc::new(Faulty {
            raft,
            fault: Fault::AnswersEarly,
        }),
        Some(Mutation::DisksLie | Mutation::VotesForgotten) | None => raft,
    }
}

enum Fault {
    FenceLost,
    AnswersEarly,
}

/// Consensus with a fault in how entries are proposed.
struct Faulty {
    raft: Arc<RaftNode>,
    fault: Fault,
}

impl Faulty {
    /// An entry is not bound to the leadership in whose view it was planned: when that has ended, the next one that this node holds takes it.
    async fn propose_in_any(&self, planned: LeaderId, entry: Bytes) -> Result<Committed, ProposeError> {
        let mut leader = planned;
        loop {
            let answer = self.raft.propose(leader, entry.clone()).await;
            if answer.is_ok() {
                return answer;
            }
            sleep(PAUSE).await;
            let mut changed = self.raft.changed();
            let leads = changed.wait_for(|change| change.leadership.is_some()).await;
            let Ok(Some(present)) = leads.map(|change| change.leadership) else {
                return answer;
            };
            leader = present;
        }
    }

    /// An answer leaves although no quorum has the entry yet, with the place and the outcome that it will have if nothing happens.
    async fn propose_and_answer_early(&self, leader: LeaderId, entry: Bytes) -> Result<Committed, ProposeError> {
        let commands = Entry::decode(&entry).map_or(0, |entry| entry.commands.len());
        let status = self.raft.status();
        let raft = Arc::clone(&self.raft);
        let mut proposing = tokio::spawn(async move { raft.propose(leader, entry).await });
        match timeout(PATIENCE, &mut proposing).await {
            Ok(answer) => answer.unwrap_or(Err(ProposeError::Unknown("the node stops"))),
            Err(_) => Ok(Committed {
                log_id: LogId {
                    leader,
                    index: LogIndex(status.last_log.0 + 1),
                },
                first_seq: status.audit_size,
                outcomes: vec![Outcome::Ok; commands],
            }),
        }
    }
}

impl Consensus for Faulty {
    fn propose(&self, leader: LeaderId, entry: Bytes) -> BoxFuture<'_, Result<Committed, ProposeError>> {
        match self.fault {
            Fault::FenceLost => self.propose_in_any(leader, entry).boxed(),
            Fault::AnswersEarly => self.propose_and_answer_early(leader, entry).boxed(),
        }
    }

    fn leadership(&self) -> Option<LeaderId> {
        self.raft.leadership()
    }

    fn view(&self) -> Arc<dyn View> {
        self.raft.view()
    }

    fn status(&self) -> Status {
        self.raft.status()
    }

    fn barrier(&self) -> BoxFuture<'_, Result<LogIndex, ProposeError>> {
        self.raft.barrier()
    }

    fn wait_applied(&self, index: LogIndex) -> BoxFuture<'_, ()> {
        self.raft.wait_applied(index)
    }

    fn changed(&self) -> watch::Receiver<Change> {
        self.raft.changed()
    }

    fn audit_bodies(&self, from_seq: u64, limit: usize) -> Vec<Vec<u8>> {
        self.raft.audit_bodies(from_seq, limit)
    }

    fn prune_audit(&self, before: u64) -> bool {
        self.raft.prune_audit(before)
    }

    fn add_learner(&self, member: Member) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.raft.add_learner(member)
    }

    fn promote(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.raft.promote(node)
    }

    fn remove(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.raft.remove(node)
    }

    fn transfer(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.raft.transfer(to)
    }

    fn campaign(&self, when: Campaign) {
        self.raft.campaign(when);
    }
}

/// Before an entry is proposed again.
const PAUSE: Duration = Duration::from_millis(5);
/// A quorum that nothing ails takes a tenth of it.
const PATIENCE: Duration = Duration::from_millis(50);
