//! Whether the disks have room for what clients ask for. Every answer is recorded, so without room there are no answers, not even to reads.
//!
//! A leader takes no requests while its own disk has less than the reserve, or while fewer voters than a quorum are known to have more. A
//! minority whose disks are full stops nobody: a leader that is one of it hands over.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aumbry_state::{Room, Status};
use aumbry_types::NodeId;

use crate::{Failure, Node, Operation};

/// The rooms that this node has heard of, and what they add up to.
#[derive(Default)]
pub(crate) struct Rooms(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// A peer's room, and the time since boot when it was heard.
    peers: BTreeMap<NodeId, (Room, u64)>,
    verdict: Verdict,
}

/// What the rooms add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    /// Whether a quorum of the voters has room.
    has_quorum: bool,
    /// Whether one has that this node is not in.
    has_others: bool,
}

impl Default for Verdict {
    /// Nobody is short of room until it says so.
    fn default() -> Self {
        Self {
            has_quorum: true,
            has_others: false,
        }
    }
}

impl Rooms {
    /// Takes note of a peer's room.
    pub(crate) fn hear(&self, peer: NodeId, room: Room, boottime_ms: u64) {
        self.lock().peers.insert(peer, (room, boottime_ms));
    }

    /// Adds up what is known.
    fn look(&self, own: Room, status: &Status, now: u64) -> Verdict {
        let mut known = self.lock();
        known
            .peers
            .retain(|_, (_, heard)| now.saturating_sub(*heard) <= FRESH_MS);
        let voters = status.members.iter().filter(|member| member.voter);
        let rooms: Vec<Option<Room>> = voters
            .clone()
            .filter(|voter| voter.id != status.node)
            .map(|voter| known.peers.get(&voter.id).map(|(room, _)| *room))
            .collect();
        let own = voters.clone().any(|voter| voter.id == status.node).then_some(Some(own));
        known.verdict = judge(own, &rooms);
        known.verdict
    }

    fn verdict(&self) -> Verdict {
        self.lock().verdict
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Whether requests are refused because of full disks, as far as this node knows: its own, or those of too many others.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.room() != Room::Ample || !self.rooms.verdict().has_quorum
    }

    /// Whether any leader would refuse this for want of room. There may be none: with entries on its way that full nodes do not take, one that is
    /// elected cannot begin.
    #[must_use]
    pub fn has_no_room_for(&self, operation: &Operation) -> bool {
        !operation.is_for_emergencies() && !self.rooms.verdict().has_quorum
    }

    /// How much room this node's disk has.
    pub(crate) fn room(&self) -> Room {
        (self.outside.room)()
    }

    /// Refuses a request for which there is no room. What operators need to see and to change who leads goes on while the log may grow at all.
    pub(crate) fn check_room(&self, operation: &Operation) -> Result<(), Failure> {
        let is_refused = match self.room() {
            Room::Spent => true,
            _ if operation.is_for_emergencies() => false,
            Room::Low => true,
            Room::Ample => !self.rooms.verdict().has_quorum,
        };
        if is_refused { Err(Failure::disk_full()) } else { Ok(()) }
    }

    /// What the leader does by itself goes on while the log may grow at all: little, and some of it makes room.
    pub(crate) fn check_own_room(&self) -> Result<(), Failure> {
        match self.room() {
            Room::Spent => Err(Failure::disk_full()),
            Room::Low | Room::Ample => Ok(()),
        }
    }

    /// Whether the cluster would be better off with another leader: this node's disk is short of room, and those of enough others are not.
    pub(crate) fn is_short_of_room(&self) -> bool {
        self.room() != Room::Ample && self.rooms.verdict().has_others
    }
}

/// Looks at all rooms anew.
pub(crate) fn tend(node: &Node, status: &Status) {
    node.rooms.look(node.room(), status, node.clock.boottime_ms());
}

/// `own` is none if this node does not vote; of others, what is not known is none.
fn judge(own: Option<Option<Room>>, others: &[Option<Room>]) -> Verdict {
    let has_room = |room: &&Option<Room>| **room == Some(Room::Ample);
    let is_short = |room: &Option<Room>| matches!(room, Some(Room::Low | Room::Spent));
    let all = others.len() + usize::from(own.is_some());
    let quorum = all / 2 + 1;
    let with_room = others.iter().filter(has_room).count();
    let with_own = with_room + own.iter().filter(has_room).count();
    // Who is not heard is consensus's to miss. It counts only beside one that is known to be short: then nobody else is left to rely on.
    let is_anybody_short = others.iter().chain(&own).any(is_short);
    Verdict {
        has_quorum: !is_anybody_short || with_own >= quorum,
        has_others: with_room >= quorum,
    }
}

/// Peers are asked every second; one that does not answer for this long may be in any state.
const FRESH_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<Room> = Some(Room::Ample);
    const L: Option<Room> = Some(Room::Low);
    const S: Option<Room> = Some(Room::Spent);
    const U: Option<Room> = None;

    #[test]
    fn a_minority_of_full_disks_stops_nobody() {
        let check = |own, others: &[Option<Room>], has_quorum, has_others| {
            let expected = Verdict { has_quorum, has_others };
            assert_eq!(judge(own, others), expected, "{own:?} {others:?}");
        };
        check(Some(A), &[], true, false);
        check(Some(L), &[], false, false);
        check(Some(A), &[A, A], true, true);
        check(Some(A), &[A, S], true, false);
        check(Some(L), &[A, A], true, true);
        check(Some(A), &[L, S], false, false);
        check(Some(L), &[A, L], false, false);
        // Nobody is known to be short: who is away is not asked for room.
        check(Some(A), &[U, U], true, false);
        check(Some(A), &[U, L], false, false);
        check(Some(A), &[A, U], true, false);
        check(Some(A), &[A, A, L, L], true, false);
        check(Some(A), &[A, L, L, U], false, false);
        // A learner looks at the voters.
        check(None, &[A, A, L], true, true);
        check(None, &[A, L, L], false, false);
    }

    #[test]
    fn what_was_heard_long_ago_is_forgotten() {
        let member = |id| aumbry_state::Member {
            id: NodeId(id),
            voter: true,
            ..aumbry_state::Member::default()
        };
        let status = Status {
            node: NodeId(1),
            members: [1, 2, 3].map(member).to_vec(),
            ..Status::default()
        };
        let rooms = Rooms::default();
        assert!(rooms.verdict().has_quorum);
        for peer in [2, 3] {
            rooms.hear(NodeId(peer), Room::Low, 1_000);
        }
        assert!(!rooms.look(Room::Ample, &status, 1_000 + FRESH_MS).has_quorum);
        assert!(rooms.look(Room::Ample, &status, 1_001 + FRESH_MS).has_quorum);
        assert!(!rooms.look(Room::Low, &status, 1_001 + FRESH_MS).has_quorum);
    }
}
