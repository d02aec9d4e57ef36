//! The Raft log: its entries and three small values, in a RocksDB of its own.
//!
//! Guarantees:
//! * Calls take effect in memory at once, and on the disk in the order of the calls: one queue, one writer thread.
//! * A callback is called exactly once, from the writer thread and in order, when its call and all calls before it are durable.
//! * What is queued when the writer is free becomes one batch with one `fsync` (group commit).
//! * A torn end of the write-ahead log was never acknowledged and is dropped. Anything damaged before the end is an error when the log is opened.
//!   A log that ends before what was acknowledged is one as well (see the floor).
//!
//! It does not block: calls only queue, so async tasks may make them. [`LogDb::read`] reads from the disk and belongs on a blocking thread.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use rocksdb::{DB, DBRecoveryMode, Options, ReadOptions};

use crate::floor::{Floor, Mark};
use crate::log::{Done, Log, Meta};
use crate::log_record::{self, CHECKSUM_BYTES, entry_key, index_of, meta_key};
use crate::log_window::Window;
use crate::log_writer::{Job, Work, Writer};
use crate::{StorageError, fatal, files, options};

/// The Raft log.
pub struct LogDb {
    shared: Arc<Shared>,
    queue: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// What the callers and the writer share.
pub(crate) struct Shared {
    pub(crate) db: DB,
    state: Mutex<State>,
    fsyncs: AtomicU64,
}

/// The log as the last call left it.
pub(crate) struct State {
    pub(crate) window: Window,
    pub(crate) queued_bytes: usize,
    meta: [Option<Bytes>; 3],
    jobs: u64,
}

impl LogDb {
    /// Opens the log in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// [`StorageError::Amnesia`] if acknowledged entries are missing, [`StorageError::ForgottenVote`] if a vote is, [`StorageError::Damaged`] or [`StorageError::Database`] if something is
    /// damaged, [`StorageError::Io`] if the disk fails.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        files::create_dir(dir)?;
        let path = dir.join("db");
        let floor_path = dir.join("floor");
        // The floor is the first file of a new log: a database without one has lost it.
        if !path.exists() && !floor_path.exists() {
            Floor::create(&floor_path)?;
        }
        let floor = Floor::open(&floor_path)?.ok_or_else(|| StorageError::damaged(&floor_path, "it is missing"))?;
        if !floor.is_whole() {
            tracing::warn!(
                "one of the two slots of {} is damaged; the other one stands, and the next write replaces it",
                floor_path.display()
            );
        }
        files::create_dir(&path)?;
        let db = open_database(&path)?;
        let meta = [
            load(&db, &path, &meta_key(Meta::Vote))?,
            load(&db, &path, &meta_key(Meta::Committed))?,
            load(&db, &path, &meta_key(Meta::Purged))?,
        ];
        let window = load_window(&db, &path)?;
        let votes = load_number(&db, &path, &log_record::VOTES)?.unwrap_or(0);
        let end = window.end();
        compare(dir, floor.mark(), end, votes)?;
        let shared = Arc::new(Shared {
            db,
            state: Mutex::new(State {
                window,
                queued_bytes: 0,
                meta,
                jobs: 0,
            }),
            fsyncs: AtomicU64::new(0),
        });
        let (queue, jobs) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), floor, end, votes);
        let writer = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(&jobs))
            .map_err(StorageError::io("start the writer of", dir))?;
        Ok(Self {
            shared,
            queue: Some(queue),
            writer: Some(writer),
        })
    }

    /// Whether the log in `dir` has ever acknowledged anything. Opens and makes nothing; a damaged floor counts as yes.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the disk fails.
    pub fn is_used(dir: &Path) -> Result<bool, StorageError> {
        match Floor::look(&dir.join("floor")) {
            Ok(mark) => Ok(mark.is_some_and(|(mark, _)| mark != Mark::default())),
            Err(StorageError::Damaged { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Queues a job. The state is still locked, so that the queue has the order in which the calls changed it.
    fn send(&self, state: &mut State, work: Work, bytes: usize, done: Option<Done>) {
        let job = Job {
            number: state.jobs,
            bytes: bytes + JOB_BYTES,
            work,
            done,
        };
        state.jobs += 1;
        state.queued_bytes += job.bytes;
        if state.queued_bytes > QUEUE_BYTES {
            fatal(
                "cannot queue for the log",
                "the disk is stuck, or the caller does not wait for its callbacks",
            );
        }
        let sent = self.queue.as_ref().map(|queue| queue.send(job));
        if !matches!(sent, Some(Ok(()))) {
            fatal("cannot queue for the log", "its writer has ended");
        }
    }
}

impl Log for LogDb {
    fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) {
        let mut state = self.shared.lock();
        let mut next = state.window.next();
        let contiguous = entries.iter().all(|(index, _)| {
            let fits = next.is_none_or(|next| next == *index);
            next = index.checked_add(1);
            fits && next.is_some()
        });
        if !contiguous {
            drop(state);
            done(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "log entries do not go on from the last index",
            )));
            debug_assert!(contiguous, "log entries do not go on from the last index");
            return;
        }
        let job = state.jobs;
        for (index, bytes) in &entries {
            state.window.push(*index, bytes.clone(), job);
        }
        let bytes = entries.iter().map(|(_, bytes)| bytes.len()).sum();
        self.send(&mut state, Work::Append(entries), bytes, Some(done));
    }

    fn read(&self, range: Range<u64>, max_bytes: usize) -> Vec<(u64, Bytes)> {
        let state = self.shared.lock();
        let range = state.window.clip(range);
        if range.is_empty() {
            return Vec::new();
        }
        let stored_end = state.window.first_unwritten().unwrap_or(u64::MAX);
        let stored = range.start..range.end.min(stored_end);
        let unwritten = Budget::new(max_bytes).take(
            (range.start.max(stored_end)..range.end)
                .map_while(|index| Some((index, state.window.unwritten(index)?.clone()))),
        );
        if stored.is_empty() {
            return unwritten;
        }
        // Taken under the lock, so that both parts are of one moment whatever is truncated meanwhile.
        let snapshot = self.shared.db.snapshot();
        drop(state);
        let mut read = ReadOptions::default();
        read.set_iterate_lower_bound(entry_key(stored.start));
        read.set_iterate_upper_bound(entry_key(stored.end));
        let mut rows = snapshot.raw_iterator_opt(read);
        rows.seek_to_first();
        let stored = stored.map(|index| {
            let row = rows.item().filter(|(key, _)| index_of(key) == Some(index));
            let entry =
                row.and_then(|(_, value)| log_record::decode(&index.to_be_bytes(), Bytes::copy_from_slice(value)));
            let Some(entry) = entry else {
                damaged(index, rows.status().err());
            };
            rows.next();
            (index, entry)
        });
        Budget::new(max_bytes).take(stored.chain(unwritten))
    }

    fn last_index(&self) -> Option<u64> {
        self.shared.lock().window.last()
    }

    fn first_index(&self) -> Option<u64> {
        self.shared.lock().window.first()
    }

    fn truncate_from(&self, index: u64) {
        let mut state = self.shared.lock();
        if state.window.last().is_none_or(|last| last < index) {
            return;
        }
        state.window.truncate(index);
        let end = state.window.end();
        self.send(&mut state, Work::Truncate { from: index, end }, 0, None);
    }

    fn purge_to(&self, index: u64, marker: Bytes) {
        let mut state = self.shared.lock();
        if state.window.purged_end() > Some(index) {
            return;
        }
        state.window.purge(index);
        state.meta[Meta::Purged as usize] = Some(marker.clone());
        let bytes = marker.len();
        self.send(&mut state, Work::Purge(index, marker), bytes, None);
    }

    fn put_meta(&self, key: Meta, value: Bytes, done: Option<Done>) {
        let mut state = self.shared.lock();
        state.meta[key as usize] = Some(value.clone());
        let bytes = value.len();
        self.send(&mut state, Work::Meta(key, value), bytes, done);
    }

    fn sync(&self, done: Done) {
        self.send(&mut self.shared.lock(), Work::Sync, 0, Some(done));
    }

    fn meta(&self, key: Meta) -> Option<Bytes> {
        self.shared.lock().meta[key as usize].clone()
    }

    fn fsyncs(&self) -> u64 {
        self.shared.fsyncs.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.shared.lock().window.bytes()
    }

    fn bytes_after(&self, index: u64) -> u64 {
        self.shared.lock().window.bytes_after(index)
    }

    fn tail(&self, bytes: u64) -> u64 {
        self.shared.lock().window.tail(bytes)
    }
}

impl Drop for LogDb {
    /// Writes what is queued, and calls its callbacks.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take()
            // The last handle can go in a callback.
            && writer.thread().id() != std::thread::current().id()
            && writer.join().is_err()
        {
            fatal("cannot close the log", "its writer panicked");
        }
    }
}

impl Shared {
    /// A panic of a caller, in debug builds, comes after the lock is dropped or before anything was changed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count_fsync(&self) {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
    }
}

/// Stops after some bytes, but not before the first entry.
struct Budget(usize);

impl Budget {
    const fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    fn take(mut self, entries: impl Iterator<Item = (u64, Bytes)>) -> Vec<(u64, Bytes)> {
        let mut taken = Vec::new();
        for (index, bytes) in entries {
            let rest = self.0.checked_sub(bytes.len());
            if rest.is_none() && !taken.is_empty() {
                break;
            }
            taken.push((index, bytes));
            let Some(rest) = rest else { break };
            self.0 = rest;
        }
        taken
    }
}

fn damaged(index: u64, error: Option<rocksdb::Error>) -> ! {
    let cause = error.map_or_else(|| "its checksum is wrong".to_owned(), |error| error.to_string());
    fatal(&format!("log entry {index} is damaged"), cause)
}

/// Compares what the floor says with what the log has: its next index and its number of votes.
pub(crate) fn compare(dir: &Path, floor: Mark, end: u64, votes: u64) -> Result<(), StorageError> {
    if end < floor.end {
        return Err(StorageError::Amnesia {
            path: dir.to_owned(),
            end,
            acknowledged: floor.end,
        });
    }
    if votes < floor.votes {
        return Err(StorageError::ForgottenVote {
            path: dir.to_owned(),
            votes,
            acknowledged: floor.votes,
        });
    }
    Ok(())
}

fn open_database(path: &Path) -> Result<DB, StorageError> {
    options::open(&log_options(), path)
}

/// The settings of the log's database.
pub(crate) fn log_options() -> Options {
    let mut options = options::common();
    // A torn last record was never acknowledged. Anything else that is wrong must stop the node, not shorten its log: RocksDB's default would.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_recycle_log_file_num(0);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_block_based_table_factory(&options::tables(CACHE_BYTES));
    options
}

pub(crate) fn load(db: &DB, path: &Path, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
    let value = db.get(key).map_err(StorageError::database("read", path))?;
    value
        .map(|value| {
            log_record::decode(key, value)
                .ok_or_else(|| StorageError::damaged(path, "one of its own values has a wrong checksum"))
        })
        .transpose()
}

pub(crate) fn load_number(db: &DB, path: &Path, key: &[u8]) -> Result<Option<u64>, StorageError> {
    load(db, path, key)?
        .map(|bytes| {
            let number = bytes.as_ref().try_into().map(u64::from_be_bytes);
            number.map_err(|_| StorageError::damaged(path, "a number of its own has a wrong size"))
        })
        .transpose()
}

/// Which entries are there. They must go on without a hole from the purged index.
pub(crate) fn load_window(db: &DB, path: &Path) -> Result<Window, StorageError> {
    let purged = load_number(db, path, &log_record::PURGED)?;
    let mut window = Window::new(purged.map(|index| index + 1));
    let mut read = ReadOptions::default();
    read.set_iterate_lower_bound(entry_key(0));
    read.fill_cache(false);
    let mut rows = db.raw_iterator_opt(read);
    rows.seek_to_first();
    while let Some((key, value)) = rows.item() {
        let index = index_of(key).ok_or_else(|| StorageError::damaged(path, "it has a key that is not an entry's"))?;
        if let Some(next) = window.next()
            && next != index
        {
            let what = format!("log entry {index} stands where {next} must");
            return Err(StorageError::damaged(path, what));
        }
        window.push_written(index, value.len().saturating_sub(CHECKSUM_BYTES));
        rows.next();
    }
    rows.status().map_err(StorageError::database("read", path))?;
    Ok(window)
}

/// An absurd backlog: openraft leaves far less unconfirmed. Beyond it memory would run out, and waiting would stop the runtime.
const QUEUE_BYTES: usize = 1 << 30;
/// What a job takes besides its bytes, so that the bound holds for empty jobs too.
const JOB_BYTES: usize = 256;
/// Entries leave the memory table through a purge more often than through a flush.
const WRITE_BUFFER_BYTES: usize = 64 << 20;
/// Followers read the end of the log, which is in the memory table.
const CACHE_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests;
