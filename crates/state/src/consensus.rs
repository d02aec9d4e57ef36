//! The one seam to consensus. The Raft crate implements it for a cluster, [`crate::Local`] in memory.

use std::sync::Arc;

use aumbry_types::{LeaderId, LogId, LogIndex, NodeId, Term};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::{Outcome, View};

/// An entry that a quorum has made durable and this node has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands.
    pub log_id: LogId,
    /// The audit sequence number of its first command.
    pub first_seq: u64,
    /// The outcome of each command.
    pub outcomes: Vec<Outcome>,
}

/// Why a proposal gave no outcome. The two must never be confused: the first may be retried, the second must be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It certainly is in no log.
    #[error("not applied: {0}")]
    NotApplied(&'static str),
    /// It may be committed, now or later, or never.
    #[error("outcome unknown: {0}")]
    Unknown(&'static str),
}

/// Why a change of membership was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// This node does not lead.
    #[error("this node does not lead the cluster")]
    NotLeader,
    /// The node is not known.
    #[error("no such member; see `aumbry operator members`")]
    UnknownNode,
    /// The node is too far behind.
    #[error("the node has not caught up with the leader yet; try again")]
    Lagging,
    /// It would leave the cluster without voters, or is otherwise refused.
    #[error("refused: {0}")]
    Refused(String),
    /// No quorum answered in time.
    #[error("outcome unknown: {0}; see `aumbry operator members`")]
    Unknown(String),
}

/// A member of the cluster. Its public key is what it is; the addresses are where it was last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its name, for people.
    pub name: String,
    /// Where peers reach it.
    pub peer_addr: String,
    /// Where clients reach it.
    pub client_addr: String,
    /// SHA-256 of its public key (SPKI).
    pub spki_pin: [u8; 32],
    /// Its region, for placement.
    pub region: String,
    /// Its zone, for placement.
    pub zone: String,
    /// Whether it votes, or only learns.
    pub voter: bool,
    /// How much of the leader's log it is known to hold; known to the leader only.
    pub matched: Option<LogIndex>,
}

/// What consensus knows, at one moment, on this node.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// The current term.
    pub term: Term,
    /// The last applied index.
    pub applied: LogIndex,
    /// The last index known to be committed.
    pub committed: LogIndex,
    /// The last index in this node's log.
    pub last_log: LogIndex,
    /// The last index that was dropped from this node's log.
    pub purged: LogIndex,
    /// The digest of the state at `applied`.
    pub digest: [u8; 32],
    /// The audit root at `applied`.
    pub audit_root: [u8; 32],
    /// The number of audit records at `applied`.
    pub audit_size: u64,
    /// The log time at `applied`, in milliseconds.
    pub log_time: u64,
    /// The members.
    pub members: Vec<Member>,
}

/// What a watcher of consensus is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// This node's leadership, if it leads.
    pub leadership: Option<LeaderId>,
    /// The last applied index.
    pub applied: LogIndex,
}

/// When a node calls an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Campaign {
    /// When the leader was silent for the length of an election.
    AtOnce,
    /// When nobody else did for a long while: this node should rather not lead.
    Late,
}

/// How much room a node's disk has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Room {
    /// Enough.
    #[default]
    Ample,
    /// Less than the reserve: what is begun can be finished, and nothing more is to be begun.
    Low,
    /// So little that the log must not grow: not even entries of another leader are taken.
    Spent,
}

/// What keeps a node from having erased what was replaced: it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Somebody reads rows of before: a backup that is being written.
    Reader,
    /// The disk has no room to write all rows anew.
    Room,
    /// The log from before is not purged yet: a member that is there has not got so far.
    Log,
    /// A snapshot is on its way.
    Transfer,
    /// What a repair or a recovery has set aside lies in the data directory.
    SetAside,
}

/// How far a node is with erasing what was replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// The mark of the order that it has carried out last; zeros for none.
    pub mark: [u8; 16],
    /// The log index of the state before which nothing is left on its disk.
    pub index: LogIndex,
    /// What keeps it from carrying out a later order.
    pub obstacle: Option<Obstacle>,
}

/// A replicated log with an applied state.
pub trait Consensus: Send + Sync {
    /// This node's leadership: `Some` only while it leads and the first entry of its own term is applied here.
    fn leadership(&self) -> Option<LeaderId>;

    /// Proposes an entry under exactly this leadership. Resolves once it is committed and applied on this node, or when that
    /// can no longer be told.
    fn propose(&self, leader: LeaderId, entry: Bytes) -> BoxFuture<'_, Result<Committed, ProposeError>>;

    /// The applied rows, live.
    fn view(&self) -> Arc<dyn View>;

    /// What is known now.
    fn status(&self) -> Status;

    /// Waits until this node has applied all that the cluster had committed when it was called. Works on a sealed node.
    fn barrier(&self) -> BoxFuture<'_, Result<LogIndex, ProposeError>>;

    /// Waits until this index is applied here. The caller sets the deadline.
    fn wait_applied(&self, index: LogIndex) -> BoxFuture<'_, ()>;

    /// Tells of changes of leadership and progress.
    fn changed(&self) -> watch::Receiver<Change>;

    /// Encoded audit bodies, from the one that holds `from_seq`, at most `limit`.
    fn audit_bodies(&self, from_seq: u64, limit: usize) -> Vec<Vec<u8>>;

    /// Removes what it can of the audit bodies that have only records before this one, which the floor in the rows must agree with. True if nothing is left
    /// to do for now. Blocks on the disk.
    fn prune_audit(&self, _before: u64) -> bool {
        true
    }

    /// Adds a node that only learns.
    fn add_learner(&self, member: Member) -> BoxFuture<'_, Result<(), MembershipError>>;

    /// Makes a learner that has caught up a voter.
    fn promote(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>>;

    /// Removes a node. Its id is never used again.
    fn remove(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>>;

    /// Hands leadership to this voter, or to the one that is most up to date.
    fn transfer(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<(), MembershipError>>;

    /// Says when this node calls elections from now on. Does nothing where there are none.
    fn campaign(&self, _when: Campaign) {}
}
