//! The rows in memory: those that are not in the database yet, and those that are read all the time.
//!
//! Guarantees: a reader sees all of a write or nothing of it; what is kept of the database is what it holds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aumbry_state::merge_scan;
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::changes::Changes;

/// Changes in two generations, before the database, and a cache of its rows.
pub(crate) struct HotRows {
    held: Mutex<Held>,
}

struct Held {
    /// What was written since the last flush began.
    active: Changes,
    /// What is on its way into the database.
    flushing: Option<Arc<Changes>>,
    /// Rows of the database, and keys of which is known that it has no row.
    cached: Cache<Bytes, Option<Bytes>, ByBytes>,
    /// How often something was written.
    writes: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Bytes, Option<Bytes>> for ByBytes {
    fn weight(&self, key: &Bytes, row: &Option<Bytes>) -> u64 {
        CACHED_BYTES + (key.len() + row.as_ref().map_or(0, Bytes::len)) as u64
    }
}

impl HotRows {
    /// No changes, and a cache that takes at most about so many bytes of memory.
    pub(crate) fn new(bytes: u64) -> Self {
        let rows = usize::try_from(bytes / TYPICAL_BYTES).unwrap_or(usize::MAX);
        Self {
            held: Mutex::new(Held {
                active: Changes::default(),
                flushing: None,
                cached: Cache::with_weighter(rows, bytes, ByBytes),
                writes: 0,
            }),
        }
    }

    /// The row as it is here, or as `read` finds it in the database.
    pub(crate) fn get(&self, key: &[u8], read: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        let writes = {
            let held = self.lock();
            let changed = held.changed(key);
            if let Some(row) = changed.or_else(|| held.cached.get(key)) {
                return row.clone();
            }
            held.writes
        };
        let row = read();
        let mut held = self.lock();
        if held.writes == writes {
            held.cached.insert(Bytes::copy_from_slice(key), row.clone());
        }
        row
    }

    /// As [`aumbry_state::View::scan`], where `scan` gives what the database finds. Nothing is written meanwhile.
    pub(crate) fn scan(
        &self,
        scan: impl Fn(Option<&[u8]>, usize) -> Vec<(Bytes, Bytes)>,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Bytes, Bytes)> {
        let held = self.lock();
        let flushing = |after: Option<&[u8]>, limit| {
            let Some(changes) = &held.flushing else {
                return scan(after, limit);
            };
            merge_scan(&scan, changes.below(prefix, after), after, limit)
        };
        merge_scan(flushing, held.active.below(prefix, after), after, limit)
    }

    /// Writes and removes rows.
    pub(crate) fn write(&self, rows: impl IntoIterator<Item = (Bytes, Option<Bytes>)>) {
        let mut held = self.lock();
        held.writes += 1;
        for (key, row) in rows {
            held.cached.remove(&*key);
            held.active.set(&key, row);
        }
    }

    /// How many bytes wait for the next flush.
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.lock().active.bytes()
    }

    /// Takes what was written out of the way of later writes. The flush before must have ended.
    pub(crate) fn begin_flush(&self) -> Arc<Changes> {
        let mut held = self.lock();
        assert!(held.flushing.is_none(), "one flush at a time");
        let next = Changes::sized_as(&held.active);
        let changes = Arc::new(std::mem::replace(&mut held.active, next));
        held.flushing = Some(Arc::clone(&changes));
        changes
    }

    /// What [`Self::begin_flush`] gave is in the database. It is kept in the cache as far as there is room.
    pub(crate) fn end_flush(&self, changes: &Changes) {
        for part in changes.sorted().chunks(CACHED_AT_ONCE) {
            let mut held = self.lock();
            for (key, row) in part {
                if held.active.get(key).is_none() {
                    held.cached.insert(Bytes::clone(key), row.cloned());
                }
            }
        }
        self.lock().flushing = None;
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn changed(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        let flushing = || self.flushing.as_ref().and_then(|changes| changes.get(key));
        self.active.get(key).or_else(flushing)
    }
}

/// What a cached row takes beside its key and bytes.
const CACHED_BYTES: u64 = 128;
/// An estimate of what one takes, for the first size of the tables: half of the rows are names and records of keys, half are values.
const TYPICAL_BYTES: u64 = 512;
/// Few enough that readers do not wait long.
const CACHED_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn a_row_is_read_once() {
        let rows = HotRows::new(1 << 20);
        assert_eq!(rows.get(b"a", || Some(bytes("1"))).unwrap(), "1");
        assert_eq!(rows.get(b"a", || panic!("read again")).unwrap(), "1");
        assert_eq!(rows.get(b"b", || None), None);
        assert_eq!(rows.get(b"b", || panic!("read again")), None);
    }

    #[test]
    fn the_last_write_counts_before_during_and_after_a_flush() {
        let rows = HotRows::new(1 << 20);
        let check = |a: Option<&str>, b: &str| {
            assert_eq!(rows.get(b"a", || panic!("a")).as_deref(), a.map(str::as_bytes));
            assert_eq!(rows.get(b"b", || panic!("b")).unwrap(), b);
        };
        assert_eq!(rows.get(b"a", || Some(bytes("0"))).unwrap(), "0");
        rows.write([(bytes("a"), Some(bytes("1"))), (bytes("b"), Some(bytes("1")))]);
        check(Some("1"), "1");
        let flushing = rows.begin_flush();
        check(Some("1"), "1");
        rows.write([(bytes("a"), None)]);
        check(None, "1");
        rows.end_flush(&flushing);
        check(None, "1");
        let flushing = rows.begin_flush();
        rows.end_flush(&flushing);
        check(None, "1");
    }

    #[test]
    fn what_was_read_during_a_write_is_not_kept() {
        let rows = HotRows::new(1 << 20);
        let old = rows.get(b"a", || {
            rows.write([(bytes("b"), None)]);
            Some(bytes("old"))
        });
        assert_eq!(old.unwrap(), "old");
        assert_eq!(rows.get(b"a", || Some(bytes("new"))).unwrap(), "new");
    }

    #[test]
    fn the_cache_is_bounded() {
        let rows = HotRows::new(10 << 10);
        for n in 0..1_000_u32 {
            rows.get(&n.to_be_bytes(), || Some(Bytes::from(vec![0; 1_000])));
        }
        assert!(rows.lock().cached.weight() <= 10 << 10);
    }
}
