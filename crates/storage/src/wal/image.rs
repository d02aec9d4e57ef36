//! Reading a log that nobody writes to, and single entries of any log from the disk.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::scan::Scan;
use super::segment::{Access, Segment};
use super::segments_in;
use super::window::{Place, Window};
use crate::{StorageError, fatal, with_causes};

/// A log that nobody writes to, as it is on the disk.
pub(crate) struct Image {
    scan: Scan,
}

impl Image {
    /// Reads the log in `dir`; none if there is none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, StorageError> {
        let scan = Scan::read(&segments_in(dir), Access::Read, 0)?;
        Ok((!scan.segments.is_empty()).then_some(Self { scan }))
    }

    /// A file that is shorter than it was made, if there is one.
    pub(crate) fn take_cut(&mut self) -> Option<StorageError> {
        self.scan.cut.take()
    }

    /// The retained entries.
    pub(crate) fn entries(&self) -> Range<u64> {
        self.scan.state.entries.clone()
    }

    /// One past the last index, retained or purged.
    pub(crate) fn end(&self) -> u64 {
        self.scan.state.end()
    }

    /// One past the last purged index.
    pub(crate) fn purged_end(&self) -> Option<u64> {
        self.scan.state.purged_end
    }

    pub(crate) fn votes(&self) -> u64 {
        self.scan.state.votes
    }

    pub(crate) fn meta(&self) -> &[Option<Bytes>; 3] {
        &self.scan.state.meta
    }

    /// The part of `range` that is there and that `max_bytes` have room for, but at least one entry.
    pub(crate) fn clip(&self, range: Range<u64>, max_bytes: usize) -> Range<u64> {
        self.scan.window.clip(range, max_bytes)
    }

    /// A retained entry.
    pub(crate) fn entry(&self, index: u64) -> Result<Bytes, StorageError> {
        Stored::find(index, &self.scan.window, &self.scan.segments).read()
    }

    /// Where a retained entry is: the file and the byte.
    pub(crate) fn place(&self, index: u64) -> (PathBuf, u32) {
        let stored = Stored::find(index, &self.scan.window, &self.scan.segments);
        (stored.segment.path().to_owned(), stored.offset)
    }
}

/// An entry on the disk.
pub(super) struct Stored {
    index: u64,
    segment: Arc<Segment>,
    offset: u32,
    size: u32,
}

impl Stored {
    /// A retained entry that is not in memory.
    pub(super) fn find(index: u64, window: &Window, segments: &BTreeMap<u64, Arc<Segment>>) -> Self {
        let (place, size) = window.slot(index);
        let Place::Stored { segment, offset } = place else {
            fatal(
                "cannot read the log",
                format!("entry {index} is neither in memory nor on the disk"),
            );
        };
        let Some(segment) = segments.get(&segment) else {
            fatal("cannot read the log", format!("the segment of entry {index} was freed"));
        };
        Self {
            index,
            segment: Arc::clone(segment),
            offset,
            size,
        }
    }

    fn read(&self) -> Result<Bytes, StorageError> {
        self.segment.entry(self.index, self.offset, self.size)
    }

    pub(super) fn read_or_end(&self) -> Bytes {
        self.read()
            .unwrap_or_else(|error| fatal("cannot read the log", with_causes(&error)))
    }
}
