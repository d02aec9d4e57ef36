//! Which indexes the log holds, as the last call left it: pure bookkeeping.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;

/// The indexes and sizes of the retained entries, and the entries that are not in the database yet.
///
/// Invariant: the unwritten entries are the last ones, because they are written in order.
#[derive(Debug, Default)]
pub(crate) struct Window {
    first: u64,
    sizes: VecDeque<u32>,
    bytes: u64,
    /// One past the highest purged index, if the log was ever purged.
    purged_end: Option<u64>,
    unwritten: BTreeMap<u64, (u64, Bytes)>,
}

impl Window {
    pub(crate) fn new(purged_end: Option<u64>) -> Self {
        Self {
            purged_end,
            ..Self::default()
        }
    }

    /// The index that the next entry must have; none if any will do.
    pub(crate) fn next(&self) -> Option<u64> {
        self.last().map(|last| last + 1).or(self.purged_end)
    }

    /// One past the highest purged index, if the log was ever purged.
    pub(crate) const fn purged_end(&self) -> Option<u64> {
        self.purged_end
    }

    /// One past the highest index that this log knows of, retained or purged.
    pub(crate) fn end(&self) -> u64 {
        self.next().unwrap_or(0)
    }

    pub(crate) fn first(&self) -> Option<u64> {
        (!self.sizes.is_empty()).then_some(self.first)
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.first().map(|first| first + self.sizes.len() as u64 - 1)
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes the retained entries after `index` have.
    pub(crate) fn bytes_after(&self, index: u64) -> u64 {
        let skipped = (index + 1).saturating_sub(self.first).min(self.sizes.len() as u64);
        self.sizes
            .iter()
            .skip(skipped as usize)
            .map(|size| u64::from(*size))
            .sum()
    }

    /// The first index of the longest end of the log that has at most so many bytes; one past the last index if that is nothing.
    pub(crate) fn tail(&self, bytes: u64) -> u64 {
        let mut sum = 0;
        let fits = |size: &&u32| {
            sum += u64::from(**size);
            sum <= bytes
        };
        let kept = self.sizes.iter().rev().take_while(fits).count();
        self.first + (self.sizes.len() - kept) as u64
    }

    /// The part of `range` that is there.
    pub(crate) fn clip(&self, range: Range<u64>) -> Range<u64> {
        let end = self.first + self.sizes.len() as u64;
        range.start.max(self.first)..range.end.min(end)
    }

    /// The first index that is not in the database yet, if there is one.
    pub(crate) fn first_unwritten(&self) -> Option<u64> {
        self.unwritten.first_key_value().map(|(index, _)| *index)
    }

    /// The entry, if it is not in the database yet.
    pub(crate) fn unwritten(&self, index: u64) -> Option<&Bytes> {
        self.unwritten.get(&index).map(|(_, bytes)| bytes)
    }

    /// Adds an entry that is in the database. The index must be [`Self::next`].
    pub(crate) fn push_written(&mut self, index: u64, size: usize) {
        if self.sizes.is_empty() {
            self.first = index;
        }
        // An entry is far smaller; a wrong sum of sizes would do no harm.
        self.sizes.push_back(u32::try_from(size).unwrap_or(u32::MAX));
        self.bytes += size as u64;
    }

    /// Adds an entry that is on its way to the database, in the job with this number. The index must be [`Self::next`].
    pub(crate) fn push(&mut self, index: u64, bytes: Bytes, job: u64) {
        self.push_written(index, bytes.len());
        self.unwritten.insert(index, (job, bytes));
    }

    /// Forgets the copies of entries that the job has written. A later entry with the same index, after a truncation, is of another job and stays.
    pub(crate) fn written(&mut self, job: u64, indexes: Range<u64>) {
        for index in indexes {
            if self.unwritten.get(&index).is_some_and(|(by, _)| *by == job) {
                self.unwritten.remove(&index);
            }
        }
    }

    /// Removes all entries from `index` on.
    pub(crate) fn truncate(&mut self, index: u64) {
        let keep = index.saturating_sub(self.first).min(self.sizes.len() as u64);
        while self.sizes.len() as u64 > keep {
            self.bytes -= self.sizes.pop_back().map_or(0, u64::from);
        }
        self.unwritten.split_off(&index);
    }

    /// Removes all entries up to and with `index`, which may be beyond the last one.
    pub(crate) fn purge(&mut self, index: u64) {
        while !self.sizes.is_empty() && self.first <= index {
            self.bytes -= self.sizes.pop_front().map_or(0, u64::from);
            self.first += 1;
        }
        self.unwritten = self.unwritten.split_off(&(index + 1));
        self.purged_end = self.purged_end.max(Some(index + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(indexes: Range<u64>) -> Window {
        let mut window = Window::default();
        for index in indexes {
            window.push(index, Bytes::from_static(b"four"), 1);
        }
        window
    }

    #[test]
    fn truncate_and_purge_keep_the_bounds() {
        let mut window = with(3..10);
        assert_eq!((window.first(), window.last(), window.bytes()), (Some(3), Some(9), 28));
        window.truncate(8);
        window.purge(4);
        assert_eq!((window.first(), window.last(), window.bytes()), (Some(5), Some(7), 12));
        assert_eq!(window.clip(0..100), 5..8);
        assert_eq!([0, 5, 6, 7, 9].map(|index| window.bytes_after(index)), [12, 8, 4, 0, 0]);
        assert_eq!([0, 4, 11, 12, 99].map(|bytes| window.tail(bytes)), [8, 7, 6, 5, 5]);
        window.truncate(2);
        assert_eq!((window.first(), window.next(), window.bytes()), (None, Some(5), 0));
        window.purge(20);
        assert_eq!((window.next(), window.end()), (Some(21), 21));
        window.purge(7);
        assert_eq!(window.next(), Some(21), "a purge never goes back");
    }

    #[test]
    fn a_job_forgets_only_its_own_entries() {
        let mut window = with(0..4);
        window.truncate(2);
        window.push(2, Bytes::from_static(b"other"), 2);
        window.written(1, 0..4);
        assert_eq!(window.first_unwritten(), Some(2));
        assert_eq!(window.unwritten(2).unwrap(), "other");
    }
}
