//! [`RaftNode`] as the seam that everything above knows.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aumbry_state::{Campaign, Change, Committed, Consensus, Member, MembershipError, ProposeError, Status, View};
use aumbry_types::{LeaderId, LogIndex, NodeId, Term};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use tokio::sync::watch;

use crate::node::RaftNode;
use crate::state_machine::Shared;
use crate::types::{Proposal, RaftLeader, TypeConfig, from_leader, to_log_id};

impl RaftNode {
    /// The leadership that this node holds: elected, the first entry of its term applied here, and not handed over.
    pub(crate) fn leadership_now(&self) -> Option<RaftLeader> {
        // A leader that was started again still has its vote, and nothing else of its leadership.
        let leader = self.raft.as_leader().ok().filter(|_| self.leads())?;
        let leader = leader.to_committed_leader_id();
        let applied = self.shared.facts().last?;
        let handed_over = *self.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
        (applied.leader_id == leader && handed_over != Some(leader)).then_some(leader)
    }

    /// Gives the present leadership up: from now on consensus takes nothing more in it, so nothing more is planned in it either. What is on
    /// its way is carried through by whoever takes over.
    pub(crate) fn give_up_leadership(&self) {
        let leader = self.raft.as_leader().ok();
        let leader = leader.map(|leader| leader.to_committed_leader_id());
        *self.handed_over.lock().unwrap_or_else(PoisonError::into_inner) = leader;
        self.tell_leadership();
    }
}

impl Consensus for RaftNode {
    fn leadership(&self) -> Option<LeaderId> {
        self.leadership_now().map(|id| crate::types::to_leader(&id))
    }

    fn propose(&self, leader: LeaderId, entry: Bytes) -> BoxFuture<'_, Result<Committed, ProposeError>> {
        async move {
            let (responder, _committed, completed) = ProgressResponder::<TypeConfig, _>::new();
            let write = self
                .raft
                .write(Proposal(entry))
                .with_leader(from_leader(leader))
                .responder(responder);
            if write.await.is_err() {
                return Err(ProposeError::Unknown("consensus has stopped"));
            }
            match completed.await {
                Ok(Ok(response)) => match response.data.outcomes() {
                    Some(outcomes) => Ok(Committed {
                        log_id: to_log_id(&response.log_id),
                        first_seq: response.data.first_seq,
                        outcomes,
                    }),
                    None => Err(ProposeError::Unknown(
                        "apply gave an outcome that this build does not know",
                    )),
                },
                Ok(Err(ClientWriteError::ForwardToLeader(_))) => {
                    Err(ProposeError::NotApplied("the leadership has changed"))
                }
                Ok(Err(_)) => Err(ProposeError::Unknown(
                    "the leadership changed while the entry was on its way",
                )),
                Err(_) => Err(ProposeError::Unknown("consensus has stopped")),
            }
        }
        .boxed()
    }

    fn view(&self) -> Arc<dyn View> {
        Arc::<Shared>::clone(&self.shared)
    }

    fn status(&self) -> Status {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let applied = self.shared.facts();
        let machine = applied.machine();
        let index = |id: Option<&crate::types::RaftLogId>| LogIndex(id.map_or(0, |id| id.index));
        let membership = metrics.membership_config.membership();
        let voters: std::collections::BTreeSet<u64> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(id, node)| {
            let matched = metrics
                .replication
                .as_ref()
                .and_then(|replication| replication.get(id))
                .map(|id| index(id.as_ref()).0);
            node.to_member(*id, voters.contains(id), matched)
        });
        Status {
            node: self.node,
            leader: metrics.current_leader.map(NodeId),
            term: Term(metrics.current_term),
            applied: index(applied.last.as_ref()),
            committed: index(metrics.local_committed.as_ref()),
            last_log: LogIndex(metrics.last_log_index.unwrap_or(0)),
            purged: index(metrics.purged.as_ref()),
            digest: machine.digest(),
            audit_root: machine.audit_root(),
            audit_size: machine.audit_size(),
            log_time: machine.log_time(),
            members: members.collect(),
        }
    }

    fn barrier(&self) -> BoxFuture<'_, Result<LogIndex, ProposeError>> {
        async move {
            let index = self.leader_index().await?;
            match tokio::time::timeout(BARRIER_TIMEOUT, self.wait_applied(index)).await {
                Ok(()) => Ok(index),
                Err(_) => Err(ProposeError::NotApplied("this node is behind the leader; try again")),
            }
        }
        .boxed()
    }

    fn wait_applied(&self, index: LogIndex) -> BoxFuture<'_, ()> {
        let mut changed = self.changed();
        async move {
            // The sender lives in self: waiting ends only with the index or the caller's deadline.
            let _ = changed.wait_for(|change| change.applied >= index).await;
        }
        .boxed()
    }

    fn changed(&self) -> watch::Receiver<Change> {
        self.shared.change.subscribe()
    }

    fn audit_bodies(&self, from_seq: u64, limit: usize) -> Vec<Vec<u8>> {
        self.shared.audit().read(from_seq, limit)
    }

    fn prune_audit(&self, before: u64) -> bool {
        self.shared.prune_audit(before)
    }

    fn add_learner(&self, member: Member) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.add(member).boxed()
    }

    fn promote(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.make_voter(node).boxed()
    }

    fn remove(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.remove_member(node).boxed()
    }

    fn transfer(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.hand_over(to).boxed()
    }

    fn campaign(&self, when: Campaign) {
        self.campaigns.set(when);
    }
}

/// Longer than a replay after a short sleep, shorter than a person's patience.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(10);
