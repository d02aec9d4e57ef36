//! The audit bodies, one for each applied log entry, in append-only files.
//!
//! Guarantees:
//! * After [`AuditSegments::sync`] everything appended before is durable.
//! * When they are opened, the bodies end exactly at the applied index: what is beyond is cut, because it will be applied again. A body at or below
//!   that index which is missing or damaged is an error, never cut.
//! * The bodies begin at or before the floor that the rows name, and with the log if they name none.
//!
//! It does not know what is in a body, and it does not check the hash tree: the state machine's frontier does that.
//!
//! The files live in `<dir>/<n>` like the rows, and are named by the first sequence number in them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::segment::{self, Record, Records, Segment};
use crate::{StorageError, fatal, files, generations, with_causes};

/// The audit bodies of a node.
pub struct AuditSegments {
    dir: PathBuf,
    state: Mutex<State>,
    rotate_bytes: u64,
}

#[derive(Default)]
struct State {
    segments: Vec<Segment>,
    /// The index and first sequence number of the last body.
    last: Option<(u64, u64)>,
    /// Written to, and not synced since.
    unsynced: Vec<Segment>,
    /// The end of the last segment, which is not in its file yet: a write for each log entry would cost more than the bodies.
    buffer: Vec<u8>,
}

impl AuditSegments {
    /// Opens the bodies in `dir`, and cuts those after the log index `applied`: all of them if nothing was applied (`None`).
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if a body up to `applied` is missing or damaged, [`StorageError::Io`] if the disk fails.
    pub fn open(dir: &Path, applied: impl Into<Option<u64>>) -> Result<Self, StorageError> {
        Self::open_above(dir, applied, 0)
    }

    /// As [`Self::open`], where the records before a floor may have been pruned.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if a body up to `applied` that has records from the floor on is missing or damaged, [`StorageError::Io`] if the disk
    /// fails.
    pub fn open_above(dir: &Path, applied: impl Into<Option<u64>>, floor: u64) -> Result<Self, StorageError> {
        let dir = generations::open(dir)?;
        let segments = Self {
            state: Mutex::new(load(&dir, applied.into(), floor)?),
            dir,
            rotate_bytes: ROTATE_BYTES,
        };
        segments.sync();
        Ok(segments)
    }

    /// Opens nothing of what is there, and changes nothing: for who is about to replace all of it.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the disk fails.
    pub fn open_none(dir: &Path) -> Result<Self, StorageError> {
        Ok(Self {
            dir: generations::open(dir)?,
            state: Mutex::default(),
            rotate_bytes: ROTATE_BYTES,
        })
    }

    /// Appends bodies, each with its log index and the sequence number of its first record. They are read at once, and durable after the next
    /// [`Self::sync`]. The log indexes go on without a hole; only the last body may come
    /// once more.
    ///
    /// A hole, or an error of the disk, ends the process.
    pub fn append(&self, bodies: &[(u64, u64, Vec<u8>)]) {
        self.append_each(bodies.iter().map(|(index, seq, bytes)| (*index, *seq, bytes)));
    }

    fn append_each<B: AsRef<[u8]>>(&self, bodies: impl IntoIterator<Item = (u64, u64, B)>) {
        let mut state = self.lock();
        for (index, first_seq, bytes) in bodies {
            if state.last == Some((index, first_seq)) {
                // Applied again after a crash. Applying is deterministic, so it is the body that is there.
                continue;
            }
            if let Err(what) = follows(state.last, index, first_seq) {
                fatal("cannot append an audit body", what);
            }
            let full = state.segments.last().is_none_or(|segment| {
                // A segment's name must be its own.
                segment.len >= self.rotate_bytes && segment.first_seq < first_seq
            });
            if full {
                write(&mut state);
            }
            if full {
                let segment = Segment::create(&self.dir, first_seq);
                state
                    .segments
                    .push(segment.unwrap_or_else(|error| fatal("cannot begin an audit segment", with_causes(&error))));
            }
            let size = segment::encode(&mut state.buffer, index, first_seq, bytes.as_ref());
            if let Some(segment) = state.segments.last_mut() {
                segment.note(first_seq, size);
            }
            state.last = Some((index, first_seq));
            if state.buffer.len() >= BUFFER_BYTES {
                write(&mut state);
            }
        }
    }

    /// Makes everything appended so far durable. Blocks, and does not hold up [`Self::append`]. An error ends the process.
    pub fn sync(&self) {
        let unsynced = std::mem::take(&mut self.lock_written().unsynced);
        if unsynced.is_empty() {
            return;
        }
        let synced = unsynced
            .iter()
            .try_for_each(|segment| {
                let synced = segment.file.sync_data();
                synced.map_err(StorageError::io("sync", &segment.path))
            })
            .and_then(|()| files::sync_dir(&self.dir));
        if let Err(error) = synced {
            fatal("cannot sync audit bodies", with_causes(&error));
        }
    }

    /// At most `limit` bodies, from the one that contains the record `from_seq` on. Empty if there are no bodies.
    ///
    /// A damaged body ends the process.
    #[must_use]
    pub fn read(&self, from_seq: u64, limit: usize) -> Vec<Vec<u8>> {
        let mut bodies: Vec<Vec<u8>> = Vec::new();
        for segment in self.segments_from(from_seq) {
            let offset = segment.offset(|place| place.first_seq <= from_seq);
            let end = each_of(&segment, offset, |record| {
                if record.first_seq <= from_seq {
                    // A later body contains it, or this one does.
                    bodies.clear();
                } else if bodies.len() >= limit {
                    return false;
                }
                bodies.push(record.bytes);
                true
            });
            if end {
                break;
            }
        }
        bodies.truncate(limit);
        bodies
    }

    /// The log index that the next body must have; none if any will do, because there are no bodies.
    #[must_use]
    pub fn next_index(&self) -> Option<u64> {
        self.lock().last.map(|(index, _)| index + 1)
    }

    /// Calls `each` with log index, first sequence number and body of all bodies up to and with a log index, in order: from the one that contains the
    /// record `floor` on.
    ///
    /// A damaged body ends the process.
    pub fn export(&self, floor: u64, up_to_index: u64, mut each: impl FnMut(u64, u64, &[u8])) {
        // The last of those that begin at or before the floor contains it. Without a floor nothing is left out.
        let mut before: Option<Record> = None;
        for segment in self.segments_from(floor) {
            let offset = segment.offset(|place| place.first_seq <= floor);
            let end = each_of(&segment, if floor == 0 { 0 } else { offset }, |record| {
                if record.index > up_to_index {
                    return false;
                }
                if floor > 0 && record.first_seq <= floor {
                    before = Some(record);
                    return true;
                }
                if let Some(first) = before.take() {
                    each(first.index, first.first_seq, &first.bytes);
                }
                each(record.index, record.first_seq, &record.bytes);
                true
            });
            if end {
                break;
            }
        }
        if let Some(first) = before {
            each(first.index, first.first_seq, &first.bytes);
        }
    }

    /// Whether there are whole files of which all records are before this one.
    #[must_use]
    pub fn has_before(&self, seq: u64) -> bool {
        self.lock()
            .segments
            .get(1)
            .is_some_and(|second| second.first_seq <= seq)
    }

    /// Removes whole files of which all records are before this one. The caller has made durable why: without that the next start takes them for lost.
    /// Who reads one of them goes on.
    ///
    /// From the first on, so that a crash leaves no hole; a file that cannot be removed stays, with all after it.
    pub fn prune(&self, seq: u64) {
        let mut state = self.lock_written();
        let kept = state.segments.partition_point(|segment| segment.first_seq <= seq);
        let mut removed = 0;
        for segment in &state.segments[..kept.saturating_sub(1)] {
            if let Err(error) = remove(segment) {
                tracing::warn!(error = with_causes(&error), "pruned audit records could not be removed");
                break;
            }
            removed += 1;
        }
        if removed == 0 {
            return;
        }
        let _ = state.segments.drain(..removed);
        drop(state);
        if let Err(error) = files::sync_dir(&self.dir) {
            tracing::warn!(
                error = with_causes(&error),
                "pruned audit records may come back after a power failure"
            );
        }
    }

    /// Builds files with exactly these bodies (log index, first sequence number, body) and makes them the current ones, durably and all at once.
    ///
    /// The caller opens them with [`Self::open`] afterwards. It installs the bodies before the rows: if the process dies in between, they reach
    /// beyond the rows, and are cut. Until it is dropped, an old [`AuditSegments`] goes on with the old files.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails. Bodies that leave a hole end the process.
    pub fn replace_all(dir: &Path, bodies: impl IntoIterator<Item = (u64, u64, Vec<u8>)>) -> Result<(), StorageError> {
        let path = generations::create_next(dir)?;
        let segments = Self {
            dir: path.clone(),
            state: Mutex::default(),
            rotate_bytes: ROTATE_BYTES,
        };
        segments.append_each(bodies);
        segments.sync();
        generations::switch(dir, &path)
    }

    /// The segments from the one with a record on, as they are when the iterator comes to them. Found by their names, because those before may be pruned
    /// meanwhile.
    fn segments_from(&self, from_seq: u64) -> impl Iterator<Item = Segment> {
        let mut last = None;
        std::iter::from_fn(move || {
            let state = self.lock_written();
            let behind = |seq| state.segments.partition_point(|segment| segment.first_seq <= seq);
            let at = match last {
                None => behind(from_seq).saturating_sub(1),
                Some(last) => behind(last),
            };
            let segment = state.segments.get(at).cloned()?;
            last = Some(segment.first_seq);
            Some(segment)
        })
    }

    /// The state, when all of it is in the files.
    fn lock_written(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        write(&mut state);
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AuditSegments {
    /// Leaves nothing unwritten; it is durable only after a sync.
    fn drop(&mut self) {
        write(&mut self.lock());
    }
}

/// Writes the buffer to the end of the last segment, which has counted it already.
fn write(state: &mut State) {
    let State {
        segments,
        unsynced,
        buffer,
        ..
    } = state;
    let Some(segment) = segments.last().filter(|_| !buffer.is_empty()) else {
        return;
    };
    let offset = segment.len - buffer.len() as u64;
    if let Err(error) = segment.file.write_all_at(buffer, offset) {
        fatal("cannot write audit bodies", error);
    }
    buffer.clear();
    buffer.shrink_to(BUFFER_BYTES * 2);
    if unsynced.last().map(|last| &last.path) != Some(&segment.path) {
        unsynced.push(segment.clone());
    }
}

/// Whether a body may come after the last one.
pub(crate) fn follows(last: Option<(u64, u64)>, index: u64, first_seq: u64) -> Result<(), String> {
    match last {
        Some((last, _)) if index.checked_sub(1) != Some(last) => {
            Err(format!("the body of log entry {index} follows that of {last}"))
        }
        Some((_, last)) if first_seq < last => Err(format!("audit record {first_seq} follows {last}")),
        _ => Ok(()),
    }
}

/// Calls `each` with the records from `offset` on until it says no; true if it did.
fn each_of(segment: &Segment, offset: u64, mut each: impl FnMut(Record) -> bool) -> bool {
    let mut records = Records::new(Arc::clone(&segment.file), offset, segment.len);
    while records.offset() < segment.len {
        match records.next() {
            Ok(Some(record)) => {
                if !each(record) {
                    return true;
                }
            }
            Ok(None) => {
                let context = format!("{} is damaged", segment.path.display());
                fatal(&context, format!("no whole body at byte {}", records.offset()));
            }
            Err(error) => fatal("cannot read audit bodies", error),
        }
    }
    false
}

fn load(dir: &Path, applied: Option<u64>, floor: u64) -> Result<State, StorageError> {
    let mut state = State::default();
    let mut paths = Vec::new();
    for name in files::names(dir)? {
        if let Some(segment) = Segment::open(dir.join(name))? {
            paths.push(segment);
        }
    }
    // Nothing else would notice: a later segment is as good a beginning as the first.
    if let Some(first) = paths.first().filter(|first| first.first_seq > floor) {
        let what = format!(
            "it begins with audit record {}, and those before are missing",
            first.first_seq
        );
        return Err(StorageError::damaged(&first.path, what));
    }
    let mut cut = false;
    for mut segment in paths {
        if cut {
            remove(&segment)?;
            continue;
        }
        let size = segment
            .file
            .metadata()
            .map_err(StorageError::io("read the size of", &segment.path))?
            .len();
        let problem = scan(&mut segment, size, &mut state.last, applied)?;
        // At the end of what was applied, the rest will be applied again, whatever it is.
        cut = segment.len < size || segment.len == 0;
        let complete = applied.is_none_or(|applied| state.last.is_some_and(|(last, _)| last >= applied));
        if cut && !complete {
            return Err(StorageError::damaged(&segment.path, problem));
        }
        if segment.len == 0 {
            remove(&segment)?;
            continue;
        }
        if cut {
            let cut = segment.file.set_len(segment.len);
            cut.map_err(StorageError::io("cut", &segment.path))?;
            state.unsynced.push(segment.clone());
        }
        state.segments.push(segment);
    }
    match (applied, state.last) {
        (Some(applied), Some((last, _))) if last < applied => Err(StorageError::damaged(
            dir,
            format!("the audit ends at log entry {last}, but {applied} was applied"),
        )),
        // Index 0 also stands for "nothing yet" with some callers.
        (Some(applied), None) if applied > 0 => Err(StorageError::damaged(
            dir,
            format!("there is no audit, but log entry {applied} was applied"),
        )),
        _ => Ok(state),
    }
}

/// Notes the records of a segment up to the applied index. Returns why it stopped, if before the end.
fn scan(
    segment: &mut Segment,
    size: u64,
    last: &mut Option<(u64, u64)>,
    applied: Option<u64>,
) -> Result<String, StorageError> {
    let mut records = Records::new(Arc::clone(&segment.file), 0, size);
    loop {
        let start = records.offset();
        let record = records.next().map_err(StorageError::io("read", &segment.path))?;
        let Some(record) = record else {
            return Ok(format!("no whole body at byte {start}"));
        };
        if applied.is_none_or(|applied| record.index > applied) {
            return Ok(format!("log entry {} is beyond the applied one", record.index));
        }
        if let Err(what) = follows(*last, record.index, record.first_seq) {
            return Ok(what);
        }
        segment.note(record.first_seq, records.offset() - start);
        *last = Some((record.index, record.first_seq));
    }
}

fn remove(segment: &Segment) -> Result<(), StorageError> {
    fs::remove_file(&segment.path).map_err(StorageError::io("remove", &segment.path))
}

/// Small enough to be copied and removed at ease.
const ROTATE_BYTES: u64 = 64 << 20;
/// What is gathered before it is written: some twenty full entries.
const BUFFER_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests;
