//! The rows in memory: those that are not in the database yet, and those that are read all the time.
//!
//! Guarantees: a reader sees all of a write or nothing of it; what is kept of the database is what it holds.
//!
//! All of them are in one table, so that a row is found by one look. It costs more time than anything else that is done for a request, because most looks
//! miss the processor's caches.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aumbry_state::{key, merge_scan};
use bytes::Bytes;
use quick_cache::DefaultHashBuilder;

use super::changes::{Changes, Keys, weight};

/// Rows that were changed, and a cache of the database.
pub(crate) struct HotRows {
    held: Mutex<Held>,
}

struct Held {
    rows: HashMap<Arc<[u8]>, HeldRow, DefaultHashBuilder>,
    /// What was written since the last flush began.
    active: Changes,
    /// Keys of what is on its way into the database, of the tables that are scanned.
    flushing: Keys,
    /// How many flushes have begun: the generation of what is written now.
    generation: u64,
    /// Up to which generation changes are in the database.
    flushed: u64,
    /// What the rows take that are in the database.
    cached_bytes: u64,
    /// What the rows take that are on their way.
    flushing_bytes: u64,
    cached_bytes_max: u64,
    /// All keys, in the order in which they are looked at when something has to go.
    turn: VecDeque<Arc<[u8]>>,
    /// How often something was written.
    writes: u64,
}

struct HeldRow {
    /// None if there is no such row.
    row: Option<Bytes>,
    /// When it was changed; 0 if it was only read.
    generation: u64,
    /// Where it is in the changes of its generation.
    place: usize,
    /// Whether it was read since its turn came.
    is_used: bool,
}

impl HotRows {
    /// No changes, and a cache that takes at most about so many bytes of memory.
    pub(crate) fn new(cached_bytes_max: u64) -> Self {
        Self {
            held: Mutex::new(Held {
                rows: HashMap::with_capacity_and_hasher(FIRST_ROWS, DefaultHashBuilder::default()),
                active: Changes::default(),
                flushing: Keys::default(),
                generation: 1,
                flushed: 0,
                cached_bytes: 0,
                flushing_bytes: 0,
                cached_bytes_max,
                turn: VecDeque::with_capacity(FIRST_ROWS),
                writes: 0,
            }),
        }
    }

    /// The row as it is here, or as `read` finds it in the database.
    pub(crate) fn get(&self, key: &[u8], read: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        let writes = {
            let mut held = self.lock();
            if let Some(held) = held.rows.get_mut(key) {
                held.is_used = true;
                return held.row.clone();
            }
            held.writes
        };
        let row = read();
        let mut held = self.lock();
        if held.writes == writes {
            held.cache(key, row.clone());
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
        merge_scan(scan, held.changes_below(prefix, after), after, limit)
    }

    /// Writes and removes rows.
    pub(crate) fn write(&self, rows: impl IntoIterator<Item = (Bytes, Option<Bytes>)>) {
        let mut held = self.lock();
        held.writes += 1;
        for (key, row) in rows {
            held.change(&key, row);
        }
    }

    /// How many bytes wait for the next flush.
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.lock().active.bytes()
    }

    /// Takes what was written out of the way of later writes. The flush before must have ended.
    pub(crate) fn begin_flush(&self) -> Changes {
        let mut held = self.lock();
        assert_eq!(held.flushed + 1, held.generation, "one flush at a time");
        held.generation += 1;
        let mut changes = mem::take(&mut held.active);
        held.flushing = mem::take(&mut changes.keys);
        held.flushing_bytes = changes.bytes();
        changes
    }

    /// What [`Self::begin_flush`] gave is in the database. It is kept in the cache as far as there is room.
    pub(crate) fn end_flush(&self) {
        let keys = {
            let mut held = self.lock();
            held.flushed += 1;
            held.cached_bytes += mem::take(&mut held.flushing_bytes);
            mem::take(&mut held.flushing)
        };
        drop(keys);
        // Everything may have its turn twice before it goes.
        let looks = 2 * self.lock().turn.len();
        for _ in 0..looks.div_ceil(LOOKS_AT_ONCE) {
            if self.lock().make_room(0, LOOKS_AT_ONCE) {
                break;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn change(&mut self, key: &[u8], row: Option<Bytes>) {
        let Some(held) = self.rows.get_mut(key) else {
            // Its memory is its own: a key can be a part of a whole log entry, which must not be kept for it.
            let key = Arc::from(key);
            let place = self.active.push(&key, row.clone());
            let generation = self.generation;
            self.turn.push_back(Arc::clone(&key));
            let held = HeldRow {
                row,
                generation,
                place,
                is_used: true,
            };
            self.rows.insert(key, held);
            return;
        };
        held.is_used = true;
        if held.generation == self.generation {
            self.active.replace(held.place, row.clone());
        } else {
            let before = weight(key, held.row.as_ref());
            let bytes = match held.generation <= self.flushed {
                true => &mut self.cached_bytes,
                false => &mut self.flushing_bytes,
            };
            *bytes -= before;
            held.generation = self.generation;
            held.place = self.active.push(&Arc::from(key), row.clone());
        }
        held.row = row;
    }

    /// Keeps a row of the database, if there is room or something else can go.
    fn cache(&mut self, key: &[u8], row: Option<Bytes>) {
        let bytes = weight(key, row.as_ref());
        if !self.make_room(bytes, LOOKS_TO_CACHE) || self.rows.contains_key(key) {
            return;
        }
        self.cached_bytes += bytes;
        let key: Arc<[u8]> = Arc::from(key);
        self.turn.push_back(Arc::clone(&key));
        let held = HeldRow {
            row,
            generation: 0,
            place: 0,
            is_used: false,
        };
        self.rows.insert(key, held);
    }

    /// Lets go rows of the database that were not used since their last turn, until there is room for more. Looks at so many; gives whether there is room.
    fn make_room(&mut self, bytes: u64, looks: usize) -> bool {
        for _ in 0..looks {
            if self.cached_bytes + bytes <= self.cached_bytes_max {
                return true;
            }
            let Some(key) = self.turn.pop_front() else { break };
            let Some(held) = self.rows.get_mut(&key) else { continue };
            if held.generation > self.flushed || mem::take(&mut held.is_used) {
                self.turn.push_back(key);
                continue;
            }
            self.cached_bytes -= weight(&key, held.row.as_ref());
            self.rows.remove(&key);
        }
        self.cached_bytes + bytes <= self.cached_bytes_max
    }

    /// The changes of a prefix after a key that are not in the database, in order of keys.
    fn changes_below<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
    ) -> Box<dyn Iterator<Item = (Bytes, Option<Bytes>)> + 'a> {
        let owned = |key: &Arc<[u8]>| (Bytes::copy_from_slice(key), self.rows[key].row.clone());
        if key::is_scanned(prefix) {
            let mut flushing = self.flushing.below(prefix, after).peekable();
            let mut active = self.active.keys.below(prefix, after).peekable();
            let next = move || {
                let first = match (flushing.peek(), active.peek()) {
                    (Some(a), Some(b)) => a.min(b),
                    (a, b) => a.or(b)?,
                };
                let first: &Arc<[u8]> = first;
                flushing.next_if_eq(&first);
                active.next_if_eq(&first);
                Some(first)
            };
            return Box::new(std::iter::from_fn(next).map(owned));
        }
        // Rare: all rows of a table that is not scanned otherwise.
        let is_below = |key: &[u8]| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let changed = self.rows.iter().filter(|(_, held)| held.generation > self.flushed);
        let mut all: Vec<_> = changed.map(|(key, _)| key).filter(|key| is_below(key)).collect();
        all.sort_unstable();
        Box::new(all.into_iter().map(owned))
    }
}

/// Room for the first rows, so that the table does not grow under load: ten megabytes.
const FIRST_ROWS: usize = 1 << 16;
/// Few enough that readers do not wait long.
const LOOKS_AT_ONCE: usize = 256;
/// A row that is read pays for this many looks at most, and is not kept if they find no room.
const LOOKS_TO_CACHE: usize = 8;

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
        let mut flushing = rows.begin_flush();
        check(Some("1"), "1");
        rows.write([(bytes("a"), None)]);
        check(None, "1");
        let flushed: Vec<_> = flushing
            .sorted()
            .map(|(key, row)| (key.to_vec(), row.cloned()))
            .collect();
        assert_eq!(
            flushed,
            [(b"a".to_vec(), Some(bytes("1"))), (b"b".to_vec(), Some(bytes("1")))]
        );
        rows.end_flush();
        check(None, "1");
        let mut flushing = rows.begin_flush();
        assert_eq!(flushing.sorted().collect::<Vec<_>>(), [(&b"a"[..], None)]);
        rows.end_flush();
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
    fn the_cache_is_bounded_and_changes_stay() {
        let rows = HotRows::new(10 << 10);
        let key = |n: u32| Bytes::copy_from_slice(&n.to_be_bytes());
        let read = |from: u32| {
            for n in from..from + 1_000 {
                rows.get(&n.to_be_bytes(), || Some(Bytes::from(vec![0; 1_000])));
            }
        };
        read(0);
        assert!((5 << 10..=10 << 10).contains(&rows.lock().cached_bytes));
        rows.write((0..100).map(|n| (key(n), Some(Bytes::from(vec![1; 1_000])))));
        read(1_000);
        let unchanged = || (0..100).all(|n| rows.get(&key(n), || panic!("{n} is gone")).unwrap()[0] == 1);
        assert!(unchanged());
        let flushing = rows.begin_flush();
        read(2_000);
        assert!(unchanged());
        // One is changed again meanwhile, and counts once.
        rows.write([(key(7), None)]);
        drop(flushing);
        rows.end_flush();
        let held = rows.lock();
        assert!(held.cached_bytes <= 10 << 10);
        let of = |wanted: bool| {
            let rows = held
                .rows
                .iter()
                .filter(move |(_, held)| (held.generation > 1) == wanted);
            rows.map(|(key, held)| weight(key, held.row.as_ref())).sum::<u64>()
        };
        assert_eq!((of(false), of(true)), (held.cached_bytes, held.active.bytes()));
        assert_eq!(held.rows.len(), held.turn.len());
    }
}
