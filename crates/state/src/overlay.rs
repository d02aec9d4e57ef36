//! Changes on top of a view: what commands before this one did, before any of it is in the database.
//!
//! Apply uses it within a call. The leader uses it for commands in flight, so that plans see what is about to be.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::View;
use crate::merge::merge_scan;

/// A view with changes. Each change carries a tag, in rising order, so that the oldest can be let go once they are in the view.
pub struct Overlay<V> {
    base: V,
    tag: u64,
    changes: BTreeMap<Bytes, Change>,
    /// Whether changes that are not held here may still reach the view beneath.
    distrusted: bool,
}

struct Change {
    tag: u64,
    row: Option<Bytes>,
    /// What the view beneath has, if that is known.
    before: Option<Option<Bytes>>,
}

impl<'a, V: std::ops::Deref<Target = dyn View + 'a>> Overlay<V> {
    /// No changes yet.
    pub const fn new(base: V) -> Self {
        Self {
            base,
            tag: 0,
            changes: BTreeMap::new(),
            distrusted: false,
        }
    }

    /// Says that changes which were forgotten may still reach the view beneath, at any moment. Until something settles, every row counts
    /// as changed: what settles comes after them in the log.
    pub const fn distrust(&mut self) {
        self.distrusted = true;
    }

    /// Sets the tag of the changes that follow.
    pub const fn set_tag(&mut self, tag: u64) {
        self.tag = tag;
    }

    /// Writes (`Some`) or removes a row.
    pub fn set(&mut self, key: Bytes, row: Option<Bytes>) {
        self.set_over(key, row, None);
    }

    /// As [`Self::set`]; `before` is the row as it was until now, if that is known.
    pub(crate) fn set_over(&mut self, key: Bytes, row: Option<Bytes>, before: Option<Option<Bytes>>) {
        let tag = self.tag;
        match self.changes.entry(key) {
            Entry::Vacant(place) => {
                place.insert(Change { tag, row, before });
            }
            Entry::Occupied(mut change) => {
                let change = change.get_mut();
                (change.tag, change.row) = (tag, row);
            }
        }
    }

    /// Forgets the changes with tags up to this one: the view beneath has them now, or never will.
    pub fn settle(&mut self, tag: u64) {
        self.distrusted = false;
        self.changes.retain(|_, change| change.tag > tag);
    }

    /// Forgets all changes.
    pub fn clear(&mut self) {
        self.changes.clear();
    }

    /// Whether the row was changed here, or may change beneath.
    pub fn is_changed(&self, key: &[u8]) -> bool {
        self.distrusted || self.changes.contains_key(key)
    }

    /// The changes, in order of keys. `over` hears of those whose keys `is_heard` picks: the row beneath, and the row now.
    pub(crate) fn into_changes(
        self,
        is_heard: impl Fn(&[u8]) -> bool,
        mut over: impl FnMut(&[u8], Option<&Bytes>, Option<&Bytes>),
    ) -> Vec<(Bytes, Option<Bytes>)> {
        let changes = self.changes.into_iter();
        let row = |(key, change): (Bytes, Change)| {
            if is_heard(&key) {
                let before = change.before.unwrap_or_else(|| self.base.get(&key));
                over(&key, before.as_ref(), change.row.as_ref());
            }
            (key, change.row)
        };
        changes.map(row).collect()
    }

    /// The row, changed or not.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        match self.changes.get(key) {
            Some(change) => change.row.clone(),
            None => self.base.get(key),
        }
    }

    /// As [`View::scan`].
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let changes = self
            .changes
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, change)| (key.clone(), change.row.clone()));
        merge_scan(
            |after, limit| self.base.scan(prefix, after, limit),
            changes,
            after,
            limit,
        )
    }
}

impl View for Overlay<Arc<dyn View>> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        Self::get(self, key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        Self::scan(self, prefix, after, limit)
    }
}
