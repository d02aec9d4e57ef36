//! A node as a member of its cluster, and what it tells of itself.

use std::sync::{Arc, PoisonError, RwLock};

use aumbry_api::v1;
use aumbry_node::{GenesisFacts, Node, genesis_facts};
use aumbry_raft::{Identity, RaftNode};
use aumbry_state::Consensus as _;
use aumbry_types::{ClusterId, NodeId, hex};

use crate::lifecycle::VERSION;

/// A node that belongs to a cluster.
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) identity: RwLock<Identity>,
}

impl Member {
    pub(crate) fn raft_id(&self) -> NodeId {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).node
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).cluster
    }

    /// The leader, if there is one that can do something: one that is not heard does not count, nor this node while it does not reach a quorum.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let leader = self.raft.changed().borrow().leader;
        leader.filter(|leader| self.raft.hears(*leader))
    }

    pub(crate) fn facts(&self) -> Option<GenesisFacts> {
        genesis_facts(&*self.raft.view())
    }

    /// Whether somebody has opened the seal with the shares.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.node.is_unsealed() || aumbry_node::is_confirmed(&*self.raft.view())
    }

    pub(crate) fn members(&self) -> Vec<v1::Member> {
        let status = self.raft.status();
        let leader = status.leader;
        let member = |member: aumbry_state::Member| v1::Member {
            id: member.id.0,
            name: member.name,
            peer_addr: member.peer_addr,
            client_addr: member.client_addr,
            voter: member.voter,
            leader: leader == Some(member.id),
            matched: member.matched.map(|index| index.0),
            region: member.region,
            zone: member.zone,
        };
        status.members.into_iter().map(member).collect()
    }

    pub(crate) fn status(&self, name: &str) -> v1::StatusReply {
        let status = self.raft.status();
        let facts = self.facts();
        let storage_id = facts
            .as_ref()
            .map(|facts| facts.storage_id.to_string())
            .unwrap_or_default();
        let restored = facts.and_then(|facts| facts.restored);
        v1::StatusReply {
            header: None,
            node_id: status.node.0,
            name: name.to_owned(),
            version: VERSION.to_owned(),
            sealed: !self.node.is_unsealed(),
            leader_id: status.leader.map_or(0, |leader| leader.0),
            is_leader: status.leader == Some(status.node),
            term: status.term.0,
            applied: status.applied.0,
            committed: status.committed.0,
            last_log: status.last_log.0,
            purged: status.purged.0,
            state_digest: hex::encode(&status.digest),
            audit_root: hex::encode(&status.audit_root),
            audit_size: status.audit_size,
            log_time_ms: status.log_time,
            cluster_id: self.cluster().to_string(),
            storage_id,
            members: self.members(),
            seals: self.node.seal_status().seals.into_iter().map(str::to_owned).collect(),
            quarantined: restored.as_ref().is_some_and(|restored| !restored.released),
            restored_from: restored
                .map(|restored| restored.cluster_id.to_string())
                .unwrap_or_default(),
        }
    }
}
