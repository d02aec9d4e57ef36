//! The applied rows, in RocksDB without a write-ahead log.
//!
//! The Raft log is the write-ahead log: what was not flushed when the process died is applied again. So a write stays in memory, and
//! [`StateDb::flush`] makes everything before it durable, all of it or nothing: it alone adds to the database, one table file that holds all rows, sorted.
//! Rows that change often reach the database once a flush.
//!
//! The rows live in `<dir>/<n>`, where `<dir>/CURRENT` names `n`. [`install_state`] builds another such directory from a snapshot and
//! [`switch_state`] makes it current; whoever holds the old database keeps a consistent view until it is dropped.
//!
//! What was not flushed when the last handle is dropped is lost, as in a crash.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aumbry_state::View;
use bytes::Bytes;
use rocksdb::{
    BottommostLevelCompaction, CompactOptions, DB, Direction, IngestExternalFileOptions, IteratorMode, Options,
    ReadOptions, SstFileWriter,
};

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
        }
    }

    /// Writes and removes rows, all at once. They are read at once, and durable after the next [`Self::flush`].
    pub fn write(&self, rows: impl IntoIterator<Item = (Bytes, Option<Bytes>)>) {
        self.hot.write(rows);
    }

    /// How many bytes of memory hold what was written since the last flush began. The caller bounds them.
    #[must_use]
    pub fn unflushed_bytes(&self) -> u64 {
        self.hot.unflushed_bytes()
    }

    /// Makes everything written so far durable. Blocks, and does not hold up writers. An error ends the process.
    pub fn flush(&self) {
        self.begin_flush().finish();
    }

    /// Begins to make durable what was written so far, and nothing that is written later. Waits for a flush that has begun before.
    pub fn begin_flush(&self) -> Flush<'_> {
        let turn = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = self.hot.begin_flush();
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

    /// Removes from the disk what was replaced before the last [`Self::flush`]: whatever a row was before is in no file of the database
    /// afterwards. Writes all rows anew, so that the disk needs room for them twice. Blocks, for minutes if there are many.
    ///
    /// # Errors
    /// [`StillHeld`] if somebody reads what was replaced. Nothing is wrong then: what could be removed was, and it is to be tried again later.
    pub fn erase_replaced(&self) -> Result<(), StillHeld> {
        // Whoever looks at older rows holds them; who looks at those of now may go on.
        let oldest = self.number(c"rocksdb.oldest-snapshot-sequence");
        let is_read = self.number(c"rocksdb.num-snapshots") > 0 && oldest < self.db.latest_sequence_number();
        if is_read {
            return Err(StillHeld);
        }
        let before = self.tables();
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        // RocksDB does not say whether it did, and leaves a file for as long as somebody reads it.
        match before.is_disjoint(&self.tables()) {
            true => Ok(()),
            false => Err(StillHeld),
        }
    }

    fn number(&self, property: &CStr) -> u64 {
        match self.db.property_int_value(property) {
            Ok(number) => number.unwrap_or(0),
            Err(error) => fatal("cannot ask the database", error),
        }
    }

    /// The names of the table files.
    fn tables(&self) -> BTreeSet<String> {
        let names = files::names(self.db.path()).unwrap_or_else(|error| fatal("cannot list the database", error));
        names.into_iter().filter(|name| name.ends_with(".sst")).collect()
    }

    /// Adds rows, in order of the keys, to the database: durable, and all or none of them. There must be some.
    fn add<'a>(&self, rows: impl IntoIterator<Item = (&'a [u8], Option<&'a Bytes>)>) -> Result<(), rocksdb::Error> {
        let options = state_options();
        let mut table = SstFileWriter::create(&options);
        let path = self.db.path().join(NEXT_TABLE);
        table.open(&path)?;
        for (key, row) in rows {
            match row {
                Some(row) => table.put(key, row)?,
                None => table.delete(key)?,
            }
        }
        table.finish()?;
        // A table file counts from the moment at which the manifest names it, which is when it and the manifest are synced.
        let mut moved = IngestExternalFileOptions::default();
        moved.set_move_files(true);
        self.db.ingest_external_file_opts(&moved, vec![&path])
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

/// Somebody still reads what was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was replaced is still being read")]
pub struct StillHeld;

/// A flush that has begun: what was written before it stands apart.
#[must_use = "what has begun is finished"]
pub struct Flush<'a> {
    state: &'a StateDb,
    changes: Changes,
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Flush<'a> {
    /// Waits until it is durable, and gives the rows of that moment. An error ends the process.
    pub fn finish(mut self) -> StateSnapshot<'a> {
        if !self.changes.is_empty() {
            let added = self.state.add(self.changes.sorted());
            added.unwrap_or_else(|error| fatal("cannot flush rows", error));
        }
        let snapshot = self.state.db.snapshot();
        self.state.hot.end_flush();
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

/// Builds a database with exactly these rows, which come in order of the keys, beside the current one: durable but not current. Returns its directory,
/// for [`switch_state`].
///
/// # Errors
/// [`StorageError`] if the disk fails or the rows are not in order; what was built is removed at the next start.
pub fn install_state(dir: &Path, rows: impl IntoIterator<Item = (Bytes, Bytes)>) -> Result<PathBuf, StorageError> {
    let path = generations::create_next(dir)?;
    let state = StateDb::open_at(&path)?;
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        // Not current yet, so it need not be whole at any moment.
        let mut bytes = 0;
        let part: Vec<_> = std::iter::from_fn(|| {
            let next = rows.next_if(|_| bytes < INSTALL_BYTES)?;
            bytes += next.0.len() + next.1.len();
            Some(next)
        })
        .collect();
        let added = state.add(part.iter().map(|(key, row)| (&**key, Some(row))));
        added.map_err(StorageError::database("build", &path))?;
    }
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

/// Where a table file is written before it is one of the database; what a crash left there is overwritten.
const NEXT_TABLE: &str = "next.table";
/// For the blocks behind scans and rare rows; the page cache has the rest.
const CACHE_BYTES: usize = 32 << 20;
/// The rows of 10,000 secrets of 1 KiB with all that belongs to them.
const CACHED_ROWS_BYTES: u64 = 32 << 20;
/// Rows of an installation that are in memory at once, and the size of its table files, which is RocksDB's own for the last levels. The largest row
/// comes on top.
const INSTALL_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests;
