//! The applied rows, in RocksDB without a write-ahead log.
//!
//! The Raft log is the write-ahead log: what was not flushed when the process died is applied again. So a write costs no `fsync`, and
//! [`StateDb::flush`] makes everything before it durable, all rows of a write or none: there is one column family, and a memory table is flushed
//! as a whole.
//!
//! The rows live in `<dir>/<n>`, where `<dir>/CURRENT` names `n`. [`install_state`] builds another such directory from a snapshot and
//! [`switch_state`] makes it current; whoever holds the old database keeps a consistent view until it is dropped.
//!
//! RocksDB flushes when a database is closed. Therefore sync the audit bodies before the last handle is dropped.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aumbry_state::View;
use bytes::Bytes;
use rocksdb::properties::{BACKGROUND_ERRORS, NUM_IMMUTABLE_MEM_TABLE};
use rocksdb::{DB, Direction, FlushOptions, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};

use crate::row_cache::RowCache;
use crate::{StorageError, fatal, files, generations, options};

/// The applied rows.
pub struct StateDb {
    db: DB,
    rows: RowCache,
    unflushed_bytes: AtomicU64,
}

impl StateDb {
    /// Opens the current rows below `dir`, or makes empty ones. Removes the directories of earlier and of unfinished installations.
    ///
    /// # Errors
    /// [`StorageError`] if the directory cannot be read or the database is damaged.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        Self::open_at(&generations::open(dir)?)
    }

    /// Opens the current rows below `dir` for reading, without a change to the disk. Writing to it ends the process.
    ///
    /// # Errors
    /// [`StorageError`] if there are none, or the database is damaged.
    pub fn open_read_only(dir: &Path) -> Result<Self, StorageError> {
        let path = generations::current(dir)?.ok_or_else(|| StorageError::damaged(dir, "it holds no rows"))?;
        let options = options::reading(state_options());
        let db = DB::open_for_read_only(&options, &path, false).map_err(StorageError::database("read", &path))?;
        Ok(Self::new(db))
    }

    fn open_at(path: &Path) -> Result<Self, StorageError> {
        let db = options::open(&state_options(), path)?;
        Ok(Self::new(db))
    }

    fn new(db: DB) -> Self {
        Self {
            db,
            rows: RowCache::new(ROWS_BYTES),
            unflushed_bytes: AtomicU64::new(0),
        }
    }

    /// Writes and removes rows, all at once. They are read at once, and durable after the next [`Self::flush`].
    ///
    /// An error ends the process.
    pub fn write(&self, rows: impl IntoIterator<Item = (Bytes, Option<Bytes>)>) {
        let rows: Vec<_> = rows.into_iter().collect();
        let mut batch = WriteBatch::default();
        for (key, row) in &rows {
            match row {
                Some(row) => batch.put(key, row),
                None => batch.delete(key),
            }
        }
        let bytes = batch.size_in_bytes() as u64;
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        self.rows.write(&rows, || {
            if let Err(error) = self.db.write_opt(batch, &write) {
                fatal("cannot write rows", error);
            }
        });
        self.unflushed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes were written since the last flush. The caller flushes well before a memory table is full (256 MiB), because RocksDB would
    /// then flush by itself, before the audit bodies are synced.
    #[must_use]
    pub fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes.load(Ordering::Relaxed)
    }

    /// Makes everything written so far durable. Blocks, and does not hold up writers. An error ends the process.
    pub fn flush(&self) {
        self.begin_flush();
        self.finish_flush();
    }

    /// Begins to make durable what was written so far, and nothing that is written later. An error ends the process.
    pub fn begin_flush(&self) {
        self.unflushed_bytes.store(0, Ordering::Relaxed);
        let mut flush = FlushOptions::default();
        // The memory table is closed before this returns.
        flush.set_wait(false);
        if let Err(error) = self.db.flush_opt(&flush) {
            fatal("cannot flush rows", error);
        }
    }

    /// Waits until what flushes have begun with is durable. Blocks. An error ends the process.
    pub fn finish_flush(&self) {
        let number = |name| match self.db.property_int_value(name) {
            Ok(number) => number.unwrap_or(0),
            Err(error) => fatal("cannot flush rows", error),
        };
        // A flush with waiting would close the memory table that is written to by now.
        while number(NUM_IMMUTABLE_MEM_TABLE) > 0 {
            if number(BACKGROUND_ERRORS) > 0 {
                fatal("cannot flush rows", "the database reports an error in the background");
            }
            std::thread::sleep(FLUSH_POLL);
        }
    }

    /// The rows as they are now, whatever is written later. It holds back the removal of old rows: keep it for minutes, not for hours.
    #[must_use]
    pub fn snapshot(&self) -> StateSnapshot<'_> {
        StateSnapshot {
            snapshot: self.db.snapshot(),
        }
    }

    /// Calls `each` with all rows as they are now, in order of the keys. An error ends the process.
    pub fn export(&self, each: impl FnMut(&[u8], &[u8])) {
        self.snapshot().for_each(each);
    }
}

impl View for StateDb {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.rows.get(key, || row(self.db.get(key)))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let (start, read) = bounds(prefix, after);
        let mode = IteratorMode::From(&start, Direction::Forward);
        collect(self.db.iterator_opt(mode, read), after, limit)
    }
}

/// The rows of one moment.
pub struct StateSnapshot<'a> {
    snapshot: rocksdb::Snapshot<'a>,
}

impl StateSnapshot<'_> {
    /// Calls `each` with all rows, in order of the keys. An error ends the process.
    pub fn for_each(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let mut read = ReadOptions::default();
        // A pass over everything must not drive out what is read all the time.
        read.fill_cache(false);
        let mut rows = self.snapshot.raw_iterator_opt(read);
        rows.seek_to_first();
        while let (Some(key), Some(row)) = (rows.key(), rows.value()) {
            each(key, row);
            rows.next();
        }
        if let Err(error) = rows.status() {
            fatal("cannot read rows", error);
        }
    }
}

impl View for StateSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        row(self.snapshot.get(key))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let (start, read) = bounds(prefix, after);
        let mode = IteratorMode::From(&start, Direction::Forward);
        collect(self.snapshot.iterator_opt(mode, read), after, limit)
    }
}

/// Builds a database with exactly these rows beside the current one, durable but not current. Returns its directory, for [`switch_state`].
///
/// # Errors
/// [`StorageError`] if the disk fails; what was built is removed at the next start.
pub fn install_state(dir: &Path, rows: impl IntoIterator<Item = (Bytes, Bytes)>) -> Result<PathBuf, StorageError> {
    let path = generations::create_next(dir)?;
    let state = StateDb::open_at(&path)?;
    let mut rows = rows.into_iter();
    let mut end = false;
    while !end {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < INSTALL_BATCH_BYTES {
            let Some((key, row)) = rows.next() else {
                end = true;
                break;
            };
            bytes += key.len() + row.len();
            batch.push((key, Some(row)));
        }
        state.write(batch);
    }
    state.flush();
    drop(state);
    files::sync_dir(&path)?;
    Ok(path)
}

/// Makes a directory that [`install_state`] built the current one, all at once and durably. The next [`StateDb::open`] opens it.
///
/// # Errors
/// [`StorageError`] if `installed` is not below `dir`, or the disk fails.
pub fn switch_state(dir: &Path, installed: &Path) -> Result<(), StorageError> {
    generations::switch(dir, installed)
}

pub(crate) fn state_options() -> Options {
    let mut options = options::common();
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(3);
    // A row that is not there is looked for before each insertion.
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
    options.set_memtable_whole_key_filtering(true);
    options.set_block_based_table_factory(&options::tables(CACHE_BYTES));
    options
}

fn row(read: Result<Option<Vec<u8>>, rocksdb::Error>) -> Option<Bytes> {
    match read {
        Ok(row) => row.map(Bytes::from),
        Err(error) => fatal("cannot read a row", error),
    }
}

/// Where a scan begins, and its end in the options.
fn bounds(prefix: &[u8], after: Option<&[u8]>) -> (Vec<u8>, ReadOptions) {
    let mut read = ReadOptions::default();
    if let Some(end) = successor(prefix) {
        read.set_iterate_upper_bound(end);
    }
    let start = after.filter(|after| *after > prefix).unwrap_or(prefix);
    (start.to_vec(), read)
}

/// The first key after all keys that begin with `prefix`; none if the prefix is empty or all ones.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

type Row = (Box<[u8]>, Box<[u8]>);

fn collect(
    rows: impl Iterator<Item = Result<Row, rocksdb::Error>>,
    after: Option<&[u8]>,
    limit: usize,
) -> Vec<(Bytes, Bytes)> {
    rows.map(|row| row.unwrap_or_else(|error| fatal("cannot read rows", error)))
        .filter(|(key, _)| after != Some(key))
        .take(limit)
        .map(|(key, row)| (Bytes::from(key), Bytes::from(row)))
        .collect()
}

/// A flush takes a tenth of a second and more.
const FLUSH_POLL: Duration = Duration::from_millis(5);
/// So large that the caller always flushes first.
const WRITE_BUFFER_BYTES: usize = 256 << 20;
/// Of a memory table: 10 bits for each of its rows, if they have 100 bytes.
const MEMTABLE_BLOOM_RATIO: f64 = 0.012;
/// For the blocks behind scans and rare rows; the page cache has the rest.
const CACHE_BYTES: usize = 32 << 20;
/// The rows of 10,000 secrets of 1 KiB with all that belongs to them.
const ROWS_BYTES: u64 = 32 << 20;
/// Large enough to be quick, small enough not to matter beside a memory table.
const INSTALL_BATCH_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests;
