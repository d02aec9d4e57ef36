//! A thread that has the next segment ready before it is needed, and takes the files of old ones for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::segment::{FRAMES_START, Order, SPARE, Segment};
use crate::{StorageError, fatal, files, free_bytes, with_causes};

/// The thread, and what is ordered of it.
#[derive(Debug)]
pub(super) struct Preparer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    fsyncs: Arc<AtomicU64>,
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Desk {
    ordered: Option<Order>,
    ready: Option<Segment>,
    /// Why the last try failed. It is tried again, until the segment is needed.
    failed: Option<StorageError>,
    freed: Vec<Arc<Segment>>,
    spares: Vec<PathBuf>,
    /// The files of segments before this one are removed, and not used again.
    keeps_from: u64,
    is_busy: bool,
    is_closed: bool,
}

impl Preparer {
    /// Starts the thread. `ready` is the segment that was prepared before, if there was one.
    pub(super) fn start(
        dir: &Path,
        ready: Option<Segment>,
        spares: Vec<PathBuf>,
        fsyncs: Arc<AtomicU64>,
    ) -> Result<Self, StorageError> {
        let desk = Desk {
            ready,
            spares,
            ..Desk::default()
        };
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            fsyncs,
            desk: Mutex::new(desk),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log-preparer".to_owned())
            .spawn(move || of_thread.run())
            .map_err(StorageError::io("start the preparer of", dir))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Orders a segment, unless one is ready or ordered. Does not wait.
    pub(super) fn order(&self, order: Order) {
        let mut desk = self.shared.lock();
        if desk.ready.is_none() && desk.ordered.is_none() {
            desk.ordered = Some(order);
            self.shared.changed.notify_all();
        }
    }

    /// The segment that was ordered, once it is ready. One that is too small is made anew. Ends the process if it cannot be had.
    pub(super) fn take(&self, order: Order) -> Segment {
        let mut desk = self.shared.lock();
        // What failed before may have room now, and this is the last moment.
        desk.failed = None;
        loop {
            if let Some(segment) = desk.ready.take() {
                if segment.number == order.number && segment.bytes >= order.least {
                    desk.ordered = None;
                    return segment;
                }
                desk.ordered = None;
            }
            if let Some(error) = desk.failed.take() {
                fatal("cannot make the next segment of the log", with_causes(&error));
            }
            if !desk.is_busy || desk.ordered.is_none() {
                desk.ordered = Some(order);
                self.shared.changed.notify_all();
            }
            desk = self.shared.wait(desk);
        }
    }

    /// Takes the file of a segment whose entries are all purged, durably. The oldest comes first.
    pub(super) fn free(&self, segment: Arc<Segment>) {
        self.shared.lock().freed.push(segment);
        self.shared.changed.notify_all();
    }

    /// From now on nothing that segments before `number` hold stays in a file once they are freed, nor in one that is made: their files, and what was
    /// kept or made of earlier ones, are removed.
    pub(super) fn renew(&self, number: u64) {
        let mut desk = self.shared.lock();
        desk.keeps_from = number;
        desk.ordered = None;
        // Its file goes when the one that takes its name is there.
        desk.ready = None;
        self.shared.changed.notify_all();
    }

    /// Whether what was freed is gone, and what was kept of it before [`Self::renew`].
    pub(super) fn is_renewed(&self) -> bool {
        let desk = self.shared.lock();
        !desk.is_busy && desk.freed.is_empty() && desk.spares.iter().all(|spare| !desk.is_old(spare))
    }

    /// Waits until there is nothing left to do.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        let mut desk = self.shared.lock();
        while desk.is_busy || !desk.freed.is_empty() || desk.ordered.is_some() {
            desk = self.shared.wait(desk);
        }
    }
}

impl Desk {
    /// Whether a file under the name of a spare is from before what is kept. One whose name tells nothing is.
    fn is_old(&self, spare: &Path) -> bool {
        let stem = spare.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| u64::from_str_radix(stem, 16).ok());
        number.is_none_or(|number| number < self.keeps_from)
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            fatal("cannot close the log", "its preparer panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut desk = self.lock();
        loop {
            desk.is_busy = true;
            if !desk.freed.is_empty() {
                let freed = std::mem::take(&mut desk.freed);
                drop(desk);
                let spares: Vec<PathBuf> = freed.into_iter().filter_map(|segment| self.recycle(segment)).collect();
                desk = self.lock();
                desk.spares.extend(spares);
                continue;
            }
            let old = desk.spares.iter().position(|spare| desk.is_old(spare));
            if let Some(at) = old.or_else(|| (desk.spares.len() > SPARES).then_some(0)) {
                let spare = desk.spares.remove(at);
                drop(desk);
                self.remove(&spare);
                desk = self.lock();
                continue;
            }
            if desk.is_closed {
                desk.is_busy = false;
                return;
            }
            if let Some(order) = desk.ordered.filter(|_| desk.failed.is_none()) {
                let spare = if order.is_new { None } else { desk.spares.pop() };
                drop(desk);
                let made = self.make(order, spare);
                desk = self.lock();
                match made {
                    // Another one may be ordered by now, which is larger.
                    Ok(segment) if desk.ordered == Some(order) => {
                        desk.ready = Some(segment);
                        desk.ordered = None;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(
                            "the next segment of the log is not ready: {}; the node goes on while the present one has room",
                            with_causes(&error)
                        );
                        desk.failed = Some(error);
                    }
                }
                self.changed.notify_all();
                continue;
            }
            desk.is_busy = false;
            self.changed.notify_all();
            let has_failed = desk.failed.is_some();
            let (locked, waited) = self
                .changed
                .wait_timeout(desk, RETRY)
                .unwrap_or_else(PoisonError::into_inner);
            desk = locked;
            if has_failed && (waited.timed_out() || !desk.freed.is_empty()) {
                desk.failed = None;
            }
        }
    }

    fn make(&self, order: Order, spare: Option<PathBuf>) -> Result<Segment, StorageError> {
        let order = Order {
            bytes: size(order, free_bytes(&self.dir).unwrap_or(u64::MAX)),
            ..order
        };
        let is_enough = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|metadata| metadata.len() >= order.bytes);
        let spare = match spare {
            Some(spare) if is_enough(&spare) => Some(spare),
            // From when segments were smaller.
            Some(spare) => {
                self.remove(&spare);
                None
            }
            None => None,
        };
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        Segment::make(&self.dir, order, spare)
    }

    /// The file under the name of a spare; none if it is still read, or cannot be had.
    fn recycle(&self, segment: Arc<Segment>) -> Option<PathBuf> {
        let path = segment.path().to_owned();
        let spare = path.with_extension(&SPARE[1..]);
        // A reader has the file open, and must go on finding in it what it looks for.
        if Arc::into_inner(segment).is_none() {
            self.remove(&path);
            return None;
        }
        // The name is durable before the file is written: under its old name the new content would be damage.
        match files::rename(&path, &spare) {
            Ok(()) => Some(spare),
            Err(error) => fatal("cannot free a segment of the log", with_causes(&error)),
        }
    }

    fn remove(&self, path: &Path) {
        if let Err(error) = files::remove(path) {
            fatal("cannot remove a segment of the log", with_causes(&error));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, desk: MutexGuard<'a, Desk>) -> MutexGuard<'a, Desk> {
        self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The size of a segment, with so much room on the disk: the last room is for what must be written, not for what may be.
fn size(order: Order, free: u64) -> u64 {
    let room = (free / ROOM_PART).max(SMALLEST_BYTES);
    order.bytes.min(room).max(order.least).next_multiple_of(FRAMES_START)
}

/// A purge frees several at once, and the log grows back. More would only hold disk space.
const SPARES: usize = 2;
/// The next segment takes no more than this part of the free room, if it need not.
const ROOM_PART: u64 = 16;
/// Some seconds of a busy log.
const SMALLEST_BYTES: u64 = 1 << 20;
/// How soon a segment that could not be made is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order = Order {
        number: 1,
        previous: 0,
        bytes: 64 << 20,
        least: 0,
        is_new: false,
    };

    #[test]
    fn a_segment_takes_a_part_of_the_room_and_what_it_must() {
        let check = |least, free, expected: u64| {
            let bytes = size(Order { least, ..ORDER }, free);
            assert_eq!(bytes, expected, "least {least}, free {free}");
        };
        check(0, u64::MAX, 64 << 20);
        check(0, 1 << 30, 64 << 20);
        check(0, 512 << 20, 32 << 20);
        check(0, (512 << 20) - 1, 32 << 20);
        check(0, 1 << 20, 1 << 20);
        check(0, 0, 1 << 20);
        check(5 << 20, 0, 5 << 20);
        check((5 << 20) + 1, 0, (5 << 20) + FRAMES_START);
        check(100 << 20, u64::MAX, 100 << 20);
    }

    #[test]
    fn one_that_is_too_small_is_made_anew_and_one_that_is_large_enough_is_not() {
        for (least, is_anew) in [(1 << 20, false), ((1 << 20) + 1, true)] {
            let dir = tempfile::tempdir().unwrap();
            let ahead = Order {
                bytes: 1 << 20,
                ..ORDER
            };
            let ready = Segment::make(dir.path(), ahead, None).unwrap();
            let salt = ready.salt;
            let preparer = Preparer::start(dir.path(), Some(ready), Vec::new(), Arc::default()).unwrap();
            let order = Order {
                bytes: 2 << 20,
                least,
                ..ORDER
            };
            let taken = preparer.take(order);
            assert_eq!(taken.salt != salt, is_anew, "{least}");
            assert_eq!(taken.bytes, if is_anew { 2 << 20 } else { 1 << 20 });
        }
    }
}
