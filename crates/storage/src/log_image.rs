//! The log of a node that does not run, read without a change to its disk.
//!
//! For tools that look at a disk which may be the last copy. What ends the process of a running node is an error here.

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rocksdb::{DB, ReadOptions};

use crate::StorageError;
use crate::floor::Floor;
use crate::log::Meta;
use crate::log_db::{load, load_window, log_options};
use crate::log_record::{self, entry_key, index_of, meta_key};
use crate::log_window::Window;

/// A log that nobody writes to.
pub struct LogImage {
    db: DB,
    path: PathBuf,
    window: Window,
    meta: [Option<Bytes>; 3],
    acknowledged_end: Option<u64>,
}

impl LogImage {
    /// Opens the log in `dir` for reading. A log that ends before what was acknowledged is opened as well: see [`Self::acknowledged_end`].
    ///
    /// # Errors
    /// [`StorageError::Damaged`] or [`StorageError::Database`] if something is damaged or not there.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let path = dir.join("db");
        let options = crate::options::reading(log_options());
        let db = DB::open_for_read_only(&options, &path, false).map_err(StorageError::database("read", &path))?;
        let meta = [
            load(&db, &path, &meta_key(Meta::Vote))?,
            load(&db, &path, &meta_key(Meta::Committed))?,
            load(&db, &path, &meta_key(Meta::Purged))?,
        ];
        let window = load_window(&db, &path)?;
        // Without its floor a log cannot be trusted with a vote, but it can still be read.
        let floor = Floor::open(&dir.join("floor")).ok().flatten();
        Ok(Self {
            db,
            path,
            window,
            meta,
            acknowledged_end: floor.map(|floor| floor.mark().end),
        })
    }

    /// A small value, as it was last stored.
    #[must_use]
    pub fn meta(&self, key: Meta) -> Option<Bytes> {
        self.meta[key as usize].clone()
    }

    /// The lowest index that is there.
    #[must_use]
    pub fn first_index(&self) -> Option<u64> {
        self.window.first()
    }

    /// The highest index that is there.
    #[must_use]
    pub fn last_index(&self) -> Option<u64> {
        self.window.last()
    }

    /// One past the last index that is there or was purged.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.window.end()
    }

    /// One past the highest index that the node has acknowledged, as far as its floor tells; none if the floor cannot be read.
    #[must_use]
    pub const fn acknowledged_end(&self) -> Option<u64> {
        self.acknowledged_end
    }

    /// The entries of `range` that are there, in order. It stops when `max_bytes` are exceeded, but not before the first entry.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if an entry is damaged, [`StorageError::Database`] if the disk fails.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, StorageError> {
        let range = self.window.clip(range);
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(entry_key(range.start));
        options.set_iterate_upper_bound(entry_key(range.end));
        options.fill_cache(false);
        let mut rows = self.db.raw_iterator_opt(options);
        rows.seek_to_first();
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in range {
            let row = rows.item().filter(|(key, _)| index_of(key) == Some(index));
            let entry =
                row.and_then(|(_, value)| log_record::decode(&index.to_be_bytes(), Bytes::copy_from_slice(value)));
            let Some(entry) = entry else {
                rows.status().map_err(StorageError::database("read", &self.path))?;
                return Err(StorageError::damaged(
                    &self.path,
                    format!("log entry {index} is not whole"),
                ));
            };
            bytes += entry.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push((index, entry));
            rows.next();
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::floor::Mark;
    use crate::{Log as _, LogDb};

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
        let log = LogDb::open(dir.path()).unwrap();
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
        let log = LogDb::open(dir.path()).unwrap();
        log.append(entries(1..4), Box::new(|_| ()));
        drop(log);
        let mut floor = Floor::open(&dir.path().join("floor")).unwrap().unwrap();
        floor.set(Mark {
            end: 9,
            ..Mark::default()
        });
        assert!(matches!(LogDb::open(dir.path()), Err(StorageError::Amnesia { .. })));
        let image = LogImage::open(dir.path()).unwrap();
        assert_eq!((image.end(), image.acknowledged_end()), (4, Some(9)));
        drop(image);
        std::fs::remove_file(dir.path().join("floor")).unwrap();
        assert_eq!(LogImage::open(dir.path()).unwrap().acknowledged_end(), None);
    }
}
