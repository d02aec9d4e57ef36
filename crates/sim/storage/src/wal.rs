//! The Raft log on a simulated disk.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aumbry_sim_world::disk::{self, Change, LogImage};
use aumbry_sim_world::{host, strikes, trace};
use bytes::Bytes;

use crate::log::{Done, Log, Meta};
use crate::{StorageError, files};

/// The Raft log.
pub struct Wal {
    memory: Mutex<LogImage>,
}

impl Wal {
    /// Opens the log of the host whose code runs, or makes an empty one.
    ///
    /// # Errors
    /// As the real one: what was acknowledged must be there, and nothing may be damaged.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        files::create_dir(dir)?;
        let Some((image, floor, damage)) = disk::open_log() else {
            disk::create_log();
            return Ok(Self { memory: Mutex::default() });
        };
        if let Some(index) = damage {
            return Err(StorageError::damaged(dir, format!("entry {index} is not what was written")));
        }
        let path = dir.to_owned();
        let end = image.end();
        if end < floor.end {
            let acknowledged = floor.end;
            return Err(StorageError::Amnesia { path, end, acknowledged });
        }
        if image.votes < floor.votes {
            let (votes, acknowledged) = (image.votes, floor.votes);
            return Err(StorageError::ForgottenVote { path, votes, acknowledged });
        }
        trace::note("log opened", &[end, image.entries.len() as u64]);
        Ok(Self { memory: Mutex::new(image) })
    }

    /// Whether there is a log with anything in it.
    ///
    /// # Errors
    /// Never.
    pub fn is_used(_: &Path) -> Result<bool, StorageError> {
        Ok(disk::open_log().is_some_and(|(image, ..)| image.end() > 0 || image.votes > 0))
    }

    fn memory(&self) -> MutexGuard<'_, LogImage> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: Change, done: Option<Done>) {
        self.memory().apply(&change);
        disk::write_log(change, done);
    }
}

impl Log for Wal {
    fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) {
        host::point("log: before an append");
        let end = {
            let memory = self.memory();
            let is_new = memory.entries.is_empty() && memory.purged.is_none();
            (!is_new).then(|| memory.end())
        };
        let mut next = end.or_else(|| entries.first().map(|(index, _)| *index)).unwrap_or(0);
        for (index, _) in &entries {
            if *index != next {
                done(Err(io::Error::other("entries do not go on from the last one")));
                return;
            }
            next += 1;
        }
        trace::note("append", &[next, entries.len() as u64]);
        self.change(Change::Append(entries), Some(done));
        host::point("log: after an append");
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> Vec<(u64, Bytes)> {
        let memory = self.memory();
        let mut bytes = 0;
        let mut read = Vec::new();
        if range.is_empty() {
            return read;
        }
        for (index, entry) in memory.entries.range(range) {
            bytes += entry.len();
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push((*index, entry.clone()));
        }
        read
    }

    fn last_index(&self) -> Option<u64> {
        self.memory().entries.last_key_value().map(|(index, _)| *index)
    }

    fn first_index(&self) -> Option<u64> {
        self.memory().entries.first_key_value().map(|(index, _)| *index)
    }

    fn truncate_from(&self, index: u64) {
        trace::note("truncate", &[index]);
        self.change(Change::TruncateFrom(index), None);
        host::point("log: after a truncation");
    }

    fn purge_to(&self, index: u64, marker: Bytes) {
        if self.memory().purged.is_some_and(|purged| purged >= index) {
            return;
        }
        trace::note("purge", &[index]);
        strikes::count("log-purged");
        host::point("log: before a purge");
        self.change(Change::PurgeTo(index, Meta::Purged as u8, marker), None);
        host::point("log: after a purge");
    }

    fn put_meta(&self, key: Meta, value: Bytes, done: Option<Done>) {
        let is_vote = key == Meta::Vote;
        if is_vote {
            host::point("log: before a vote");
        }
        self.change(Change::Meta(key as u8, value, is_vote), done);
    }

    fn sync(&self, done: Done) {
        disk::sync_log(done);
    }

    /// What is purged is gone here.
    fn renew(&self) {}

    fn is_renewed(&self) -> bool {
        true
    }

    fn meta(&self, key: Meta) -> Option<Bytes> {
        self.memory().metas.get(&(key as u8)).cloned()
    }

    fn fsyncs(&self) -> u64 {
        disk::syncs()
    }

    fn bytes(&self) -> u64 {
        self.bytes_after(0)
    }

    fn bytes_after(&self, index: u64) -> u64 {
        let memory = self.memory();
        memory.entries.range(index + 1..).map(|(_, entry)| entry.len() as u64).sum()
    }

    fn tail(&self, bytes: u64) -> u64 {
        let memory = self.memory();
        let mut sum = 0;
        let mut first = memory.entries.last_key_value().map_or(0, |(last, _)| last + 1);
        for (index, entry) in memory.entries.iter().rev() {
            sum += entry.len() as u64;
            if sum > bytes {
                break;
            }
            first = *index;
        }
        first
    }
}
