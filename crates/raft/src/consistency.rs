//! What must hold between the log, the applied rows and the snapshots of one node, or something of them is lost.

use std::io;

use aumbry_storage::check::Part;
use aumbry_storage::{DataDir, Log, Meta, StorageError, Wal};

use crate::types::{RaftLogId, RaftVote, decode, decode_entry_id};

/// The ends of the stores.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// The vote.
    pub(crate) vote: Option<RaftVote>,
    /// The index of the first entry of the log that is there.
    pub(crate) first: Option<u64>,
    /// The last entry of the log, retained or purged.
    pub(crate) last: Option<RaftLogId>,
    /// Up to where the log was purged.
    pub(crate) purged: Option<RaftLogId>,
    /// The last entry that the rows contain.
    pub(crate) applied: Option<RaftLogId>,
    /// The index of the last entry that the newest snapshot contains.
    pub(crate) snapshot: Option<u64>,
}

impl Ends {
    /// What of the parts is lost, judged by the others.
    ///
    /// The rows are durable only after the log up to the same entry is, and a log that ends before the rows is one of which the end is lost. The
    /// exception is a snapshot that was just installed: it is kept before, and the log is purged up to it afterwards.
    pub(crate) fn check(&self) -> Result<(), (Part, String)> {
        let index = |id: Option<RaftLogId>| id.map(|id| id.index);
        let before_first = self.purged.map_or(0, |purged| purged.index + 1);
        if let Some(first) = self.first.filter(|first| *first != before_first) {
            return Err((
                Part::Log,
                format!("it begins with entry {first}, and those before are missing"),
            ));
        }
        let (applied, snapshot) = (index(self.applied), self.snapshot);
        let newest_term = [self.applied, self.last]
            .into_iter()
            .flatten()
            .map(|id| id.leader_id.term)
            .max();
        let vote_term = self.vote.map_or(0, |vote| vote.leader_id.term);
        if newest_term.is_some_and(|term| term > vote_term) {
            return Err((Part::Log, "its vote is older than its entries".to_owned()));
        }
        if index(self.last) < applied && applied != snapshot {
            let what = format!(
                "it goes on at entry {}, but entry {} was applied",
                index(self.last).map_or(0, |last| last + 1),
                applied.unwrap_or(0),
            );
            return Err((Part::Log, what));
        }
        let reached = applied.max(snapshot);
        if reached < index(self.purged) {
            let what = match applied {
                Some(applied) => {
                    format!("its rows end at log entry {applied}, but the log begins after {before_first}")
                }
                None => format!("it has no rows, but the log begins with entry {before_first}"),
            };
            return Err((Part::State, what));
        }
        if self.last.is_some() && index(self.last) == applied && self.last != self.applied {
            let what = "the entry that was applied last is another one than the log's last".to_owned();
            return Err((Part::State, what));
        }
        Ok(())
    }
}

/// The ends of an open log; those of the rows and snapshots are for the caller to add.
pub(crate) fn ends_of(log: &dyn Log) -> io::Result<Ends> {
    let damaged = |what: &str| io::Error::other(format!("{what} cannot be read: {}", aumbry_storage::NEXT));
    let vote = log.meta(Meta::Vote).map(|bytes| decode(&bytes));
    let purged: Option<Result<RaftLogId, _>> = log.meta(Meta::Purged).map(|bytes| decode(&bytes));
    let purged = purged.transpose().map_err(|_| damaged("a mark of the log"))?;
    let last = log.last_index().and_then(|last| log.read(last..last + 1, 1).pop());
    let last = last.map(|(_, bytes)| decode_entry_id(&bytes));
    Ok(Ends {
        vote: vote.transpose().map_err(|_| damaged("the vote"))?,
        first: log.first_index(),
        last: last
            .transpose()
            .map_err(|_| damaged("the last entry of the log"))?
            .or(purged),
        purged,
        ..Ends::default()
    })
}

/// Makes the empty log of a node, before its identity is stored: an identity without a log is then one whose log was lost.
///
/// # Errors
/// [`StorageError`] if the disk fails.
pub fn prepare(data: &DataDir) -> Result<(), StorageError> {
    Wal::open(&data.log()).map(drop)
}

/// Refuses a directory in which the identity is there and the log is not, or the other way round: with an empty log a node would vote again, and
/// without its identity it would take the log of another for its own.
///
/// # Errors
/// [`StorageError::Damaged`] names what is missing.
pub fn refuse_loss(data: &DataDir, has_identity: bool) -> Result<(), StorageError> {
    let missing = |path: std::path::PathBuf| Err(StorageError::damaged(&path, "it is missing"));
    match has_identity {
        true if !data.log().exists() => missing(data.log()),
        false if data.state().exists() || Wal::is_used(&data.log())? => {
            missing(data.path().join(crate::identity::FILE))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{RaftLeader, raft_log_id};

    fn vote(term: u64) -> Option<RaftVote> {
        let leader_id = RaftLeader { term, node_id: 1 };
        Some(RaftVote {
            leader_id,
            committed: true,
        })
    }

    fn id(index: u64) -> Option<RaftLogId> {
        Some(raft_log_id(3, 1, index))
    }

    #[test]
    fn what_is_lost_is_told_from_what_a_crash_leaves() {
        let whole = Ends {
            vote: vote(3),
            first: Some(11),
            last: id(40),
            purged: id(10),
            applied: id(30),
            snapshot: Some(20),
        };
        let check = |change: fn(&mut Ends)| {
            let mut ends = whole.clone();
            change(&mut ends);
            ends.check().err().map(|(part, _)| part)
        };
        assert_eq!(Ends::default().check(), Ok(()));
        // A crash leaves these.
        assert_eq!(check(|_| {}), None);
        assert_eq!(check(|ends| ends.applied = id(10)), None);
        assert_eq!(check(|ends| ends.applied = None), None, "the snapshot reaches the log");
        assert_eq!(check(|ends| (ends.applied, ends.snapshot) = (id(60), Some(60))), None);
        let received = |ends: &mut Ends| ends.snapshot = Some(60);
        assert_eq!(check(received), None, "it is installed at the start");
        // These are losses.
        assert_eq!(check(|ends| ends.first = Some(12)), Some(Part::Log));
        assert_eq!(check(|ends| ends.purged = None), Some(Part::Log));
        assert_eq!(check(|ends| ends.vote = vote(2)), Some(Part::Log));
        assert_eq!(check(|ends| ends.vote = None), Some(Part::Log));
        assert_eq!(check(|ends| ends.applied = id(41)), Some(Part::Log));
        assert_eq!(
            check(|ends| (ends.applied, ends.snapshot) = (id(9), Some(8))),
            Some(Part::State)
        );
        assert_eq!(
            check(|ends| (ends.applied, ends.snapshot) = (None, None)),
            Some(Part::State)
        );
        let other = |ends: &mut Ends| ends.applied = Some(raft_log_id(2, 1, 40));
        assert_eq!(check(other), Some(Part::State));
    }
}
