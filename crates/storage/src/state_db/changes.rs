//! Rows that were written and are not in the database yet.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use aumbry_state::key;
use bytes::Bytes;
use quick_cache::DefaultHashBuilder;

/// What was written since some moment: the last change of each row.
///
/// Most rows are found by their keys alone and are kept without an order, which takes a tenth of the time of keeping one.
#[derive(Default)]
pub(crate) struct Changes {
    scanned: BTreeMap<Bytes, Option<Bytes>>,
    others: HashMap<Bytes, Option<Bytes>, DefaultHashBuilder>,
    bytes: u64,
}

impl Changes {
    /// No changes, with room for as many as there are in these.
    pub(crate) fn sized_as(other: &Self) -> Self {
        Self {
            others: HashMap::with_capacity_and_hasher(other.others.len(), DefaultHashBuilder::default()),
            ..Self::default()
        }
    }

    /// Writes (`Some`) or removes a row. Its memory is its own: a key can be a part of a whole log entry, which must not be kept for it.
    pub(crate) fn set(&mut self, key: &[u8], row: Option<Bytes>) {
        self.bytes += CHANGE_BYTES + (key.len() + row.as_ref().map_or(0, Bytes::len)) as u64;
        let key = Bytes::copy_from_slice(key);
        if key::is_scanned(&key) {
            self.scanned.insert(key, row);
        } else {
            self.others.insert(key, row);
        }
    }

    /// The last change of a row, if there was one.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        if key::is_scanned(key) {
            self.scanned.get(key)
        } else {
            self.others.get(key)
        }
    }

    /// The changes of a prefix after a key, in order of keys.
    pub(crate) fn below<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
    ) -> Box<dyn Iterator<Item = (Bytes, Option<Bytes>)> + 'a> {
        let owned = |(key, row): (&Bytes, &Option<Bytes>)| (key.clone(), row.clone());
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let scanned = self
            .scanned
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(owned);
        if key::is_scanned(prefix) {
            return Box::new(scanned);
        }
        // Rare: all rows of a table that is not scanned otherwise.
        let is_below = |key: &Bytes| key.starts_with(prefix) && after.is_none_or(|after| **key > *after);
        let others = self.others.iter().filter(|(key, _)| is_below(key)).map(owned);
        let mut all: Vec<_> = scanned.chain(others).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Box::new(all.into_iter())
    }

    /// All changes, in order of keys.
    pub(crate) fn sorted(&self) -> Vec<(&Bytes, Option<&Bytes>)> {
        let all = self.scanned.iter().chain(&self.others);
        let mut all: Vec<_> = all.map(|(key, row)| (key, row.as_ref())).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.scanned.is_empty() && self.others.is_empty()
    }

    /// About what they take.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a change takes beside its key and row.
const CHANGE_BYTES: u64 = 128;
