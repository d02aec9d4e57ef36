//! The rows that are read all the time, in memory.
//!
//! It always gives what the database would: a write and its effect here are one step for readers, and a row that was read while something was
//! written is not kept.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

/// Rows by their keys, and keys of which is known that there is no row.
pub(crate) struct RowCache {
    held: Mutex<Held>,
}

struct Held {
    rows: Cache<Bytes, Option<Bytes>, ByBytes>,
    /// How often something was written.
    writes: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Bytes, Option<Bytes>> for ByBytes {
    fn weight(&self, key: &Bytes, row: &Option<Bytes>) -> u64 {
        ENTRY_BYTES + (key.len() + row.as_ref().map_or(0, Bytes::len)) as u64
    }
}

impl RowCache {
    /// An empty cache that takes at most about so many bytes of memory.
    pub(crate) fn new(bytes: u64) -> Self {
        let rows = usize::try_from(bytes / TYPICAL_BYTES).unwrap_or(usize::MAX);
        Self {
            held: Mutex::new(Held {
                rows: Cache::with_weighter(rows, bytes, ByBytes),
                writes: 0,
            }),
        }
    }

    /// The row as it is here, or as `read` finds it.
    pub(crate) fn get(&self, key: &[u8], read: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        let writes = {
            let held = self.lock();
            if let Some(row) = held.rows.get(key) {
                return row.clone();
            }
            held.writes
        };
        let row = read();
        let mut held = self.lock();
        if held.writes == writes {
            held.rows.insert(Bytes::copy_from_slice(key), row.clone());
        }
        row
    }

    /// Writes by `write`. Whoever finds a row here meanwhile waits, so that nobody sees a part of what is written.
    pub(crate) fn write(&self, rows: &[(Bytes, Option<Bytes>)], write: impl FnOnce()) {
        let mut held = self.lock();
        write();
        held.writes += 1;
        for (key, row) in rows {
            // A key can be a part of a whole log entry, which must not be kept for it.
            held.rows.insert(Bytes::copy_from_slice(key), row.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an entry takes beside its key and row.
const ENTRY_BYTES: u64 = 128;
/// An estimate of what one takes, for the first size of the tables: half of the rows are names and records of keys, half are values.
const TYPICAL_BYTES: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn a_row_is_read_once_and_written_through() {
        let cache = RowCache::new(1 << 20);
        assert_eq!(cache.get(b"a", || Some(bytes("1"))).unwrap(), "1");
        assert_eq!(cache.get(b"a", || panic!("read again")).unwrap(), "1");
        assert_eq!(cache.get(b"b", || None), None);
        assert_eq!(cache.get(b"b", || panic!("read again")), None);
        cache.write(&[(bytes("a"), None), (bytes("b"), Some(bytes("2")))], || ());
        assert_eq!(cache.get(b"a", || panic!("read again")), None);
        assert_eq!(cache.get(b"b", || panic!("read again")).unwrap(), "2");
    }

    #[test]
    fn what_was_read_during_a_write_is_not_kept() {
        let cache = RowCache::new(1 << 20);
        let old = cache.get(b"a", || {
            cache.write(&[(bytes("b"), None)], || ());
            Some(bytes("old"))
        });
        assert_eq!(old.unwrap(), "old");
        assert_eq!(cache.get(b"a", || Some(bytes("new"))).unwrap(), "new");
    }

    #[test]
    fn it_is_bounded() {
        let cache = RowCache::new(10 << 10);
        for n in 0..1_000_u32 {
            cache.get(&n.to_be_bytes(), || Some(Bytes::from(vec![0; 1_000])));
        }
        assert!(cache.lock().rows.weight() <= 10 << 10);
    }
}
