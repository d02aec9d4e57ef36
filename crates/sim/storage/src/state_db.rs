//! The applied rows on a simulated disk: in memory until they are flushed.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use aumbry_sim_world::disk::{self, Rows};
use aumbry_sim_world::{host, strikes};
use aumbry_state::View;
use bytes::Bytes;

use crate::{StorageError, files};

/// The applied rows.
pub struct StateDb {
    directory: PathBuf,
    rows: RwLock<Arc<Rows>>,
    unflushed: AtomicU64,
}

impl StateDb {
    /// Opens the current rows below `dir`, or makes empty ones.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        files::create_dir(dir)?;
        Ok(Self {
            directory: dir.to_owned(),
            rows: RwLock::new(disk::open_rows(dir)),
            unflushed: AtomicU64::new(0),
        })
    }

    /// Writes and removes rows, all at once.
    pub fn write(&self, rows: impl IntoIterator<Item = (Bytes, Option<Bytes>)>) {
        let mut guard = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let known = Arc::make_mut(&mut guard);
        let mut bytes = 0;
        for (key, row) in rows {
            bytes += (key.len() + row.as_ref().map_or(0, Bytes::len)) as u64;
            match row {
                Some(row) => known.insert(key, row),
                None => known.remove(&key),
            };
        }
        drop(guard);
        self.unflushed.fetch_add(bytes, Ordering::Relaxed);
        host::point("apply: after the rows");
    }

    /// How many bytes of memory hold what was written since the last flush began.
    #[must_use]
    pub fn unflushed_bytes(&self) -> u64 {
        self.unflushed.load(Ordering::Relaxed)
    }

    /// What was replaced is gone with it here.
    ///
    /// # Errors
    /// None.
    pub fn erase_replaced(&self) -> Result<(), StillHeld> {
        Ok(())
    }

    /// Begins to make durable what was written so far.
    pub fn begin_flush(&self) -> Flush<'_> {
        self.unflushed.store(0, Ordering::Relaxed);
        Flush {
            state: self,
            rows: Arc::clone(&self.read()),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Arc<Rows>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View for StateDb {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.read().get(key).cloned()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        scan(&self.read(), prefix, after, limit)
    }
}

/// Somebody still reads what was to be removed: never here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was replaced is still being read")]
pub struct StillHeld;

/// A flush that has begun.
#[must_use = "what has begun is finished"]
pub struct Flush<'a> {
    state: &'a StateDb,
    rows: Arc<Rows>,
}

impl<'a> Flush<'a> {
    /// Makes it durable, and gives the rows of that moment.
    pub fn finish(self) -> StateSnapshot<'a> {
        host::point("flush: before the rows");
        disk::flush_rows(&self.state.directory, Arc::clone(&self.rows));
        host::point("flush: after the rows");
        StateSnapshot {
            rows: self.rows,
            _state: self.state,
        }
    }
}

/// The rows of one moment.
pub struct StateSnapshot<'a> {
    rows: Arc<Rows>,
    _state: &'a StateDb,
}

impl StateSnapshot<'_> {
    /// Calls `each` with all rows, in order of the keys.
    pub fn for_each(&self, mut each: impl FnMut(&[u8], &[u8])) {
        for (key, row) in &*self.rows {
            each(key, row);
        }
    }
}

impl View for StateSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.rows.get(key).cloned()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        scan(&self.rows, prefix, after, limit)
    }
}

fn scan(rows: &Rows, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let found = rows.range::<[u8], _>((start, Bound::Unbounded));
    let found = found.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
    found.map(|(key, row)| (key.clone(), row.clone())).collect()
}

/// Writes rows beside the current ones, durable but not current.
///
/// # Errors
/// Never.
pub fn install_state(dir: &Path, rows: impl IntoIterator<Item = (Bytes, Bytes)>) -> Result<PathBuf, StorageError> {
    let path = disk::install_rows(dir, rows.into_iter().collect());
    host::point("install: before the switch");
    Ok(path)
}

/// Makes rows that [`install_state`] wrote the current ones, durably.
///
/// # Errors
/// Never.
pub fn switch_state(dir: &Path, installed: &Path) -> Result<(), StorageError> {
    disk::switch_rows(dir, installed);
    strikes::count("snapshot-installed");
    host::point("install: after the switch");
    Ok(())
}
