//! The log of a node that does not run, read without a change to its disk.
//!
//! For tools that look at a disk which may be the last copy. What ends the process of a running node is an error here.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use crate::StorageError;
use crate::floor::Floor;
use crate::log::Meta;
use crate::wal::{self, Image};

/// A log that nobody writes to.
pub struct LogImage {
    image: Image,
    acknowledged_end: Option<u64>,
}

impl LogImage {
    /// Opens the log in `dir` for reading. A log that ends before what was acknowledged is opened as well: see [`Self::acknowledged_end`].
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if something is damaged or not there, [`StorageError::Io`] if the disk fails.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let image = Image::read(dir)?.ok_or_else(|| StorageError::damaged(&wal::segments_in(dir), "it is missing"))?;
        // Without its floor a log cannot be trusted with a vote, but it can still be read.
        let floor = Floor::look(&wal::floor_in(dir)).ok().flatten();
        Ok(Self {
            image,
            acknowledged_end: floor.map(|(mark, _)| mark.end),
        })
    }

    /// A small value, as it was last stored.
    #[must_use]
    pub fn meta(&self, key: Meta) -> Option<Bytes> {
        self.image.meta()[key as usize].clone()
    }

    /// The lowest index that is there.
    #[must_use]
    pub fn first_index(&self) -> Option<u64> {
        self.image.entries().next()
    }

    /// The highest index that is there.
    #[must_use]
    pub fn last_index(&self) -> Option<u64> {
        self.image.entries().next_back()
    }

    /// One past the last index that is there or was purged.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.image.end()
    }

    /// One past the highest index that the node has acknowledged, as far as its floor tells; none if the floor cannot be read.
    #[must_use]
    pub const fn acknowledged_end(&self) -> Option<u64> {
        self.acknowledged_end
    }

    /// The entries of `range` that are there, in order. It stops when `max_bytes` are exceeded, but not before the first entry.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if an entry is damaged, [`StorageError::Io`] if the disk fails.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, StorageError> {
        let range = self.image.clip(range, max_bytes);
        range.map(|index| Ok((index, self.image.entry(index)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::floor::Mark;
    use crate::{Log as _, Wal};

    fn entries(indexes: Range<u64>) -> Vec<(u64, Bytes)> {
        indexes
            .map(|index| (index, Bytes::from(format!("entry {index}"))))
            .collect()
    }

    fn names_and_bytes(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(names_and_bytes(&path));
            } else {
                found.push((path.clone(), std::fs::read(&path).unwrap()));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn reads_what_was_written_and_changes_no_byte() {
        let dir = tempfile::tempdir().unwrap();
        let log = Wal::open(dir.path()).unwrap();
        let (sender, receiver) = channel();
        log.append(entries(1..40), Box::new(move |done| sender.send(done).unwrap()));
        receiver.recv().unwrap().unwrap();
        log.purge_to(9, Bytes::from_static(b"nine"));
        log.put_meta(Meta::Vote, Bytes::from_static(b"vote"), None);
        drop(log);

        let before = names_and_bytes(dir.path());
        let image = LogImage::open(dir.path()).unwrap();
        assert_eq!(
            (image.first_index(), image.last_index(), image.end()),
            (Some(10), Some(39), 40)
        );
        assert_eq!(image.meta(Meta::Vote).unwrap(), "vote");
        assert_eq!(image.meta(Meta::Purged).unwrap(), "nine");
        assert_eq!(image.acknowledged_end(), Some(40));
        assert_eq!(image.read(0..100, usize::MAX).unwrap(), entries(10..40));
        assert_eq!(image.read(12..100, 1).unwrap(), entries(12..13));
        drop(image);
        assert_eq!(names_and_bytes(dir.path()), before);
    }

    #[test]
    fn a_log_that_lost_its_end_is_read_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let log = Wal::open(dir.path()).unwrap();
        log.append(entries(1..4), Box::new(|_| ()));
        drop(log);
        let mut floor = Floor::open(&dir.path().join("floor")).unwrap().unwrap();
        floor.set(Mark {
            end: 9,
            ..Mark::default()
        });
        assert!(matches!(Wal::open(dir.path()), Err(StorageError::Amnesia { .. })));
        let image = LogImage::open(dir.path()).unwrap();
        assert_eq!((image.end(), image.acknowledged_end()), (4, Some(9)));
        drop(image);
        std::fs::remove_file(dir.path().join("floor")).unwrap();
        assert_eq!(LogImage::open(dir.path()).unwrap().acknowledged_end(), None);
    }
}
