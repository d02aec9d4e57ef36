//! The types that openraft is configured with, and how they become bytes.

use std::fmt;

use aumbry_state::codec::{Malformed, Reader, Writer};
use aumbry_state::{Member, Outcome};
use aumbry_types::{LeaderId, LogId, LogIndex, NodeId, Term};
use bytes::Bytes;
use openraft::EntryPayload;
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The configuration of openraft: entries are opaque bytes.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Response,
        NodeId = u64,
        Node = PeerNode,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, crate::state_machine::StateMachine>;
pub(crate) type RaftLeader = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub(crate) type RaftLogId = openraft::LogId<RaftLeader>;
pub(crate) type RaftVote = openraft::impls::Vote<RaftLeader>;
pub(crate) type RaftEntry = openraft::Entry<RaftLeader, EntryPayload<Proposal, u64, PeerNode>>;
pub(crate) type StoredMembership = openraft::StoredMembership<RaftLeader, u64, PeerNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<RaftLeader, u64, PeerNode>;
pub(crate) type Snapshot = openraft::Snapshot<RaftLeader, u64, PeerNode, std::path::PathBuf>;

/// The bytes of an entry. They are ciphertext, but a log has no use for them: only the length is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What apply made of an entry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Response {
    pub(crate) first_seq: u64,
    pub(crate) outcomes: Vec<u8>,
}

impl Response {
    pub(crate) fn outcomes(&self) -> Option<Vec<Outcome>> {
        self.outcomes.iter().map(|outcome| Outcome::from_u8(*outcome)).collect()
    }
}

/// A member as the membership record holds it. The public key is its identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerNode {
    pub(crate) name: String,
    pub(crate) peer_addr: String,
    pub(crate) client_addr: String,
    pub(crate) spki_pin: [u8; 32],
    pub(crate) region: String,
    pub(crate) zone: String,
}

impl PeerNode {
    pub(crate) fn from_member(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            peer_addr: member.peer_addr.clone(),
            client_addr: member.client_addr.clone(),
            spki_pin: member.spki_pin,
            region: member.region.clone(),
            zone: member.zone.clone(),
        }
    }

    pub(crate) fn to_member(&self, id: u64, voter: bool, matched: Option<u64>) -> Member {
        Member {
            id: NodeId(id),
            name: self.name.clone(),
            peer_addr: self.peer_addr.clone(),
            client_addr: self.client_addr.clone(),
            spki_pin: self.spki_pin,
            region: self.region.clone(),
            zone: self.zone.clone(),
            voter,
            matched: matched.map(LogIndex),
        }
    }
}

/// Our form of openraft's log id.
pub(crate) const fn to_log_id(id: &RaftLogId) -> LogId {
    LogId {
        leader: to_leader(&id.leader_id),
        index: LogIndex(id.index),
    }
}

/// Our form of openraft's leader id.
pub(crate) const fn to_leader(id: &RaftLeader) -> LeaderId {
    LeaderId {
        term: Term(id.term),
        node: NodeId(id.node_id),
    }
}

/// openraft's form of our leader id.
pub(crate) const fn from_leader(id: LeaderId) -> RaftLeader {
    RaftLeader {
        term: id.term.0,
        node_id: id.node.0,
    }
}

/// openraft's form of our log id.
pub(crate) const fn raft_log_id(term: u64, node_id: u64, index: u64) -> RaftLogId {
    RaftLogId {
        leader_id: RaftLeader { term, node_id },
        index,
    }
}

/// What stands in the log for an entry: its id, its kind, its bytes.
pub(crate) fn encode_entry(entry: &RaftEntry) -> Bytes {
    let (kind, bytes) = encode_payload(&entry.payload);
    let mut w = Writer::with_capacity(26 + bytes.len());
    w.u8(ENTRY_FORMAT);
    w.u64(entry.log_id.leader_id.term);
    w.u64(entry.log_id.leader_id.node_id);
    w.u64(entry.log_id.index);
    w.u8(kind);
    w.raw(&bytes);
    w.finish().into()
}

/// Reads an entry from the log; its bytes share the memory.
pub(crate) fn decode_entry(bytes: Bytes) -> Result<RaftEntry, Malformed> {
    let mut r = Reader::new(bytes);
    if r.u8()? != ENTRY_FORMAT {
        return Err(Malformed);
    }
    let log_id = raft_log_id(r.u64()?, r.u64()?, r.u64()?);
    let kind = r.u8()?;
    Ok(RaftEntry {
        log_id,
        payload: decode_payload(kind, r.rest())?,
    })
}

/// The log id of an entry in the log, without the rest.
pub(crate) fn decode_entry_id(bytes: &Bytes) -> Result<RaftLogId, Malformed> {
    let mut r = Reader::new(bytes.clone());
    if r.u8()? != ENTRY_FORMAT {
        return Err(Malformed);
    }
    Ok(raft_log_id(r.u64()?, r.u64()?, r.u64()?))
}

pub(crate) fn encode_payload(payload: &EntryPayload<Proposal, u64, PeerNode>) -> (u8, Bytes) {
    match payload {
        EntryPayload::Blank => (BLANK, Bytes::new()),
        EntryPayload::Membership(membership) => (MEMBERSHIP, encode(membership)),
        EntryPayload::Normal(proposal) => (COMMAND, proposal.0.clone()),
    }
}

pub(crate) fn decode_payload(kind: u8, bytes: Bytes) -> Result<EntryPayload<Proposal, u64, PeerNode>, Malformed> {
    match kind {
        BLANK if bytes.is_empty() => Ok(EntryPayload::Blank),
        MEMBERSHIP => decode(&bytes).map(EntryPayload::Membership),
        COMMAND => Ok(EntryPayload::Normal(Proposal(bytes))),
        _ => Err(Malformed),
    }
}

/// The bytes of openraft's own small values: votes, log ids, memberships.
///
/// # Panics
/// Never: they are plain data.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    postcard::to_allocvec(value).expect("plain data encodes").into()
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(Malformed),
    }
}

const ENTRY_FORMAT: u8 = 1;
pub(crate) const BLANK: u8 = 0;
pub(crate) const MEMBERSHIP: u8 = 1;
pub(crate) const COMMAND: u8 = 2;
