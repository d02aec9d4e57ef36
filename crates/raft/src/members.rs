//! Changes of membership, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aumbry_state::{Member, MembershipError};
use aumbry_types::NodeId;
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};

use crate::node::RaftNode;
use crate::types::{PeerNode, TypeConfig};

impl RaftNode {
    pub(crate) async fn add(&self, member: Member) -> Result<(), MembershipError> {
        let node = PeerNode::from_member(&member);
        let known = self.peer(member.id);
        if known.is_some_and(|known| known.spki_pin != node.spki_pin) {
            return Err(MembershipError::Refused("the id belongs to another key".to_owned()));
        }
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(member.id.0, node)])))
            .await
    }

    /// Makes a voter of a learner whose log is within a few entries of the leader's, seen twice: once could be luck.
    pub(crate) async fn make_voter(&self, node: NodeId) -> Result<(), MembershipError> {
        if self.peer(node).is_none() {
            return Err(MembershipError::UnknownNode);
        }
        for _ in 0..2 {
            if self.lag(node)? > LAG_MAX {
                return Err(MembershipError::Lagging);
            }
            // The next heartbeat shows where it is by then.
            tokio::time::sleep(CHECK_PAUSE).await;
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node.0]))).await
    }

    pub(crate) async fn remove_member(&self, node: NodeId) -> Result<(), MembershipError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership().clone();
        if membership.get_node(&node.0).is_none() {
            return Err(MembershipError::UnknownNode);
        }
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        if voters.contains(&node.0) {
            if voters.len() == 1 {
                return Err(MembershipError::Refused("it is the only voter".to_owned()));
            }
            self.change(ChangeMembers::RemoveVoters(BTreeSet::from([node.0])))
                .await?;
        }
        if self.peer(node).is_some() && self.leads() {
            return self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node.0]))).await;
        }
        Ok(())
    }

    pub(crate) async fn hand_over(&self, to: Option<NodeId>) -> Result<(), MembershipError> {
        if !self.leads() {
            return Err(MembershipError::NotLeader);
        }
        let metrics = self.raft.metrics().borrow_watched().clone();
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        let replication = metrics.replication.unwrap_or_default();
        let others = voters.iter().filter(|id| **id != self.node.0);
        let matched = |id: &u64| {
            replication
                .get(id)
                .and_then(|matched| matched.as_ref().map(|id| id.index))
                .unwrap_or(0)
        };
        let target = match to {
            Some(node) if node == self.node => return Ok(()),
            Some(node) if voters.contains(&node.0) => node.0,
            Some(_) => return Err(MembershipError::UnknownNode),
            None => *others
                .max_by_key(|id| matched(id))
                .ok_or_else(|| MembershipError::Refused("there is no other voter".to_owned()))?,
        };
        // A dead target would cost a whole election, in which nobody leads.
        if self.lag(NodeId(target))? > LAG_MAX || self.peer_status(NodeId(target)).await.is_none() {
            return Err(MembershipError::Lagging);
        }
        let mut changed = self.raft.metrics();
        self.raft
            .trigger()
            .transfer_leader(target)
            .await
            .map_err(|error| MembershipError::Unknown(error.to_string()))?;
        self.give_up_leadership();
        let handed_over = async {
            while changed.borrow_watched().current_leader != Some(target) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(self.config.patience(HAND_OVER_TIMEOUT), handed_over).await;
        in_time.map_err(|_| MembershipError::Unknown("the other node did not take over in time".to_owned()))
    }

    /// How many entries a member is behind this leader.
    fn lag(&self, node: NodeId) -> Result<u64, MembershipError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let replication = metrics.replication.ok_or(MembershipError::NotLeader)?;
        let matched = replication
            .get(&node.0)
            .and_then(|matched| matched.as_ref().map(|id| id.index));
        let last = metrics.last_log_index.unwrap_or(0);
        Ok(matched.map_or(u64::MAX, |matched| last.saturating_sub(matched)))
    }

    async fn change(&self, change: ChangeMembers<u64, PeerNode>) -> Result<(), MembershipError> {
        // What another task of this node changes is not half done, but under way.
        let _one_at_a_time = self.changing.lock().await;
        // A change that another leader left half done is finished first; otherwise the cluster would stay in it for ever.
        self.finish_joint().await?;
        let changing = async {
            loop {
                match self.raft.change_membership(change.clone(), false).await {
                    // An earlier leader's is not committed yet. Nothing was changed.
                    Err(error) if is_in_progress(&error) => tokio::time::sleep(CHECK_PAUSE).await,
                    changed => return changed,
                }
            }
        };
        match tokio::time::timeout(CHANGE_TIMEOUT, changing).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(MembershipError::Unknown("no quorum answered".to_owned())),
        }
    }

    async fn finish_joint(&self) -> Result<(), MembershipError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let [_, next] = membership.get_joint_config().as_slice() else {
            return Ok(());
        };
        let finishing = self.raft.change_membership(next.clone(), false);
        match tokio::time::timeout(CHANGE_TIMEOUT, finishing).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(MembershipError::Unknown("no quorum answered".to_owned())),
        }
    }
}

/// Whether another change is under way, so that this one was not begun.
const fn is_in_progress(error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> bool {
    matches!(
        error,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_)
        ))
    )
}

fn refused(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MembershipError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => MembershipError::NotLeader,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            MembershipError::Refused(error.to_string())
        }
        RaftError::APIError(error) => MembershipError::Unknown(error.to_string()),
        RaftError::Fatal(error) => MembershipError::Unknown(error.to_string()),
    }
}

/// Entries that a member may be behind and still count as caught up: what is in flight under load.
const LAG_MAX: u64 = 100;
const CHECK_PAUSE: Duration = Duration::from_millis(20);
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(3);
