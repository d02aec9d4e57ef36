//! Rows that were written and are not in the database yet.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use aumbry_state::key;
use bytes::Bytes;

/// What was written since some moment: the last change of each row.
#[derive(Default)]
pub(crate) struct Changes {
    rows: Vec<(Arc<[u8]>, Option<Bytes>)>,
    pub(crate) keys: Keys,
    bytes: u64,
}

impl Changes {
    /// Writes (`Some`) or removes a row that was not changed yet. Gives its place.
    pub(crate) fn push(&mut self, key: &Arc<[u8]>, row: Option<Bytes>) -> usize {
        self.bytes += weight(key, row.as_ref());
        self.keys.insert(key);
        self.rows.push((Arc::clone(key), row));
        self.rows.len() - 1
    }

    /// Changes the row at a place again.
    pub(crate) fn replace(&mut self, place: usize, row: Option<Bytes>) {
        let (key, before) = &mut self.rows[place];
        self.bytes -= weight(key, before.as_ref());
        self.bytes += weight(key, row.as_ref());
        *before = row;
    }

    /// All changes, in order of keys.
    pub(crate) fn sorted(&mut self) -> impl Iterator<Item = (&[u8], Option<&Bytes>)> {
        self.rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.rows.iter().map(|(key, row)| (&**key, row.as_ref()))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// About what they take.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Keys of changes in order, of the tables that are scanned. To keep an order of all would take ten times as long as to keep none.
#[derive(Default)]
pub(crate) struct Keys(BTreeSet<Arc<[u8]>>);

impl Keys {
    fn insert(&mut self, key: &Arc<[u8]>) {
        if key::is_scanned(key) {
            self.0.insert(Arc::clone(key));
        }
    }

    /// Those of a prefix after a key.
    pub(crate) fn below<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
    ) -> impl Iterator<Item = &'a Arc<[u8]>> + 'a {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.0
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(move |key| key.starts_with(prefix))
    }
}

/// About what a row takes in memory with its key.
pub(crate) fn weight(key: &[u8], row: Option<&Bytes>) -> u64 {
    ROW_BYTES + (key.len() + row.map_or(0, Bytes::len)) as u64
}

/// What a row takes beside its key and bytes.
const ROW_BYTES: u64 = 192;
