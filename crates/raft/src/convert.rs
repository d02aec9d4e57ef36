//! Between openraft's messages and those of the peer protocol. Entries are opaque bytes on both sides.

use aumbry_api::peer::v1 as wire;
use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use tonic::Status;

use crate::types::{
    BLANK, COMMAND, MEMBERSHIP, RaftEntry, RaftLeader, RaftLogId, RaftVote, TypeConfig, decode_payload, encode_payload,
    raft_log_id,
};

pub(crate) const fn log_id(id: &RaftLogId) -> wire::LogId {
    wire::LogId {
        term: id.leader_id.term,
        node: id.leader_id.node_id,
        index: id.index,
    }
}

pub(crate) const fn from_log_id(id: &wire::LogId) -> RaftLogId {
    raft_log_id(id.term, id.node, id.index)
}

pub(crate) const fn vote(vote: &RaftVote) -> wire::Vote {
    wire::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(crate) fn from_vote(vote: Option<wire::Vote>) -> Result<RaftVote, Status> {
    let vote = vote.ok_or_else(malformed)?;
    let leader_id = RaftLeader {
        term: vote.term,
        node_id: vote.node,
    };
    Ok(RaftVote {
        leader_id,
        committed: vote.committed,
    })
}

/// Whether elections can have led from one term to another. A term that is not believed would be the last one: nobody can be elected after it.
pub(crate) fn check_term(term: u64, own: u64) -> Result<(), Status> {
    if term > own.saturating_add(TERMS_AHEAD_MAX) {
        return Err(Status::invalid_argument("no elections led to this term"));
    }
    Ok(())
}

/// Reads the vote in an answer to what was asked under a term.
pub(crate) fn from_answered_vote(answered: Option<wire::Vote>, term: u64) -> Result<RaftVote, Status> {
    let vote = from_vote(answered)?;
    check_term(vote.leader_id.term, term)?;
    Ok(vote)
}

pub(crate) fn append(request: &AppendEntriesRequest<TypeConfig>, acknowledged: u64) -> wire::AppendRequest {
    wire::AppendRequest {
        vote: Some(vote(&request.vote)),
        prev: request.prev_log_id.as_ref().map(log_id),
        entries: request.entries.iter().map(entry).collect(),
        committed: request.leader_commit.as_ref().map(log_id),
        acknowledged,
    }
}

pub(crate) fn from_append(request: wire::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
    let vote = from_vote(request.vote)?;
    let entries: Vec<RaftEntry> = request.entries.into_iter().map(from_entry).collect::<Result<_, _>>()?;
    let (prev_log_id, leader_commit) = (
        request.prev.as_ref().map(from_log_id),
        request.committed.as_ref().map(from_log_id),
    );
    let ids = entries.iter().map(|entry| &entry.log_id);
    before_vote(&vote, ids.chain(&prev_log_id).chain(&leader_commit))?;
    // A leader that purges its log while it reads for a follower sends what is left, after a gap. openraft looks at the first place alone, and would
    // take what comes after the gap for the whole.
    let mut last = prev_log_id.as_ref().map(|prev| prev.index);
    let goes_on = entries.iter().all(|entry| {
        let next = last.map_or(Some(0), |last| last.checked_add(1));
        last = Some(entry.log_id.index);
        next == last
    });
    if !goes_on {
        return Err(malformed());
    }
    Ok(AppendEntriesRequest {
        vote,
        prev_log_id,
        entries,
        leader_commit,
    })
}

/// Whether what somebody has is of no later term than its vote.
pub(crate) fn before_vote<'a>(vote: &RaftVote, ids: impl IntoIterator<Item = &'a RaftLogId>) -> Result<(), Status> {
    let mut ids = ids.into_iter();
    match ids.all(|id| id.leader_id.term <= vote.leader_id.term) {
        true => Ok(()),
        false => Err(malformed()),
    }
}

fn entry(entry: &RaftEntry) -> wire::Entry {
    let (kind, bytes) = encode_payload(&entry.payload);
    let payload = match kind {
        BLANK => wire::entry::Payload::Blank(wire::Empty {}),
        MEMBERSHIP => wire::entry::Payload::Membership(bytes),
        _ => wire::entry::Payload::Command(bytes),
    };
    wire::Entry {
        id: Some(log_id(&entry.log_id)),
        payload: Some(payload),
    }
}

fn from_entry(entry: wire::Entry) -> Result<RaftEntry, Status> {
    let id = entry.id.ok_or_else(malformed)?;
    let (kind, bytes) = match entry.payload.ok_or_else(malformed)? {
        wire::entry::Payload::Blank(_) => (BLANK, Bytes::new()),
        wire::entry::Payload::Membership(bytes) => (MEMBERSHIP, bytes),
        wire::entry::Payload::Command(bytes) => (COMMAND, bytes),
    };
    let payload = decode_payload(kind, bytes).map_err(|_| malformed())?;
    Ok(RaftEntry {
        log_id: from_log_id(&id),
        payload,
    })
}

pub(crate) fn append_reply(result: StreamAppendResult<TypeConfig>) -> wire::AppendReply {
    use wire::append_reply::Outcome;
    let outcome = match result {
        Ok(Some(id)) => Outcome::Matched(log_id(&id)),
        Ok(None) => Outcome::None(wire::Empty {}),
        Err(StreamAppendError::Conflict(id)) => Outcome::Conflict(log_id(&id)),
        Err(StreamAppendError::HigherVote(higher)) => Outcome::HigherVote(vote(&higher)),
    };
    wire::AppendReply { outcome: Some(outcome) }
}

/// Reads the answer to an append under a term.
pub(crate) fn from_append_reply(reply: wire::AppendReply, term: u64) -> Result<StreamAppendResult<TypeConfig>, Status> {
    use wire::append_reply::Outcome;
    Ok(match reply.outcome.ok_or_else(malformed)? {
        Outcome::Matched(id) => Ok(Some(from_log_id(&id))),
        Outcome::None(_) => Ok(None),
        Outcome::Conflict(id) => Err(StreamAppendError::Conflict(from_log_id(&id))),
        Outcome::HigherVote(higher) => Err(StreamAppendError::HigherVote(from_answered_vote(Some(higher), term)?)),
    })
}

pub(crate) fn vote_request(request: &VoteRequest<TypeConfig>, acknowledged: u64) -> wire::VoteRequest {
    wire::VoteRequest {
        vote: Some(vote(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id),
        leadership_transfer: request.leadership_transfer,
        acknowledged,
    }
}

pub(crate) fn from_vote_request(request: wire::VoteRequest) -> Result<VoteRequest<TypeConfig>, Status> {
    let vote = from_vote(request.vote)?;
    let last_log_id = request.last.as_ref().map(from_log_id);
    before_vote(&vote, &last_log_id)?;
    Ok(VoteRequest {
        vote,
        last_log_id,
        leadership_transfer: request.leadership_transfer,
    })
}

pub(crate) fn vote_reply(reply: &VoteResponse<TypeConfig>, acknowledged: u64) -> wire::VoteReply {
    wire::VoteReply {
        vote: Some(vote(&reply.vote)),
        granted: reply.vote_granted,
        last: reply.last_log_id.as_ref().map(log_id),
        acknowledged,
    }
}

/// Reads the answer to a request for a vote under a term.
pub(crate) fn from_vote_reply(reply: wire::VoteReply, term: u64) -> Result<VoteResponse<TypeConfig>, Status> {
    Ok(VoteResponse {
        vote: from_answered_vote(reply.vote, term)?,
        vote_granted: reply.granted,
        last_log_id: reply.last.as_ref().map(from_log_id),
    })
}

pub(crate) fn transfer(request: &TransferLeaderRequest<TypeConfig>) -> wire::TransferRequest {
    wire::TransferRequest {
        from: Some(vote(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().map(log_id),
    }
}

pub(crate) fn from_transfer(request: wire::TransferRequest) -> Result<TransferLeaderRequest<TypeConfig>, Status> {
    let last = request.last.as_ref().map(from_log_id);
    Ok(TransferLeaderRequest::new(from_vote(request.from)?, request.to, last))
}

pub(crate) fn malformed() -> Status {
    Status::invalid_argument("malformed message of a peer")
}

/// Elections of a century, one each second. A node that slept through more has other worries.
const TERMS_AHEAD_MAX: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_after_which_none_comes_is_refused() {
        for (term, own, is_fit) in [
            (0, 0, true),
            (TERMS_AHEAD_MAX, 0, true),
            (TERMS_AHEAD_MAX + 1, 0, false),
            (7 + TERMS_AHEAD_MAX, 7, true),
            (u64::MAX, 7, false),
            (3, u64::MAX, true),
        ] {
            assert_eq!(check_term(term, own).is_ok(), is_fit, "{term} after {own}");
        }
    }

    #[test]
    fn entries_after_a_gap_are_refused() {
        let request = |prev: Option<u64>, indices: &[u64]| wire::AppendRequest {
            vote: Some(wire::Vote {
                term: 3,
                node: 1,
                committed: true,
            }),
            prev: prev.map(|index| log_id(&raft_log_id(3, 1, index))),
            entries: (indices.iter())
                .map(|index| wire::Entry {
                    id: Some(log_id(&raft_log_id(3, 1, *index))),
                    payload: Some(wire::entry::Payload::Blank(wire::Empty {})),
                })
                .collect(),
            committed: None,
            acknowledged: 0,
        };
        for (prev, indices, is_fit) in [
            (None, &[][..], true),
            (None, &[0, 1], true),
            (None, &[1], false),
            (Some(366), &[367, 368], true),
            (Some(366), &[459, 460], false),
            (Some(366), &[367, 369], false),
            (Some(u64::MAX), &[], true),
            (Some(u64::MAX), &[u64::MAX], false),
        ] {
            assert_eq!(
                from_append(request(prev, indices)).is_ok(),
                is_fit,
                "{indices:?} after {prev:?}"
            );
        }
    }

    #[test]
    fn nothing_is_of_a_later_term_than_its_vote() {
        let request = |entry: u64, prev: u64, committed: u64| wire::AppendRequest {
            vote: Some(wire::Vote {
                term: 3,
                node: 1,
                committed: true,
            }),
            prev: Some(log_id(&raft_log_id(prev, 1, 7))),
            entries: vec![wire::Entry {
                id: Some(log_id(&raft_log_id(entry, 1, 8))),
                payload: Some(wire::entry::Payload::Blank(wire::Empty {})),
            }],
            committed: Some(log_id(&raft_log_id(committed, 1, 7))),
            acknowledged: 0,
        };
        assert!(from_append(request(3, 3, 3)).is_ok());
        for (entry, prev, committed) in [(4, 3, 3), (3, 4, 3), (3, 3, 4)] {
            assert!(from_append(request(entry, prev, committed)).is_err());
        }
    }
}
