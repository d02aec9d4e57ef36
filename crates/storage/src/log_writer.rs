//! The one thread that writes the log: it takes what has queued up, writes it as one synced batch, and calls back in order.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rocksdb::{WriteBatch, WriteOptions};

use crate::fatal;
use crate::floor::{Floor, Mark};
use crate::log::{Done, Meta};
use crate::log_db::Shared;
use crate::log_record::{self, entry_key, meta_key};

/// One call, in the order of the calls.
pub(crate) struct Job {
    /// Goes up by one with each job.
    pub(crate) number: u64,
    /// How much of the queue's bound it takes.
    pub(crate) bytes: usize,
    pub(crate) work: Work,
    /// Called when the job, and all jobs before it, are durable.
    pub(crate) done: Option<Done>,
}

/// What a job writes.
pub(crate) enum Work {
    Append(Vec<(u64, Bytes)>),
    /// `end` is one past the last index that is left, retained or purged.
    Truncate {
        from: u64,
        end: u64,
    },
    Purge(u64, Bytes),
    Meta(Meta, Bytes),
    /// Nothing: the callback is what counts.
    Sync,
}

/// The writer's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    floor: Floor,
    /// One past the highest index that is durable.
    end: u64,
    /// How many votes are durable.
    votes: u64,
    raised: Instant,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, floor: Floor, end: u64, votes: u64) -> Self {
        Self {
            shared,
            floor,
            end,
            votes,
            raised: Instant::now(),
        }
    }

    /// Writes until the queue is closed and empty.
    pub(crate) fn run(mut self, queue: &Receiver<Job>) {
        let _end = EndOnPanic;
        loop {
            let first = if self.end > self.floor.mark().end {
                match queue.recv_timeout(RAISE_EVERY.saturating_sub(self.raised.elapsed())) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => {
                        self.raise_floor();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            } else {
                match queue.recv() {
                    Ok(job) => job,
                    Err(_) => break,
                }
            };
            let mut bytes = first.bytes;
            let mut jobs = vec![first];
            while bytes < BATCH_BYTES
                && let Ok(job) = queue.try_recv()
            {
                bytes += job.bytes;
                jobs.push(job);
            }
            self.write(jobs);
            // Checked here too: a queue that is never empty must not keep the floor down.
            if self.end > self.floor.mark().end && self.raised.elapsed() >= RAISE_EVERY {
                self.raise_floor();
            }
        }
        if self.end > self.floor.mark().end {
            self.raise_floor();
        }
    }

    fn write(&mut self, jobs: Vec<Job>) {
        let mut batch = WriteBatch::default();
        let mut sync = false;
        let mut truncated = None;
        let (mut end, mut votes) = (self.end, self.votes);
        for job in &jobs {
            sync |= job.done.is_some() || !matches!(job.work, Work::Meta(Meta::Committed | Meta::Purged, _));
            match &job.work {
                Work::Append(entries) => {
                    for (index, bytes) in entries {
                        let value = log_record::encode(&index.to_be_bytes(), bytes);
                        batch.put(entry_key(*index), value);
                        end = index + 1;
                    }
                }
                Work::Truncate { from, end: left } => {
                    batch.delete_range(&entry_key(*from)[..], &log_record::END[..]);
                    end = *left;
                    truncated = Some(truncated.unwrap_or(u64::MAX).min(*left));
                }
                Work::Purge(index, marker) => {
                    let bounds = (entry_key(0), entry_key(index + 1));
                    batch.delete_range(&bounds.0[..], &bounds.1[..]);
                    put(&mut batch, &log_record::PURGED, &index.to_be_bytes());
                    put(&mut batch, &meta_key(Meta::Purged), marker);
                    end = end.max(index + 1);
                }
                Work::Meta(key, value) => {
                    put(&mut batch, &meta_key(*key), value);
                    if *key == Meta::Vote {
                        votes += 1;
                        put(&mut batch, &log_record::VOTES, &votes.to_be_bytes());
                    }
                }
                Work::Sync => {}
            }
        }
        if let Some(left) = truncated {
            // Before the entries go: after a crash in between, the log has more than the floor says, which is no loss.
            let mark = self.floor.mark();
            self.floor.set(Mark {
                end: mark.end.min(left),
                truncations: mark.truncations + 1,
                ..mark
            });
            self.shared.count_fsync();
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        if let Err(error) = self.shared.db.write_opt(batch, &options) {
            fatal("cannot write the log", error);
        }
        if sync {
            self.shared.count_fsync();
        }
        self.end = end;
        if votes != self.votes {
            self.votes = votes;
            // Before the callbacks: whoever hears of a vote must find this node bound to it for ever.
            self.floor.set(Mark {
                votes,
                ..self.floor.mark()
            });
            self.shared.count_fsync();
        }
        self.finish(jobs);
    }

    fn finish(&self, jobs: Vec<Job>) {
        {
            let mut state = self.shared.lock();
            for job in &jobs {
                state.queued_bytes -= job.bytes;
                if let Work::Append(entries) = &job.work {
                    state.window.written(job.number, indexes(entries));
                }
            }
        }
        for job in jobs {
            if let Some(done) = job.done {
                done(Ok(()));
            }
        }
    }

    fn raise_floor(&mut self) {
        self.floor.set(Mark {
            end: self.end,
            ..self.floor.mark()
        });
        self.shared.count_fsync();
        self.raised = Instant::now();
    }
}

fn put(batch: &mut WriteBatch, key: &[u8], bytes: &[u8]) {
    batch.put(key, log_record::encode(key, bytes));
}

fn indexes(entries: &[(u64, Bytes)]) -> Range<u64> {
    match (entries.first(), entries.last()) {
        (Some((first, _)), Some((last, _))) => *first..last + 1,
        _ => 0..0,
    }
}

/// Without its writer the log would accept entries for ever and confirm none.
struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            fatal("the log's writer", "it panicked");
        }
    }
}

/// How much one synced batch may take: more would make the first of its callbacks wait too long.
const BATCH_BYTES: usize = 8 << 20;
/// How far the floor may lag behind. One more `fsync` a second is not felt.
const RAISE_EVERY: Duration = Duration::from_secs(1);
