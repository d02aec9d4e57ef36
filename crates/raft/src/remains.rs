//! What the disk of a node that does not run holds: the rows with the whole log applied to them, in memory. The disk is not changed.

use std::sync::Arc;

use aumbry_state::{ApplyError, LoadError, Machine, Overlay, Status, View};
use aumbry_storage::{DataDir, LogImage, Meta, StateDb, StorageError};
use aumbry_types::{LogId, LogIndex, Term};

use crate::identity::{Identity, IdentityError};
use crate::state_machine::{APPLY_ENTRIES, apply_entries, read_applied};
use crate::types::{RaftEntry, RaftLogId, RaftVote, StoredMembership, decode, decode_entry, to_log_id};

/// What a survivor has.
pub struct Remains {
    /// Who the node is.
    pub identity: Identity,
    /// What it knows, with its whole log applied; `applied` is what its rows on the disk have, `term` the highest that it has seen.
    pub status: Status,
    /// Its last entry.
    pub last: LogId,
    /// How many entries it has acknowledged and has no more; none if that cannot be told.
    pub forgotten: Option<u64>,
    pub(crate) log: LogImage,
    view: Arc<Overlay<Arc<dyn View>>>,
}

/// Why a disk tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum RemainsError {
    /// The disk, or damage. The usual advice, to wipe the node, is not for the last survivor.
    #[error("{0}; on the last survivor wipe nothing: look at another one, or restore a backup")]
    Storage(#[from] StorageError),
    /// The applied mark.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No member.
    #[error("the node belongs to no cluster: its data directory has no identity")]
    NoMember,
    /// The state machine's row.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An entry of a newer build.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A value of the log.
    #[error("{0} cannot be read: the log is damaged; recover another survivor, or restore a backup")]
    Damaged(&'static str),
    /// Rows and log do not meet.
    #[error(
        "the rows need log entry {next} next, and the log begins at {first}: recover another survivor, or restore a backup"
    )]
    Gap {
        /// The first index that is not applied.
        next: u64,
        /// The first index in the log.
        first: u64,
    },
}

impl Remains {
    /// Reads a data directory. The whole log counts, as a survivor's tail is all that is left of what the others may have acknowledged.
    ///
    /// # Errors
    /// [`RemainsError`]
    pub fn open(data: &DataDir) -> Result<Self, RemainsError> {
        let identity = Identity::load(data)?.ok_or(RemainsError::NoMember)?;
        let db = StateDb::open_read_only(&data.state())?;
        let (applied, mut membership) = read_applied(&db, &data.state())?;
        let log = LogImage::open(&data.log())?;
        let mut machine = Machine::load(&db)?;
        let mut last = applied;
        let mut overlay = Overlay::new(Arc::new(db) as Arc<dyn View>);
        for_each_from(&log, applied.map_or(0, |id| id.index + 1), |entries| {
            let changes = apply_entries(&mut machine, &overlay, entries)?;
            for (key, row) in changes.rows {
                overlay.set(key, row);
            }
            for entry in entries {
                last = Some(entry.log_id);
                if let openraft::EntryPayload::Membership(changed) = &entry.payload {
                    membership = StoredMembership::new(Some(entry.log_id), changed.clone());
                }
            }
            Ok::<(), RemainsError>(())
        })?;
        let last = last.map_or_else(LogId::default, |id| to_log_id(&id));
        let vote = meta::<RaftVote>(&log, Meta::Vote, "the vote")?;
        let committed = meta::<RaftLogId>(&log, Meta::Committed, "the mark of what is committed")?;
        let applied = applied.map_or(0, |id| id.index);
        let status = Status {
            node: identity.node,
            leader: None,
            term: Term(vote.map_or(0, |vote| vote.leader_id.term).max(last.leader.term.0)),
            applied: LogIndex(applied),
            committed: LogIndex(committed.map_or(0, |id| id.index).max(applied)),
            last_log: last.index,
            purged: LogIndex(meta::<RaftLogId>(&log, Meta::Purged, "the purged mark")?.map_or(0, |id| id.index)),
            digest: machine.digest(),
            audit_root: machine.audit_root(),
            audit_size: machine.audit_size(),
            log_time: machine.log_time(),
            members: members(&membership),
        };
        let forgotten = log.acknowledged_end().map(|end| end.saturating_sub(last.index.0 + 1));
        Ok(Self {
            identity,
            status,
            last,
            forgotten,
            log,
            view: Arc::new(overlay),
        })
    }

    /// The rows with the whole log applied.
    #[must_use]
    pub fn view(&self) -> Arc<dyn View> {
        Arc::<Overlay<Arc<dyn View>>>::clone(&self.view)
    }

    /// Whether the node needs no other one for a quorum.
    #[must_use]
    pub fn is_quorum(&self) -> bool {
        let mut voters = self.status.members.iter().filter(|member| member.voter);
        voters.all(|voter| voter.id == self.identity.node) && self.status.members.iter().any(|member| member.voter)
    }
}

/// Calls `each` with all entries from an index on, in order, some at a time.
pub(crate) fn for_each_from<E: From<StorageError> + From<RemainsError>>(
    log: &LogImage,
    mut next: u64,
    mut each: impl FnMut(&[RaftEntry]) -> Result<(), E>,
) -> Result<(), E> {
    let Some(first) = log.first_index().filter(|_| log.end() > next) else {
        return Ok(());
    };
    if first > next {
        return Err(RemainsError::Gap { next, first }.into());
    }
    while next < log.end() {
        let end = log.end().min(next + APPLY_ENTRIES as u64);
        let read = log.read(next..end, READ_BYTES_MAX)?;
        next += read.len() as u64;
        let decoded = read.into_iter().map(|(_, bytes)| decode_entry(bytes));
        let entries: Result<Vec<RaftEntry>, _> = decoded.collect();
        each(&entries.map_err(|_| RemainsError::Damaged("an entry"))?)?;
    }
    Ok(())
}

fn meta<T: serde::de::DeserializeOwned>(
    log: &LogImage,
    key: Meta,
    what: &'static str,
) -> Result<Option<T>, RemainsError> {
    let read = log.meta(key).map(|bytes| decode(&bytes)).transpose();
    read.map_err(|_| RemainsError::Damaged(what))
}

fn members(membership: &StoredMembership) -> Vec<aumbry_state::Member> {
    let membership = membership.membership();
    let voters: std::collections::BTreeSet<u64> = membership.voter_ids().collect();
    let members = membership.nodes();
    members
        .map(|(id, node)| node.to_member(*id, voters.contains(id), None))
        .collect()
}

/// Entries that are in memory at once.
const READ_BYTES_MAX: usize = 8 << 20;
