//! Reads all segments of a log that nobody writes to, and changes nothing.
//!
//! Batches are written one at a time, each synced before the next. So a crash can tear the last batch only, which nobody was told of: it is left out.
//! A batch that is not whole with a later one after it was whole once, and the log is damaged. So is one whose segments do not follow each other, or
//! whose entries do not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, Read, SECTOR_BYTES, whole_sectors};
use super::segment::{self, Access, FRAMES_START, SPARE, Segment};
use super::state::State;
use super::window::{Place, Window};
use crate::{StorageError, files};

/// What the segments hold.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The segments, by number.
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    /// The segment of the last batch, or the first one; none if there is no segment.
    pub(super) current: Option<u64>,
    /// Where in it the next batch goes.
    pub(super) offset: u64,
    /// The number of the next batch.
    pub(super) batch: u64,
    /// For each segment up to the current one, one past the highest index that was ever written to it.
    pub(super) ends: BTreeMap<u64, u64>,
    pub(super) state: State,
    pub(super) window: Window,
    /// Files that were segments and can be used again.
    pub(super) spares: Vec<PathBuf>,
    /// A file that is shorter than it was made. What was cut may have been all zeros, so what is left can be read; a node does not start on it.
    pub(super) cut: Option<StorageError>,
}

impl Scan {
    /// Reads the log in a directory; one that is not there is empty.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] names the file and, where there is one, the byte.
    pub(super) fn read(dir: &Path, access: Access, cache_bytes_max: usize) -> Result<Self, StorageError> {
        let mut scan = Self {
            batch: 1,
            offset: FRAMES_START,
            window: Window::new(None, cache_bytes_max),
            ..Self::default()
        };
        if !dir.exists() {
            return Ok(scan);
        }
        for name in files::names(dir)? {
            if let Some(number) = segment::number(&name) {
                let segment = Segment::open(&dir.join(name), number, access)?;
                scan.segments.insert(number, Arc::new(segment));
            } else if name.ends_with(SPARE) {
                scan.spares.push(dir.join(name));
            }
        }
        scan.check_order(dir)?;
        let oldest = scan.segments.keys().next().copied();
        let mut tail: Option<(PathBuf, u64)> = None;
        for segment in scan.segments.clone().into_values() {
            let missing = segment.missing()?;
            if missing > 0 && scan.cut.is_none() {
                let what = format!("its last {missing} bytes are missing");
                scan.cut = Some(StorageError::damaged(segment.path(), what));
            }
            let content = segment.content()?;
            let is_oldest = oldest == Some(segment.number);
            let end = scan.follow(&segment, &content, is_oldest)?;
            if is_oldest && end == FRAMES_START && segment.number != FIRST {
                // Those before are gone only after this one had its first batch.
                let what = format!("its first batch, at byte {end}, is not whole");
                return Err(StorageError::damaged(segment.path(), what));
            }
            if is_oldest || end > FRAMES_START {
                scan.current = Some(segment.number);
                scan.offset = end;
                scan.ends.entry(segment.number).or_default();
                tail = Some((segment.path().to_owned(), end));
            }
            if let Some(mut tail) = tail.as_ref()
                && let Some((later, offset)) =
                    scan.later_batch(content.get(end as usize..).unwrap_or_default(), segment.salt)
            {
                // It is the first one here, unless it is the one that goes on from here that was found.
                let here = (segment.path().to_owned(), end);
                if offset > 0 {
                    tail = &here;
                }
                let (path, at) = tail;
                let what = format!(
                    "batch {} of the log, at byte {at}, is not whole, and batch {later} is there",
                    scan.batch
                );
                return Err(StorageError::damaged(path, what));
            }
        }
        scan.check_gone(dir)?;
        Ok(scan)
    }

    /// Takes in the batches that go on where the log ended before, and returns where in the segment they end.
    fn follow(&mut self, segment: &Segment, content: &[u8], is_oldest: bool) -> Result<u64, StorageError> {
        let mut at = FRAMES_START as usize;
        while let Some(header) = content.get(at..).and_then(|bytes| frame::header(bytes, segment.salt)) {
            let is_first = at == FRAMES_START as usize;
            let adopts = is_oldest && is_first;
            if adopts && segment.number != FIRST {
                self.batch = header.batch;
            }
            if header.batch != self.batch {
                break;
            }
            let Some(records) = frame::records(&content[at..], &header, segment.salt) else {
                break;
            };
            let damaged = |what: String| {
                StorageError::damaged(segment.path(), format!("batch {}, at byte {at}, {what}", header.batch))
            };
            let mut records = records.into_iter();
            if is_first {
                match records.next() {
                    Some(Read::State(state)) if adopts => self.adopt(state),
                    Some(Read::State(state)) if state == self.state => {}
                    _ => return Err(damaged("does not go on from the segment before".to_owned())),
                }
            }
            for record in records {
                self.apply(record, segment, at).map_err(damaged)?;
            }
            let next = header.batch.checked_add(1);
            self.batch = next.ok_or_else(|| damaged(IMPOSSIBLE.to_owned()))?;
            at += whole_sectors(header.length);
        }
        Ok(at as u64)
    }

    /// What the log was before its oldest segment. The entries of then are gone, and must have been purged since.
    fn adopt(&mut self, state: State) {
        self.window.restart(state.purged_end, state.entries.clone());
        self.state = state;
    }

    fn apply(&mut self, record: Read, segment: &Segment, at: usize) -> Result<(), String> {
        match record {
            // Each index has a next one.
            Read::Entry { index: u64::MAX, .. } | Read::Purge(u64::MAX, _) => return Err(IMPOSSIBLE.to_owned()),
            Read::State(_) => return Err("has the state of the log where it is not expected".to_owned()),
            Read::Entry { index, offset, size } => {
                if let Some(next) = self.state.next().filter(|next| *next != index) {
                    return Err(format!("has log entry {index} where {next} must be"));
                }
                let place = Place::Stored {
                    segment: segment.number,
                    offset: u32::try_from(at + offset).map_err(|_| "is beyond what a segment can hold".to_owned())?,
                };
                let size = u32::try_from(size).map_err(|_| "has too large an entry".to_owned())?;
                self.state.append(index);
                self.window.push_stored(index, place, size);
                let end = self.ends.entry(segment.number).or_default();
                *end = (*end).max(index + 1);
            }
            Read::Truncate(from) => {
                self.state.truncate(from);
                self.window.truncate(from);
            }
            Read::Purge(index, marker) => {
                self.state.purge(index, marker);
                self.window.purge(index);
            }
            Read::Meta(key, value) => self.state.put(key, value),
        }
        Ok(())
    }

    /// A batch after the next one, somewhere in what follows the last one: its number, and how many sectors are between.
    fn later_batch(&self, rest: &[u8], salt: u64) -> Option<(u64, usize)> {
        let sectors = rest.chunks(SECTOR_BYTES).zip(0..);
        let mut batches = sectors.filter_map(|(sector, n)| Some((frame::header(sector, salt)?.batch, n)));
        batches.find(|(batch, _)| *batch > self.batch)
    }

    /// The segments must follow each other without a hole, and each must be of this log.
    fn check_order(&self, dir: &Path) -> Result<(), StorageError> {
        let mut before: Option<&Segment> = None;
        for segment in self.segments.values() {
            if let Some(before) = before {
                let next = before.number + 1;
                if segment.number != next {
                    return Err(StorageError::damaged(&dir.join(segment::name(next)), "it is missing"));
                }
                if segment.previous != before.salt {
                    let what = "it does not follow the segment before: one of the two is of another log";
                    return Err(StorageError::damaged(segment.path(), what));
                }
            }
            before = Some(segment);
        }
        Ok(())
    }

    fn check_gone(&self, dir: &Path) -> Result<(), StorageError> {
        let Some((index, oldest)) = self.window.first_gone().zip(self.segments.keys().next()) else {
            return Ok(());
        };
        let what = format!("it is missing, and log entry {index} with it");
        Err(StorageError::damaged(
            &dir.join(segment::name(oldest.saturating_sub(1))),
            what,
        ))
    }
}

const IMPOSSIBLE: &str = "has a number that no log reaches";
/// The number of the first segment of a log.
pub(super) const FIRST: u64 = 1;
