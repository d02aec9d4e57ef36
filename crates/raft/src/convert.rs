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
    Ok(AppendEntriesRequest {
        vote: from_vote(request.vote)?,
        prev_log_id: request.prev.as_ref().map(from_log_id),
        entries: request.entries.into_iter().map(from_entry).collect::<Result<_, _>>()?,
        leader_commit: request.committed.as_ref().map(from_log_id),
    })
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

pub(crate) fn from_append_reply(reply: wire::AppendReply) -> Result<StreamAppendResult<TypeConfig>, Status> {
    use wire::append_reply::Outcome;
    Ok(match reply.outcome.ok_or_else(malformed)? {
        Outcome::Matched(id) => Ok(Some(from_log_id(&id))),
        Outcome::None(_) => Ok(None),
        Outcome::Conflict(id) => Err(StreamAppendError::Conflict(from_log_id(&id))),
        Outcome::HigherVote(higher) => Err(StreamAppendError::HigherVote(from_vote(Some(higher))?)),
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
    Ok(VoteRequest {
        vote: from_vote(request.vote)?,
        last_log_id: request.last.as_ref().map(from_log_id),
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

pub(crate) fn from_vote_reply(reply: wire::VoteReply) -> Result<VoteResponse<TypeConfig>, Status> {
    Ok(VoteResponse {
        vote: from_vote(reply.vote)?,
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
