//! openraft's log storage on any [`Log`].

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use aumbry_storage::{Log, Meta};
use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use crate::types::{
    RaftEntry, RaftLogId, RaftVote, TypeConfig, decode, decode_entry, decode_entry_id, encode, encode_entry,
};

/// The log of one node; clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    db: Arc<dyn Log>,
}

impl LogStore {
    pub(crate) const fn new(db: Arc<dyn Log>) -> Self {
        Self { db }
    }

    /// The index of the last entry, retained or purged; 0 if there was none.
    pub(crate) fn last_index(&self) -> u64 {
        let purged = || self.meta(Meta::Purged).ok().flatten().map(|id: RaftLogId| id.index);
        self.db.last_index().or_else(purged).unwrap_or(0)
    }

    fn meta<T: serde::de::DeserializeOwned>(&self, meta: Meta) -> io::Result<Option<T>> {
        let stored = self.db.meta(meta);
        stored
            .map(|bytes| decode(&bytes))
            .transpose()
            .map_err(|_| damaged("a vote or mark of the log"))
    }

    fn read_range(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<RaftEntry>> {
        let entries = self.db.read(start..end, bytes_max);
        entries
            .into_iter()
            .map(|(_, bytes)| decode_entry(bytes).map_err(|_| damaged("an entry of the log")))
            .collect()
    }

    /// All of the range, however large.
    fn read_all(&self, mut start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        let mut entries = Vec::new();
        while start < end {
            let part = self.read_range(start, end, READ_BYTES_MAX)?;
            let Some(last) = part.last() else { break };
            start = last.log_id.index + 1;
            entries.extend(part);
        }
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.db.last_index().map_or(0, |last| last + 1),
        };
        self.read_all(start, end)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        self.read_range(start, end, REPLICATED_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        self.meta(Meta::Vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let last_purged_log_id: Option<RaftLogId> = self.meta(Meta::Purged)?;
        let last = self
            .db
            .last_index()
            .and_then(|last| self.db.read(last..last + 1, 1).pop());
        let last_log_id = match last {
            Some((_, bytes)) => Some(decode_entry_id(&bytes).map_err(|_| damaged("the last entry of the log"))?),
            None => last_purged_log_id,
        };
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let (done, durable) = oneshot::channel();
        self.db.put_meta(
            Meta::Vote,
            encode(vote),
            Some(Box::new(move |result| drop(done.send(result)))),
        );
        durable
            .await
            .map_err(|_| io::Error::other("the log's writer stopped"))?
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.db.put_meta(Meta::Committed, encode(&committed), None);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        self.meta(Meta::Committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<(u64, Bytes)> = entries
            .into_iter()
            .map(|entry| (entry.log_id.index, encode_entry(&entry)))
            .collect();
        self.db
            .append(entries, Box::new(move |result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<RaftLogId>) -> io::Result<()> {
        self.db.truncate_from(last_log_id.map_or(0, |id| id.index + 1));
        Ok(())
    }

    async fn purge(&mut self, log_id: RaftLogId) -> io::Result<()> {
        self.db.purge_to(log_id.index, encode(&log_id));
        Ok(())
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::other(format!("{what} cannot be read: {}", aumbry_storage::NEXT))
}

/// One step of reading entries for apply.
const READ_BYTES_MAX: usize = 8 << 20;
/// What one message to a follower carries; far below the limit of a message.
const REPLICATED_BYTES_MAX: usize = 2 << 20;
