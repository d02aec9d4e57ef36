//! Whom this node hears, by what it knows: the memberships that it has seen, and the last id that was issued.
//!
//! What it guarantees: a node that a membership which this node has seen removed is refused, with one exception: what is in the log and not applied
//! yet tells nothing of ids that were issued after all that is applied. A key that is not the member's is refused, and nobody speaks for another.
//!
//! What it does not do: tell a member that lies. A member's word counts, within the bounds that keep one from ending the cluster by a number.

use std::sync::Arc;

use aumbry_state::{Row, View as _, key};
use aumbry_types::NodeId;
use openraft::async_runtime::watch::WatchReceiver as _;
use tonic::Status;

use crate::convert;
use crate::state_machine::Shared;
use crate::tls::PeerIdentity;
use crate::types::{Raft, RaftVote, StoredMembership};

/// What a caller wants to be heard as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A member.
    Member,
    /// Who leads, or wants to.
    Leader,
}

/// Why a caller is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The id is a member's, and the key is not.
    #[error("the caller's key is not the member's")]
    OtherKey,
    /// The id was issued, and is no member's.
    #[error(
        "the caller was removed from the cluster: stop it; to join it again, wipe its data directory and use a join token"
    )]
    Removed,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::permission_denied(refusal.to_string())
    }
}

/// The last id that was issued, as far as is applied.
#[derive(Clone, Copy, Debug)]
struct Issued {
    id: u64,
    /// The log index at which.
    index: u64,
}

/// What callers are judged by.
struct Known {
    applied: Arc<StoredMembership>,
    /// The newest one in the log.
    effective: Arc<StoredMembership>,
    issued: Option<Issued>,
}

impl Known {
    /// A node that replays the log passes places where the id of its leader is issued, and the membership with it comes only with the next entries.
    /// Only the leader can send those. So the last id that was issued may lead as long as no membership was seen that is newer than the id: such a
    /// one has removed it.
    fn check(&self, identity: &PeerIdentity, role: Role) -> Result<NodeId, Refusal> {
        let id = identity.node.0;
        let memberships = [&self.applied, &self.effective];
        let pins = memberships.map(|stored| stored.membership().get_node(&id).map(|node| node.spki_pin));
        if pins.contains(&Some(identity.pin)) {
            return Ok(identity.node);
        }
        if pins.iter().any(Option::is_some) {
            return Err(Refusal::OtherKey);
        }
        // A node that slept through many changes does not know its new peers yet: their ids were issued after all that it has applied. An id
        // that was issued and is no member's was removed, and so was its key.
        let Some(issued) = self.issued.filter(|issued| issued.id >= id) else {
            return Ok(identity.node);
        };
        let newest = memberships.map(|stored| stored.log_id().as_ref().map(|id| id.index));
        let is_newer = newest.into_iter().max().flatten() < Some(issued.index);
        match role {
            Role::Leader if issued.id == id && is_newer => Ok(identity.node),
            Role::Leader | Role::Member => Err(Refusal::Removed),
        }
    }
}

/// Whether this caller is heard.
pub(crate) fn admit(shared: &Shared, raft: &Raft, identity: &PeerIdentity, role: Role) -> Result<NodeId, Refusal> {
    // The memberships first: one that removes an id is never seen without the id.
    let applied = Arc::clone(&shared.facts().membership);
    let effective = Arc::clone(&raft.metrics().borrow_watched().membership_config);
    let issued = shared.get(&key::node_ids()).and_then(|row| Row::decode(&row).ok());
    let known = Known {
        applied,
        effective,
        issued: issued.map(|row| Issued {
            id: row.counters[0],
            index: row.rev.index,
        }),
    };
    known.check(identity, role)
}

/// Whether a vote is the caller's own, under a term that elections can have led to.
pub(crate) fn check_vote(raft: &Raft, vote: &RaftVote, caller: NodeId) -> Result<(), Status> {
    if vote.leader_id.node_id != caller.0 {
        return Err(Status::permission_denied("the vote is not the caller's"));
    }
    let term = raft.metrics().borrow_watched().current_term;
    convert::check_term(vote.leader_id.term, term)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::types::{PeerNode, raft_log_id};

    const PIN: [u8; 32] = [5; 32];

    /// A membership with these nodes beside node 1, in the log at an index.
    fn membership(index: u64, ids: &[u64]) -> Arc<StoredMembership> {
        let node = PeerNode {
            spki_pin: PIN,
            ..PeerNode::default()
        };
        let nodes: BTreeMap<u64, PeerNode> = ids.iter().chain(&[1]).map(|id| (*id, node.clone())).collect();
        let membership = openraft::Membership::new(vec![BTreeSet::from([1])], nodes).unwrap();
        Arc::new(StoredMembership::new(Some(raft_log_id(1, 1, index)), membership))
    }

    #[test]
    fn who_was_removed_does_not_lead_whatever_its_id() {
        let check = |applied: (u64, &[u64]), effective: (u64, &[u64]), issued: Option<(u64, u64)>, id, pin| {
            let known = Known {
                applied: membership(applied.0, applied.1),
                effective: membership(effective.0, effective.1),
                issued: issued.map(|(id, index)| Issued { id, index }),
            };
            let identity = PeerIdentity { node: NodeId(id), pin };
            let heard = [Role::Member, Role::Leader].map(|role| known.check(&identity, role));
            heard.map(|heard| heard.map(|node| node.0))
        };
        let (removed, other) = (Err(Refusal::Removed), Err(Refusal::OtherKey));
        let last = Some((5, 20));
        // Members, by what is applied or in the log.
        assert_eq!(check((30, &[5]), (30, &[5]), last, 5, PIN), [Ok(5); 2]);
        assert_eq!(check((10, &[]), (21, &[5]), last, 5, PIN), [Ok(5); 2]);
        // Issued after all that is applied.
        assert_eq!(check((10, &[]), (10, &[]), Some((4, 9)), 5, PIN), [Ok(5); 2]);
        assert_eq!(check((10, &[]), (10, &[]), None, 5, PIN), [Ok(5); 2]);
        // The log ends between the id and its membership.
        assert_eq!(check((10, &[]), (10, &[]), last, 5, PIN), [removed, Ok(5)]);
        // Removed: by what is applied, or by the end of the log.
        assert_eq!(check((30, &[]), (30, &[]), last, 5, PIN), [removed; 2]);
        assert_eq!(check((10, &[]), (30, &[]), last, 5, PIN), [removed; 2]);
        assert_eq!(check((30, &[]), (30, &[]), Some((6, 25)), 5, PIN), [removed; 2]);
        assert_eq!(check((10, &[]), (10, &[]), Some((6, 25)), 5, PIN), [removed; 2]);
        // The key of another.
        for issued in [last, Some((4, 9)), None] {
            assert_eq!(check((30, &[5]), (30, &[5]), issued, 5, [6; 32]), [other; 2]);
            assert_eq!(check((10, &[]), (30, &[5]), issued, 5, [6; 32]), [other; 2]);
        }
    }
}
