//! Reading rows, from a database or from memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

/// The applied rows. A read error aborts the process inside: nothing may go on with a state that it cannot read.
pub trait View: Send + Sync {
    /// The row with this key.
    fn get(&self, key: &[u8]) -> Option<Bytes>;
    /// The rows whose keys begin with `prefix` and are greater than `after`, in order, at most `limit`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)>;
}

/// Rows in memory, for tests, simulation and [`crate::Local`].
#[derive(Debug, Default)]
pub struct MemoryView {
    rows: RwLock<BTreeMap<Bytes, Bytes>>,
}

impl MemoryView {
    /// Writes and removes rows, all at once.
    pub fn write(&self, rows: impl IntoIterator<Item = (Bytes, Option<Bytes>)>) {
        let mut map = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        for (key, row) in rows {
            match row {
                Some(row) => map.insert(key, row),
                None => map.remove(&key),
            };
        }
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> BTreeMap<Bytes, Bytes> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.rows
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let map = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        map.range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect()
    }
}
