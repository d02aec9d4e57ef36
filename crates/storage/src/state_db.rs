//! The applied rows, in RocksDB without a write-ahead log.
//!
//! The Raft log is the write-ahead log: what was not flushed when the process died is applied again. So a write stays in memory, and
//! [`StateDb::flush`] makes everything before it durable, all of it or nothing: it alone writes to the database, sorted, into one memory table that is
//! flushed as a whole. Rows that change often reach the database once a flush.
//!
//! The rows live in `<dir>/<n>`, where `<dir>/CURRENT` names `n`. [`install_state`] builds another such directory from a snapshot and
//! [`switch_state`] makes it current; whoever holds the old database keeps a consistent view until it is dropped.
//!
//! What was not flushed when the last handle is dropped is lost, as in a crash.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aumbry_state::View;
use bytes::Bytes;
use rocksdb::{DB, Direction, FlushOptions, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};

use self::changes::Changes;
use self::hot_rows::HotRows;
use crate::{StorageError, fatal, files, generations, options};

mod changes;
mod hot_rows;

/// The applied rows.
pub struct StateDb {
    db: DB,
    hot: HotRows,
    /// One flush at a time.
    flushing: Mutex<()>,
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
            hot: HotRows::new(CACHED_ROWS_BYTES),
            flushing: Mutex::default(),
            unflushed_bytes: AtomicU64::new(0),
        }
    }

    /// Writes and removes rows, all at once. They are read at once, and durable after the next [`Self::flush`].
    pub fn write(&self, rows: impl IntoIterator<Item = (Bytes, Option<Bytes>)>) {
        let bytes = self.hot.write(rows);
        self.unflushed_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes were written since the last flush began. The caller flushes well before a memory table is full (256 MiB), because RocksDB would
    /// then flush by itself, a part of a write maybe.
    #[must_use]
    pub fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes.load(Ordering::Relaxed)
    }

    /// Makes everything written so far durable. Blocks, and does not hold up writers. An error ends the process.
    pub fn flush(&self) {
        self.begin_flush().finish();
    }

    /// Begins to make durable what was written so far, and nothing that is written later. Waits for a flush that has begun before.
    pub fn begin_flush(&self) -> Flush<'_> {
        let turn = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = self.hot.begin_flush();
        self.unflushed_bytes.store(0, Ordering::Relaxed);
        Flush {
            state: self,
            changes,
            _turn: turn,
        }
    }

    /// The rows as they are now, whatever is written later. Makes them durable. It holds back the removal of old rows: keep it for minutes, not for
    /// hours.
    #[must_use]
    pub fn snapshot(&self) -> StateSnapshot<'_> {
        self.begin_flush().finish()
    }

    /// Writes rows into the database. An error ends the process.
    fn put<'a>(&self, rows: impl IntoIterator<Item = (&'a Bytes, Option<&'a Bytes>)>) {
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        // They come in order of keys, so that each stands beside the one before.
        write.set_memtable_insert_hint_per_batch(true);
        let mut batch = WriteBatch::default();
        let put = |batch| {
            if let Err(error) = self.db.write_opt(batch, &write) {
                fatal("cannot write rows", error);
            }
        };
        for (key, row) in rows {
            match row {
                Some(row) => batch.put(key, row),
                None => batch.delete(key),
            }
            if batch.size_in_bytes() > BATCH_BYTES {
                put(std::mem::take(&mut batch));
            }
        }
        put(batch);
    }

    /// Makes the rows in the database durable. An error ends the process.
    fn sync(&self) {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        if let Err(error) = self.db.flush_opt(&flush) {
            fatal("cannot flush rows", error);
        }
    }

    /// Calls `each` with all rows as they are now, in order of the keys. An error ends the process.
    pub fn export(&self, each: impl FnMut(&[u8], &[u8])) {
        self.snapshot().for_each(each);
    }
}

impl View for StateDb {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.hot.get(key, || row(self.db.get(key)))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let scan = |after: Option<&[u8]>, limit| {
            let (start, read) = bounds(prefix, after);
            let mode = IteratorMode::From(&start, Direction::Forward);
            collect(self.db.iterator_opt(mode, read), after, limit)
        };
        self.hot.scan(scan, prefix, after, limit)
    }
}

/// A flush that has begun: what was written before it stands apart.
#[must_use = "what has begun is finished"]
pub struct Flush<'a> {
    state: &'a StateDb,
    changes: Arc<Changes>,
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Flush<'a> {
    /// Waits until it is durable, and gives the rows of that moment. An error ends the process.
    pub fn finish(self) -> StateSnapshot<'a> {
        if !self.changes.is_empty() {
            self.state.put(self.changes.sorted());
            self.state.sync();
        }
        let snapshot = self.state.db.snapshot();
        self.state.hot.end_flush(&self.changes);
        StateSnapshot { snapshot }
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
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        // Not current yet, so it need not be whole at any moment.
        let part: Vec<_> = rows.by_ref().take(INSTALL_ROWS).collect();
        state.put(part.iter().map(|(key, row)| (key, Some(row))));
    }
    state.sync();
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

/// So large that the caller always flushes first.
const WRITE_BUFFER_BYTES: usize = 256 << 20;
/// For the blocks behind scans and rare rows; the page cache has the rest.
const CACHE_BYTES: usize = 32 << 20;
/// The rows of 10,000 secrets of 1 KiB with all that belongs to them.
const CACHED_ROWS_BYTES: u64 = 32 << 20;
/// Large enough to be quick, small enough not to matter beside a memory table.
const BATCH_BYTES: usize = 4 << 20;
/// Rows of an installation that are in memory at once; those of the largest values are 70 MiB.
const INSTALL_ROWS: usize = 64;

#[cfg(test)]
mod tests;
