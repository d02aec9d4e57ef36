//! The one thread that writes the log: it takes what has queued up, writes it as one frame, syncs, and calls back in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frame::{Builder, Record, frame_len};
use super::preparer::Preparer;
use super::scan::Scan;
use super::segment::{FRAMES_START, Order, Segment};
use super::state::State;
use super::{Memory, Renewed, Shared, Sizes};
use crate::fatal;
use crate::floor::{Floor, Mark};
use crate::log::{Done, Meta};

/// One call, in the order of the calls.
pub(super) struct Job {
    /// Goes up by one with each job.
    pub(super) number: u64,
    /// How much of the queue's bound it takes.
    pub(super) bytes: usize,
    pub(super) work: Work,
    /// Called when the job, and all jobs before it, are durable.
    pub(super) done: Option<Done>,
}

impl Job {
    /// Its number, if what comes after it goes to a new file.
    fn renewal(&self) -> Option<u64> {
        matches!(self.work, Work::Renew).then_some(self.number)
    }
}

/// What a job writes.
pub(super) enum Work {
    Append(Vec<(u64, Bytes)>),
    Truncate(u64),
    Purge(u64, Bytes),
    Meta(Meta, Bytes),
    /// Nothing: the callback is what counts.
    Sync,
    /// Nothing either, but what comes later is written to a new file.
    Renew,
}

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    floor: Floor,
    preparer: Arc<Preparer>,
    sizes: Sizes,
    segment: Arc<Segment>,
    /// Where in the segment the next frame goes.
    offset: u64,
    /// The number of the next batch.
    batch: u64,
    /// The number of the segment that was ordered last.
    ordered: u64,
    /// What is durable.
    state: State,
    /// For each segment, one past the highest index that was ever written to it.
    ends: BTreeMap<u64, u64>,
    frame: Builder,
    raised: Instant,
}

impl Writer {
    /// A writer that goes on where the scan ended, in `segment`.
    pub(super) fn new(
        shared: Arc<Shared>,
        floor: Floor,
        preparer: Arc<Preparer>,
        sizes: Sizes,
        scan: Scan,
        segment: Arc<Segment>,
    ) -> Self {
        Self {
            shared,
            floor,
            preparer,
            sizes,
            segment,
            offset: scan.offset,
            batch: scan.batch,
            ordered: 0,
            state: scan.state,
            ends: scan.ends,
            frame: Builder::default(),
            raised: Instant::now(),
        }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        let _end = EndOnPanic;
        self.prepare();
        loop {
            let first = if self.is_floor_behind() {
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
            let mut renewal = first.renewal();
            let mut jobs = vec![first];
            while bytes < BATCH_BYTES
                && renewal.is_none()
                && let Ok(job) = queue.try_recv()
            {
                bytes += job.bytes;
                renewal = job.renewal();
                jobs.push(job);
            }
            self.write(jobs);
            if let Some(job) = renewal {
                self.renew(job);
            }
            // Checked here too: a queue that is never empty must not keep the floor down.
            if self.is_floor_behind() && self.raised.elapsed() >= RAISE_EVERY {
                self.raise_floor();
            }
        }
        // The queue is closed, and all of it is written but the hint.
        self.write(Vec::new());
        if self.is_floor_behind() {
            self.raise_floor();
        }
    }

    /// The hint, if all that was queued before it is written before `end`: it must never tell of an entry that is not in the log.
    ///
    /// The next frame that is written takes it along: for itself, it is not worth a sync. A frame that is not synced would not do: one after it could
    /// reach the disk first, and that is how damage looks.
    fn take_committed(&self, end: u64) -> Option<Bytes> {
        let committed = self.shared.lock().committed.take_if(|(job, _)| *job <= end);
        committed.map(|(_, committed)| committed)
    }

    fn write(&mut self, jobs: Vec<Job>) {
        let committed = self.take_committed(jobs.last().map_or(u64::MAX, |job| job.number + 1));
        let mut records = Vec::new();
        for job in &jobs {
            match &job.work {
                Work::Append(entries) => {
                    records.extend(entries.iter().map(|(index, bytes)| Record::Entry(*index, bytes)))
                }
                Work::Truncate(from) => records.push(Record::Truncate(*from)),
                Work::Purge(index, marker) => records.push(Record::Purge(*index, marker)),
                Work::Meta(key, value) => records.push(Record::Meta(*key, value)),
                Work::Sync | Work::Renew => {}
            }
        }
        // What waits is newer than what the jobs say of it: a job that says it drops what waits.
        records.extend(committed.iter().map(|value| Record::Meta(Meta::Committed, value)));
        // A sync alone: all before it is durable since its own frame was.
        if records.is_empty() {
            self.finish(jobs, &[]);
            return;
        }
        let mut state = self.state.clone();
        let lowest = apply(&mut state, &records);
        if let Some(left) = lowest {
            // Before the entries go: after a crash in between, the log has more than the floor says, which is no loss.
            let mark = self.floor.mark();
            self.set_floor(Mark {
                end: mark.end.min(left),
                truncations: mark.truncations + 1,
                ..mark
            });
        }
        let places = self.write_frame(&records);
        let has_voted = state.votes != self.state.votes;
        self.state = state;
        if has_voted {
            // Before the callbacks: whoever hears of a vote must find this node bound to it for ever.
            self.set_floor(Mark {
                votes: self.state.votes,
                ..self.floor.mark()
            });
        }
        self.prepare();
        self.finish(jobs, &places);
    }

    /// Writes the records as one frame, durably, and returns where its entries are, in their order.
    fn write_frame(&mut self, records: &[Record<'_>]) -> Vec<u32> {
        let content: usize = records.iter().map(Record::len).sum();
        if self.offset == FRAMES_START || self.offset + frame_len(content) as u64 > self.segment.bytes {
            self.begin_segment(content);
        }
        self.frame.begin(self.segment.salt);
        if self.offset == FRAMES_START {
            self.frame.add(Record::State(&self.state));
        }
        let mut places = Vec::with_capacity(records.len());
        let end = self.ends.entry(self.segment.number).or_default();
        for record in records {
            let at = self.offset + self.frame.add(*record) as u64;
            if let Record::Entry(index, _) = record {
                places.push(u32::try_from(at).expect("a segment is far smaller than 4 GiB"));
                *end = (*end).max(index + 1);
            }
        }
        let frame = self.frame.end(self.batch);
        if let Err(error) = self.segment.write(frame, self.offset) {
            fatal(&format!("cannot write {}", self.segment.path().display()), error);
        }
        self.shared.count_fsync();
        self.offset += frame.len() as u64;
        self.batch += 1;
        places
    }

    /// Goes on in a segment that has room for a first frame with records of so many bytes. It begins with the state, so that no segment before it
    /// is needed for that.
    fn begin_segment(&mut self, records: usize) {
        let first_frame = frame_len(Record::State(&self.state).len() + records) as u64;
        if self.offset == FRAMES_START && self.offset + first_frame <= self.segment.bytes {
            return;
        }
        let order = self.next_order(FRAMES_START + first_frame);
        self.go_on_in(order);
    }

    /// Goes on in a segment whose file is new. It is a small one, so that nobody waits long for it.
    fn renew(&mut self, job: u64) {
        // Only the last segment of a log may hold nothing.
        if self.offset == FRAMES_START {
            self.write_frame(&[]);
        }
        self.preparer.renew(self.segment.number + 1);
        let order = Order {
            bytes: self.sizes.first,
            is_new: true,
            ..self.next_order(FRAMES_START + frame_len(Record::State(&self.state).len()) as u64)
        };
        self.go_on_in(order);
        // The state stands in it before the segments go that have it.
        self.write_frame(&[]);
        let freed = {
            let mut shared = self.shared.lock();
            if shared.renewed == Some(Renewed::Queued(job)) {
                shared.renewed = Some(Renewed::From(self.segment.number));
            }
            free(&mut self.ends, &self.state, self.segment.number, &mut shared)
        };
        freed.into_iter().for_each(|segment| self.preparer.free(segment));
    }

    fn go_on_in(&mut self, order: Order) {
        // It is freed like any other, even if it holds nothing.
        self.ends.entry(self.segment.number).or_default();
        let segment = Arc::new(self.preparer.take(order));
        self.shared.lock().segments.insert(segment.number, Arc::clone(&segment));
        self.segment = segment;
        self.offset = FRAMES_START;
    }

    /// Has the next segment made ready while this one has room.
    fn prepare(&mut self) {
        if self.ordered != self.segment.number + 1 && self.offset >= self.segment.bytes / 2 {
            let order = self.next_order(0);
            self.ordered = order.number;
            self.preparer.order(order);
        }
    }

    fn next_order(&self, least: u64) -> Order {
        let bytes = (self.segment.bytes * 2).min(self.sizes.segment).max(least);
        Order {
            number: self.segment.number + 1,
            previous: self.segment.salt,
            bytes,
            least,
            is_new: false,
        }
    }

    /// Notes what is written, and calls back.
    fn finish(&mut self, jobs: Vec<Job>, places: &[u32]) {
        let freed = {
            let mut guard = self.shared.lock();
            let shared = &mut *guard;
            let mut places = places.iter();
            for job in &jobs {
                shared.queued_bytes -= job.bytes;
                if let Work::Append(entries) = &job.work {
                    for ((index, _), offset) in entries.iter().zip(&mut places) {
                        shared.window.stored(job.number, *index, self.segment.number, *offset);
                    }
                }
            }
            shared.window.evict();
            free(&mut self.ends, &self.state, self.segment.number, shared)
        };
        for segment in freed {
            self.preparer.free(segment);
        }
        for job in jobs {
            if let Some(done) = job.done {
                done(Ok(()));
            }
        }
    }

    fn is_floor_behind(&self) -> bool {
        self.state.end() > self.floor.mark().end
    }

    fn raise_floor(&mut self) {
        self.set_floor(Mark {
            end: self.state.end(),
            ..self.floor.mark()
        });
        self.raised = Instant::now();
    }

    fn set_floor(&mut self, mark: Mark) {
        self.floor.set(mark);
        self.shared.count_fsync();
    }
}

/// Takes out the segments before `current` that hold nothing any more.
fn free(ends: &mut BTreeMap<u64, u64>, state: &State, current: u64, memory: &mut Memory) -> Vec<Arc<Segment>> {
    // By what is durable: the window has forgotten already what a queued call purges.
    let purged_end = state.purged_end.unwrap_or(0);
    let mut freed = Vec::new();
    while let Some(oldest) = ends.first_entry()
        && *oldest.key() < current
        && *oldest.get() <= purged_end
    {
        freed.extend(memory.segments.remove(oldest.key()));
        oldest.remove();
    }
    freed
}

/// Does to the state what the records say. Returns the lowest end that a truncation left, if there was one.
fn apply(state: &mut State, records: &[Record<'_>]) -> Option<u64> {
    let mut lowest: Option<u64> = None;
    for record in records {
        match record {
            Record::State(_) => {}
            Record::Entry(index, _) => state.append(*index),
            Record::Truncate(from) => {
                state.truncate(*from);
                let end = state.end();
                lowest = Some(lowest.map_or(end, |lowest| lowest.min(end)));
            }
            Record::Purge(index, marker) => state.purge(*index, Bytes::clone(marker)),
            Record::Meta(key, value) => state.put(*key, Bytes::clone(value)),
        }
    }
    lowest
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
