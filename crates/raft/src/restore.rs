//! A fresh data directory, filled with a backup: the stores of the only voter of a new cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use aumbry_state::Member;
use aumbry_storage::{Backup, DataDir, Wal};
use openraft::storage::RaftLogStorage as _;

use crate::identity::Identity;
use crate::log_store::LogStore;
use crate::node::StartError;
use crate::state_machine::StateMachine;
use crate::types::{PeerNode, RaftVote, SnapshotMeta, StoredMembership, raft_log_id};

/// Fills the stores with a backup. The state is the backup's, the log begins after it, the only member is this one. The directory belongs to
/// a cluster once its identity is stored; if the process dies before that, [`discard_unfinished`] empties it.
///
/// # Errors
/// [`StartError`]
pub async fn restore(data: &DataDir, member: &Member, backup: Backup) -> Result<(), StartError> {
    data.write(MARK, b"")?;
    data.clear()?;
    let [term, node, index] = backup.snapshot.header().last_log_id;
    let last = raft_log_id(term, node, index);
    let machine = StateMachine::open(data.state(), data.audit(), data.snapshots())?;
    let shared = Arc::clone(machine.shared());
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership: alone(last, member)?,
    };
    let filling = tokio::task::spawn_blocking(move || {
        // A node that joins gets the membership of this cluster, not of the one before.
        shared.install_from(&meta, &backup.snapshot)
    });
    filling.await.map_err(io::Error::other)??;
    let mut log = LogStore::new(Arc::new(Wal::open(&data.log())?));
    log.purge(last).await?;
    // No vote may be older than the log; and the log of a cluster of one is its own.
    log.save_vote(&RaftVote::new(term + 1, member.id.0)).await?;
    Ok(())
}

/// Empties a directory whose restore did not come to its end.
///
/// # Errors
/// [`StartError`]
pub fn discard_unfinished(data: &DataDir) -> Result<(), StartError> {
    if data.read(MARK)?.is_none() {
        return Ok(());
    }
    if Identity::load(data).map_or(true, |identity| identity.is_none()) {
        data.clear()?;
    }
    Ok(data.remove(MARK)?)
}

fn alone(last: crate::types::RaftLogId, member: &Member) -> Result<StoredMembership, StartError> {
    Ok(StoredMembership::new(Some(last), membership_of(member)?))
}

/// A membership with one voter.
pub(crate) fn membership_of(member: &Member) -> Result<openraft::Membership<u64, PeerNode>, StartError> {
    let nodes = BTreeMap::from([(member.id.0, PeerNode::from_member(member))]);
    let membership = openraft::Membership::new(vec![BTreeSet::from([member.id.0])], nodes);
    membership.map_err(|error| StartError::Raft(error.to_string()))
}

/// There while a restore is under way.
pub(crate) const MARK: &str = "restoring";
