//! The Raft log: its entries and three small values, as one stream of batches in segment files.
//!
//! Guarantees:
//! * Calls take effect in memory at once, and on the disk in the order of the calls: one queue, one writer thread, one stream.
//! * A callback is called exactly once, from the writer thread and in order, when its call and all calls before it are durable.
//! * What is queued when the writer is free becomes one batch: one write, one `fdatasync` (group commit). The space is there before, filled with
//!   zeros by another thread, so that a write changes nothing else of the file system.
//! * The last batch, if it was torn, was never acknowledged and is dropped. Anything damaged before it is an error when the log is opened, which
//!   names the file and the byte. A log that ends before what was acknowledged is an error as well (see the floor).
//!
//! It does not block: calls only queue, so async tasks may make them. [`Wal::read`] may read from the disk and belongs on a blocking thread.
//!
//! What it does not do: it neither compresses nor encrypts, as what it is given is sealed; and it removes whole segments only, so that what was purged
//! may stay on the disk until its file is used again. After [`Log::renew`] nothing of what came before it stays once it is purged.

mod frame;
pub(crate) mod fuzzing;
mod image;
mod preparer;
mod scan;
mod segment;
mod state;
mod window;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;

pub(crate) use self::image::Image;
use self::image::Stored;
use self::preparer::Preparer;
use self::scan::{FIRST, Scan};
use self::segment::{Access, Order, Segment};
use self::window::Window;
use self::writer::{Job, Work, Writer};
use crate::floor::{Floor, Mark};
use crate::log::{Done, Log, Meta};
use crate::{StorageError, fatal, files};

/// The Raft log.
pub struct Wal {
    shared: Arc<Shared>,
    queue: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    preparer: Arc<Preparer>,
}

/// What the callers and the writer share.
struct Shared {
    log: Mutex<Memory>,
    fsyncs: Arc<AtomicU64>,
}

/// The log as the last call left it.
struct Memory {
    window: Window,
    segments: BTreeMap<u64, Arc<Segment>>,
    queued_bytes: usize,
    meta: [Option<Bytes>; 3],
    /// A hint that waits for something to be written, and the number of the job after those that it came after.
    committed: Option<(u64, Bytes)>,
    jobs: u64,
    /// What came before this one goes to other files than what comes after it.
    renewed: Option<Renewed>,
}

/// When the log was told to go on in a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewed {
    /// With the job of this number.
    Queued(u64),
    /// In the segment of this number.
    From(u64),
}

/// How large things become.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// The first segment of a log. Each next one is twice as large.
    first: u64,
    /// A segment, in the end.
    segment: u64,
    /// The newest entries in memory.
    cache: usize,
}

impl Wal {
    /// Opens the log in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// [`StorageError::Amnesia`] if acknowledged entries are missing, [`StorageError::ForgottenVote`] if a vote is, [`StorageError::Damaged`] if
    /// something is damaged, [`StorageError::Io`] if the disk fails.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        Self::open_with(dir, SIZES)
    }

    fn open_with(dir: &Path, sizes: Sizes) -> Result<Self, StorageError> {
        files::create_dir(dir)?;
        let path = segments_in(dir);
        let floor_path = floor_in(dir);
        // The floor is the first file of a new log: segments without one have lost it.
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
        let mut scan = Scan::read(&path, Access::Write, sizes.cache)?;
        if let Some(cut) = scan.cut.take() {
            return Err(cut);
        }
        compare(dir, floor.mark(), scan.state.end(), scan.state.votes)?;
        files::create_dir(&path)?;
        remove_unfinished(&path)?;
        let segment = match scan.current.and_then(|current| scan.segments.get(&current)) {
            Some(segment) => Arc::clone(segment),
            None => {
                let order = Order {
                    number: FIRST,
                    previous: 0,
                    bytes: sizes.first,
                    least: sizes.first,
                    is_new: true,
                };
                let first = Arc::new(Segment::make(&path, order, None)?);
                scan.segments.insert(FIRST, Arc::clone(&first));
                first
            }
        };
        // What a killed process wrote last may be in memory only, and from now on it counts.
        segment.sync()?;
        let next = scan.segments.split_off(&(segment.number + 1)).into_values().next();
        let next = next.and_then(Arc::into_inner);
        let fsyncs = Arc::new(AtomicU64::new(0));
        let spares = std::mem::take(&mut scan.spares);
        let preparer = Arc::new(Preparer::start(&path, next, spares, Arc::clone(&fsyncs))?);
        let shared = Arc::new(Shared {
            log: Mutex::new(Memory {
                window: std::mem::take(&mut scan.window),
                segments: std::mem::take(&mut scan.segments),
                queued_bytes: 0,
                meta: scan.state.meta.clone(),
                committed: None,
                jobs: 0,
                renewed: None,
            }),
            fsyncs,
        });
        let (queue, jobs) = mpsc::channel();
        let of_writer = Arc::clone(&preparer);
        let writer = Writer::new(Arc::clone(&shared), floor, of_writer, sizes, scan, segment);
        let writer = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(&jobs))
            .map_err(StorageError::io("start the writer of", dir))?;
        Ok(Self {
            shared,
            queue: Some(queue),
            writer: Some(writer),
            preparer,
        })
    }

    /// Whether the log in `dir` has ever acknowledged anything. Opens and makes nothing; a damaged floor counts as yes.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the disk fails.
    pub fn is_used(dir: &Path) -> Result<bool, StorageError> {
        match Floor::look(&floor_in(dir)) {
            Ok(mark) => Ok(mark.is_some_and(|(mark, _)| mark != Mark::default())),
            Err(StorageError::Damaged { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Queues a job. The memory is still locked, so that the queue has the order in which the calls changed it.
    fn send(&self, memory: &mut Memory, work: Work, bytes: usize, done: Option<Done>) {
        let job = Job {
            number: memory.jobs,
            bytes: bytes + JOB_BYTES,
            work,
            done,
        };
        memory.jobs += 1;
        memory.queued_bytes += job.bytes;
        if memory.queued_bytes > QUEUE_BYTES {
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

impl Log for Wal {
    fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) {
        let mut memory = self.shared.lock();
        let mut next = memory.window.next();
        let contiguous = entries.iter().all(|(index, _)| {
            let fits = next.is_none_or(|next| next == *index);
            next = index.checked_add(1);
            fits && next.is_some()
        });
        if !contiguous {
            drop(memory);
            done(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "log entries do not go on from the last index",
            )));
            debug_assert!(contiguous, "log entries do not go on from the last index");
            return;
        }
        let job = memory.jobs;
        for (index, bytes) in &entries {
            memory.window.push(*index, bytes.clone(), job);
        }
        let bytes = entries.iter().map(|(_, bytes)| bytes.len() + ENTRY_BYTES).sum();
        self.send(&mut memory, Work::Append(entries), bytes, Some(done));
    }

    fn read(&self, range: Range<u64>, max_bytes: usize) -> Vec<(u64, Bytes)> {
        let memory = self.shared.lock();
        let found: Vec<_> = memory
            .window
            .clip(range, max_bytes)
            .map(|index| match memory.window.cached(index) {
                Some(bytes) => (index, Ok(bytes.clone())),
                None => (index, Err(Stored::find(index, &memory.window, &memory.segments))),
            })
            .collect();
        // What is on the disk is read without the lock. It cannot go away: whoever holds a segment keeps its file.
        drop(memory);
        found
            .into_iter()
            .map(|(index, bytes)| (index, bytes.unwrap_or_else(|stored| stored.read_or_end())))
            .collect()
    }

    fn last_index(&self) -> Option<u64> {
        self.shared.lock().window.last()
    }

    fn first_index(&self) -> Option<u64> {
        self.shared.lock().window.first()
    }

    fn truncate_from(&self, index: u64) {
        let mut memory = self.shared.lock();
        if memory.window.last().is_none_or(|last| last < index) {
            return;
        }
        memory.window.truncate(index);
        self.send(&mut memory, Work::Truncate(index), 0, None);
    }

    fn purge_to(&self, index: u64, marker: Bytes) {
        let mut memory = self.shared.lock();
        if memory.window.purged_end() > Some(index) {
            return;
        }
        memory.window.purge(index);
        memory.meta[Meta::Purged as usize] = Some(marker.clone());
        let bytes = marker.len();
        self.send(&mut memory, Work::Purge(index, marker), bytes, None);
    }

    fn put_meta(&self, key: Meta, value: Bytes, done: Option<Done>) {
        let mut memory = self.shared.lock();
        memory.meta[key as usize] = Some(value.clone());
        if key == Meta::Committed && done.is_none() {
            // The next frame takes it along. To wake the writer for it would cost more than all else that is done for a commit.
            memory.committed = Some((memory.jobs, value));
            return;
        }
        if key == Meta::Committed {
            memory.committed = None;
        }
        let bytes = value.len();
        self.send(&mut memory, Work::Meta(key, value), bytes, done);
    }

    fn sync(&self, done: Done) {
        self.send(&mut self.shared.lock(), Work::Sync, 0, Some(done));
    }

    fn renew(&self) {
        let mut memory = self.shared.lock();
        memory.renewed = Some(Renewed::Queued(memory.jobs));
        self.send(&mut memory, Work::Renew, 0, None);
    }

    fn is_renewed(&self) -> bool {
        let is_freed = {
            let memory = self.shared.lock();
            match memory.renewed {
                None => true,
                Some(Renewed::Queued(_)) => false,
                Some(Renewed::From(number)) => memory
                    .segments
                    .first_key_value()
                    .is_none_or(|(oldest, _)| *oldest >= number),
            }
        };
        is_freed && self.preparer.is_renewed()
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

impl Drop for Wal {
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
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_fsync(&self) {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where the segments of the log in `dir` are.
pub(crate) fn segments_in(dir: &Path) -> PathBuf {
    dir.join("wal")
}

/// Where the floor of the log in `dir` is.
pub(crate) fn floor_in(dir: &Path) -> PathBuf {
    dir.join("floor")
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

/// Removes files that were about to become segments when the process ended.
fn remove_unfinished(path: &Path) -> Result<(), StorageError> {
    let ending = format!(".{}", files::TEMPORARY);
    let names = files::names(path)?;
    let mut unfinished = names.iter().filter(|name| name.ends_with(&ending));
    unfinished.try_for_each(|name| files::remove(&path.join(name)))
}

/// A log that is young is small; a purge frees segments of the final size, of which a snapshot's worth of log has four.
const SIZES: Sizes = Sizes {
    first: 1 << 20,
    segment: 64 << 20,
    cache: 64 << 20,
};
/// An absurd backlog: openraft leaves far less unconfirmed. Beyond it memory would run out, and waiting would stop the runtime.
const QUEUE_BYTES: usize = 1 << 30;
/// What a job takes besides its bytes, so that the bound holds for empty jobs too.
const JOB_BYTES: usize = 256;
/// What an entry takes besides its bytes.
const ENTRY_BYTES: usize = 64;

#[cfg(test)]
mod tests;
