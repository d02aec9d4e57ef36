//! From the last survivor of a cluster to the first member of a new one, in place, while the node does not run.
//!
//! The new content is built beside the old one and takes its place all at once: a crash leaves the one or the other. The old one stays on the
//! disk, with its log, until somebody removes it.

use std::path::PathBuf;
use std::sync::Arc;

use aumbry_state::{Member, Outcome};
use aumbry_storage::{DataDir, Log as _, Meta, Replacement, StorageError, Wal};
use aumbry_types::{LeaderId, NodeId, Term};
use bytes::Bytes;
use openraft::EntryPayload;

use crate::identity::{Identity, IdentityError};
use crate::node::StartError;
use crate::remains::{Remains, RemainsError, for_each_from};
use crate::restore::membership_of;
use crate::state_machine::StateMachine;
use crate::types::{Proposal, RaftEntry, RaftVote, encode, raft_log_id};

/// Why a survivor was not recovered. Nothing is changed unless the disk failed at the last step, which the next start goes on with.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The disk, found by openraft's adapters.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The old content.
    #[error(transparent)]
    Remains(#[from] RemainsError),
    /// The new identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The new membership.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A bug: what was applied beside is not what was applied in memory.
    #[error("the log did not give the same state twice; nothing was changed, keep this disk and report it")]
    Different,
}

impl Remains {
    /// The leadership under which a recovery's own entries stand: after every term that the node has heard of.
    #[must_use]
    pub fn next_leader(&self) -> LeaderId {
        LeaderId {
            term: Term(self.status.term.0 + 1),
            node: self.identity.node,
        }
    }
}

/// Makes the survivor the only member of the cluster that `identity` names. Its whole log is applied, then `entry`, which was planned on
/// [`Remains::view`] under [`Remains::next_leader`], then the membership; the log begins anew after them. Returns where the old content is.
///
/// # Errors
/// [`RecoverError`]
pub fn recover(
    data: &DataDir,
    remains: &Remains,
    member: &Member,
    identity: &Identity,
    entry: Bytes,
) -> Result<PathBuf, RecoverError> {
    let replacement = Replacement::begin(data)?;
    let staged = replacement.data();
    let LeaderId {
        term: Term(term),
        node: NodeId(node),
    } = remains.next_leader();
    let place = |after: u64| raft_log_id(term, node, remains.last.index.0 + after);
    let last = place(2);
    {
        let machine = StateMachine::open(staged.state(), staged.audit(), staged.snapshots())?;
        let shared = Arc::clone(machine.shared());
        let next = shared.applied().last.map_or(0, |id| id.index + 1);
        for_each_from(&remains.log, next, |entries| {
            shared.apply(entries)?;
            Ok::<(), RecoverError>(())
        })?;
        if shared.applied().machine.digest() != remains.status.digest {
            return Err(RecoverError::Different);
        }
        let own = [
            RaftEntry {
                log_id: place(1),
                payload: EntryPayload::Normal(Proposal(entry)),
            },
            RaftEntry {
                log_id: last,
                payload: EntryPayload::Membership(membership_of(member)?),
            },
        ];
        let responses = shared.apply(&own)?;
        if responses.first().and_then(crate::types::Response::outcomes).as_deref() != Some(&[Outcome::Ok]) {
            return Err(RecoverError::Different);
        }
        // Nodes that join get everything in a snapshot: there is no log before it.
        shared.take();
    }
    {
        let log = Wal::open(&staged.log())?;
        log.purge_to(last.index, encode(&last));
        // Closing the log waits until all of it is durable.
        log.put_meta(Meta::Vote, encode(&RaftVote::new(term, node)), Some(Box::new(drop)));
    }
    identity.store(staged)?;
    Ok(replacement.take_place()?)
}

#[cfg(test)]
mod tests;
