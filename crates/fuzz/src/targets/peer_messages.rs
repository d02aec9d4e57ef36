//! The messages of a peer, decoded and turned into what consensus is told.

use aumbry_api::peer::v1 as wire;
use aumbry_raft::fuzzing;
use prost::Message as _;

use super::{chosen, entry};
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "peer_messages",
    seeds,
    run,
    bombs,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let id = |index| wire::LogId {
        term: 3,
        node: 1,
        index,
    };
    let vote = wire::Vote {
        term: 4,
        node: 2,
        committed: true,
    };
    let payload = |kind: u8| match kind {
        0 => wire::entry::Payload::Blank(wire::Empty {}),
        1 => wire::entry::Payload::Membership(fuzzing::log_entries(&entry::sample(1))[1].slice(26..)),
        _ => wire::entry::Payload::Command(entry::sample(1)),
    };
    let entries = (0..3).map(|kind| wire::Entry {
        id: Some(id(7 + u64::from(kind))),
        payload: Some(payload(kind)),
    });
    let append = wire::AppendRequest {
        vote: Some(vote),
        prev: Some(id(6)),
        entries: entries.collect(),
        committed: Some(id(5)),
        acknowledged: 4,
    };
    let matched = wire::AppendReply {
        outcome: Some(wire::append_reply::Outcome::Matched(id(9))),
    };
    let request = wire::VoteRequest {
        vote: Some(vote),
        last: Some(id(9)),
        leadership_transfer: true,
        acknowledged: 9,
    };
    let reply = wire::VoteReply {
        vote: Some(vote),
        granted: true,
        last: Some(id(9)),
        acknowledged: 9,
    };
    let transfer = wire::TransferRequest {
        from: Some(vote),
        to: 2,
        last: Some(id(9)),
    };
    vec![
        chosen(0, &append.encode_to_vec()),
        chosen(1, &matched.encode_to_vec()),
        chosen(2, &request.encode_to_vec()),
        chosen(3, &reply.encode_to_vec()),
        chosen(4, &transfer.encode_to_vec()),
        chosen(5, &append.entries[1].encode_to_vec()),
    ]
}

fn bombs() -> Vec<Vec<u8>> {
    let all = super::message_bombs();
    all.iter()
        .flat_map(|bomb| (0..6).map(move |kind| chosen(kind, bomb)))
        .collect()
}

fn run(input: &[u8]) -> Verdict {
    let Some((kind, bytes)) = input.split_first() else {
        return Verdict::Refused;
    };
    let copied = bytes::Bytes::copy_from_slice(bytes);
    Verdict::of(bounded(bytes, MEMORY, || fuzzing::peer_message(*kind, &copied)))
}

/// An empty entry takes two bytes of a message and a few dozen words of memory, several times over while it is turned into another type.
const MEMORY: Memory = Memory {
    per_byte: 512,
    at_least: 4 << 20,
};
