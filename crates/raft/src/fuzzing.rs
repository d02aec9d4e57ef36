//! What the fuzzer needs of formats that nothing else outside this crate sees. Not for any other use: it changes with them.

use std::collections::BTreeMap;

use aumbry_api::peer::v1 as wire;
use aumbry_types::ClusterId;
use bytes::Bytes;
use openraft::{EntryPayload, Membership};
use prost::Message as _;

use crate::types::{PeerNode, Proposal, RaftEntry, decode_entry, decode_entry_id, encode_entry, raft_log_id};
use crate::{acknowledged, convert};

/// Decodes an entry of the log and encodes it again; none if it is none.
///
/// # Panics
/// If its id alone is read as another one than with the rest.
#[must_use]
pub fn log_entry(bytes: &Bytes) -> Option<Bytes> {
    let entry = decode_entry(bytes.clone()).ok()?;
    assert_eq!(decode_entry_id(bytes).ok(), Some(entry.log_id), "an entry has one id");
    Some(encode_entry(&entry))
}

/// Entries as a log has them: an empty one, a change of membership, a command.
#[must_use]
pub fn log_entries(command: &Bytes) -> Vec<Bytes> {
    let nodes = (1..=3).map(|id| {
        let node = PeerNode {
            name: format!("node-{id}"),
            peer_addr: format!("10.0.0.{id}:8201"),
            client_addr: format!("10.0.0.{id}:8200"),
            spki_pin: [id as u8; 32],
            region: "north".to_owned(),
            zone: "a".to_owned(),
        };
        (id, node)
    });
    let nodes: BTreeMap<u64, PeerNode> = nodes.collect();
    let membership = Membership::new_with_defaults(vec![[1, 2].into(), [1, 2, 3].into()], nodes.keys().copied());
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Membership(membership),
        EntryPayload::Normal(Proposal(command.clone())),
    ];
    let entry = |(index, payload)| {
        encode_entry(&RaftEntry {
            log_id: raft_log_id(3, 1, index),
            payload,
        })
    };
    (7..).zip(payloads).map(entry).collect()
}

/// Decodes a message of a peer and turns it into what consensus is told; whether that is possible.
///
/// # Panics
/// If what it is turned into does not become the same message again.
#[must_use]
pub fn peer_message(kind: u8, bytes: &[u8]) -> bool {
    const TERM: u64 = 7;
    match kind % 6 {
        0 => {
            let Ok(message) = wire::AppendRequest::decode(bytes) else {
                return false;
            };
            let acknowledged = message.acknowledged;
            let Ok(request) = convert::from_append(message) else {
                return false;
            };
            let message = convert::append(&request, acknowledged);
            let Ok(again) = convert::from_append(message.clone()) else {
                panic!("what was read is refused when it is sent on")
            };
            assert!(convert::append(&again, acknowledged) == message);
            true
        }
        1 => wire::AppendReply::decode(bytes).is_ok_and(|reply| {
            let read = convert::from_append_reply(reply, TERM);
            read.is_ok_and(|result| {
                let message = convert::append_reply(result);
                let again = convert::from_append_reply(message, TERM);
                assert!(again.is_ok_and(|again| convert::append_reply(again) == message));
                true
            })
        }),
        2 => wire::VoteRequest::decode(bytes).is_ok_and(|message| {
            let acknowledged = message.acknowledged;
            convert::from_vote_request(message).is_ok_and(|request| {
                let message = convert::vote_request(&request, acknowledged);
                assert!(convert::from_vote_request(message).is_ok_and(|again| again == request));
                true
            })
        }),
        3 => wire::VoteReply::decode(bytes).is_ok_and(|message| {
            let acknowledged = message.acknowledged;
            convert::from_vote_reply(message, TERM).is_ok_and(|reply| {
                let message = convert::vote_reply(&reply, acknowledged);
                assert!(convert::from_vote_reply(message, TERM).is_ok_and(|again| again == reply));
                true
            })
        }),
        4 => wire::TransferRequest::decode(bytes).is_ok_and(|message| {
            convert::from_transfer(message).is_ok_and(|request| {
                let message = convert::transfer(&request);
                assert!(convert::from_transfer(message).is_ok_and(|again| convert::transfer(&again) == message));
                true
            })
        }),
        _ => wire::Entry::decode(bytes).is_ok(),
    }
}

/// Whether the text is what a node heard of what others acknowledged, for the cluster whose id is all zeros.
#[must_use]
pub fn acknowledged(text: &str) -> bool {
    acknowledged::parse(text, ClusterId::from_bytes([0; 16])).is_some()
}
