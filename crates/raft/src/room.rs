//! What a disk that fills up means for replication: its node takes no more commands, and goes on voting and hearing its leader.
//!
//! A node that hit the end of its disk would end, and could not be started again before somebody made room. One that stops in time keeps its
//! place: it follows, votes with what it has, and catches up by itself when there is room.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use aumbry_api::peer::v1 as wire;
use aumbry_state::Room;
use tonic::Status;

/// The peers whose disks are too full to take entries, as they told last.
#[derive(Default)]
pub(crate) struct Spent(Mutex<BTreeSet<u64>>);

impl Spent {
    /// Takes what a peer told.
    pub(crate) fn note(&self, node: u64, room: Room) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if room == Room::Spent {
            spent.insert(node);
        } else {
            spent.remove(&node);
        }
    }

    /// Whether this peer told so.
    pub(crate) fn has(&self, node: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }
}

/// Whether a node with so much room takes a message. Heartbeats it takes always, and what elections and changes of membership bring: they are
/// few, and without them nobody could lead.
pub(crate) fn takes(room: Room, message: &wire::AppendRequest) -> Result<(), Status> {
    let is_command = |entry: &wire::Entry| matches!(entry.payload, Some(wire::entry::Payload::Command(_)));
    if room == Room::Spent && message.entries.iter().any(is_command) {
        return Err(full());
    }
    Ok(())
}

/// What a peer is told that sends more than there is room for.
pub(crate) fn full() -> Status {
    Status::resource_exhausted("the disk of the node is nearly full; make room on it")
}

/// The room as a peer is told it.
#[must_use]
pub fn room_to_wire(room: Room) -> wire::Room {
    match room {
        Room::Ample => wire::Room::Ample,
        Room::Low => wire::Room::Low,
        Room::Spent => wire::Room::Spent,
    }
}

/// The room that a peer told. One that knows nothing of it says nothing, and is not waited for.
pub(crate) const fn from_wire(room: wire::Room) -> Room {
    match room {
        wire::Room::Unspecified | wire::Room::Ample => Room::Ample,
        wire::Room::Low => Room::Low,
        wire::Room::Spent => Room::Spent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_node_takes_what_keeps_the_cluster_together_and_no_commands() {
        use wire::entry::Payload;
        let blank = || Payload::Blank(wire::Empty {});
        let membership = || Payload::Membership(bytes::Bytes::new());
        let command = || Payload::Command(bytes::Bytes::new());
        let message = |payloads: Vec<Payload>| wire::AppendRequest {
            entries: payloads
                .into_iter()
                .map(|payload| wire::Entry {
                    id: None,
                    payload: Some(payload),
                })
                .collect(),
            ..Default::default()
        };
        for (payloads, is_taken) in [
            (vec![], true),
            (vec![blank()], true),
            (vec![blank(), membership()], true),
            (vec![command()], false),
            (vec![blank(), command()], false),
        ] {
            let message = message(payloads);
            assert_eq!(takes(Room::Spent, &message).is_ok(), is_taken);
            assert!(takes(Room::Low, &message).is_ok() && takes(Room::Ample, &message).is_ok());
        }
    }

    #[test]
    fn every_room_survives_the_wire() {
        for room in [Room::Ample, Room::Low, Room::Spent] {
            assert_eq!(from_wire(room_to_wire(room)), room);
        }
        assert_eq!(from_wire(wire::Room::Unspecified), Room::Ample);
    }
}
