//! The log: the floor, the small values, every entry.

use std::path::Path;

use bytes::Bytes;
use rocksdb::{DB, ReadOptions};

use super::{Check, Meter, Part};
use crate::floor::{Floor, Mark};
use crate::log::Meta;
use crate::log_db::{compare, load, load_number, log_options};
use crate::log_record::{self, entry_key, index_of, meta_key};
use crate::{StorageError, options};

/// What a log holds.
#[derive(Debug, Clone, Default)]
pub struct LogFacts {
    /// The first entry that is there.
    pub first: Option<u64>,
    /// The last entry that is there.
    pub last: Option<u64>,
    /// Up to where it was purged.
    pub purged: Option<u64>,
    /// [`Meta::Vote`], [`Meta::Committed`] and [`Meta::Purged`].
    pub meta: [Option<Bytes>; 3],
}

impl LogFacts {
    /// One past the last index, retained or purged; 0 for a log that never held anything.
    #[must_use]
    pub fn end(&self) -> u64 {
        let last = self.last.max(self.purged);
        last.map_or(0, |last| last + 1)
    }
}

impl Check<'_> {
    /// Reads the log in `dir`; `each` gets its entries in order and may complain about one.
    pub fn log(&mut self, dir: &Path, mut each: impl FnMut(u64, Bytes) -> Result<(), String>) -> LogFacts {
        let floor = self.floor(&dir.join("floor"));
        let path = dir.join("db");
        let db = match options::open_read_only(&log_options(), &path) {
            Ok(db) => db,
            Err(error) => {
                self.find_error(Part::Log, error);
                return LogFacts::default();
            }
        };
        let Some(db) = db else {
            if floor != Mark::default() {
                self.find(Part::Log, &path, "it is missing");
            }
            return LogFacts::default();
        };
        match self.read_log(&db, &path, &mut each) {
            Ok((facts, votes)) => {
                if !self.has(Part::Log)
                    && let Err(error) = compare(dir, floor, facts.end(), votes)
                {
                    self.find_error(Part::Log, error);
                }
                facts
            }
            Err(error) => {
                self.find_error(Part::Log, error);
                LogFacts::default()
            }
        }
    }

    fn floor(&mut self, path: &Path) -> Mark {
        match Floor::look(path) {
            Ok(Some((mark, is_whole))) => {
                if !is_whole {
                    let slot = format!("one of the two slots of {} is damaged", path.display());
                    self.note(format!("{slot}; the other one stands, and the next write replaces it"));
                }
                mark
            }
            Ok(None) => {
                self.find(Part::Floor, path, "it is missing");
                Mark::default()
            }
            Err(error) => {
                self.find_error(Part::Floor, error);
                Mark::default()
            }
        }
    }

    fn read_log(
        &mut self,
        db: &DB,
        path: &Path,
        each: &mut dyn FnMut(u64, Bytes) -> Result<(), String>,
    ) -> Result<(LogFacts, u64), StorageError> {
        let votes = load_number(db, path, &log_record::VOTES)?.unwrap_or(0);
        let mut facts = LogFacts {
            purged: load_number(db, path, &log_record::PURGED)?,
            meta: [
                load(db, path, &meta_key(Meta::Vote))?,
                load(db, path, &meta_key(Meta::Committed))?,
                load(db, path, &meta_key(Meta::Purged))?,
            ],
            ..LogFacts::default()
        };
        let mut next = facts.purged.map(|purged| purged + 1);
        let mut meter = Meter::new();
        let mut read = ReadOptions::default();
        read.set_iterate_lower_bound(entry_key(0));
        read.fill_cache(false);
        let mut rows = db.raw_iterator_opt(read);
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            let index =
                index_of(key).ok_or_else(|| StorageError::damaged(path, "it has a key that is not an entry's"))?;
            if next.is_some_and(|next| next != index) {
                let next = next.unwrap_or_default();
                return Err(StorageError::damaged(
                    path,
                    format!("entry {index} stands where {next} must"),
                ));
            }
            let bytes = log_record::decode(&index.to_be_bytes(), Bytes::copy_from_slice(value));
            let read = bytes.ok_or_else(|| "its checksum is wrong".to_owned());
            if let Err(what) = read.and_then(|bytes| each(index, bytes)) {
                return Err(StorageError::damaged(path, format!("entry {index}: {what}")));
            }
            facts.first.get_or_insert(index);
            facts.last = Some(index);
            next = Some(index + 1);
            meter.add(self, Part::Log, key.len() + value.len());
            rows.next();
        }
        rows.status().map_err(StorageError::database("read", path))?;
        // Once more with what was removed and is not compacted away yet: its blocks are read one day.
        let mut read = ReadOptions::default();
        #[expect(deprecated, reason = "as a way to be faster, which is not what it is for here")]
        read.set_ignore_range_deletions(true);
        read.fill_cache(false);
        let mut rows = db.raw_iterator_opt(read);
        rows.seek_to_first();
        while rows.valid() {
            rows.next();
        }
        rows.status().map_err(StorageError::database("read", path))?;
        meter.end(self, Part::Log);
        Ok((facts, votes))
    }
}
