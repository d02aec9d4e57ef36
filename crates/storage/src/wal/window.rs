//! Which entries the log holds, where they are on the disk, and the newest of them: as the last call left it. Pure bookkeeping.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In memory only, in the job with this number.
    Queued(u64),
    /// In a segment, at this offset.
    Stored { segment: u64, offset: u32 },
    /// In a segment that is not there any more: the entry must be purged, or it is lost.
    Gone,
}

/// The places and sizes of the retained entries, and a bounded end of them in memory.
///
/// Invariant: the queued entries are the last ones, because they are written in order, and they are all in memory.
#[derive(Debug, Default)]
pub(super) struct Window {
    first: u64,
    slots: VecDeque<(Place, u32)>,
    bytes: u64,
    /// One past the highest purged index, if the log was ever purged.
    purged_end: Option<u64>,
    /// The last entries.
    cache: VecDeque<Bytes>,
    cache_bytes: usize,
    cache_bytes_max: usize,
}

impl Window {
    pub(super) fn new(purged_end: Option<u64>, cache_bytes_max: usize) -> Self {
        Self {
            purged_end,
            cache_bytes_max,
            ..Self::default()
        }
    }

    /// Begins with entries whose places are gone.
    pub(super) fn restart(&mut self, purged_end: Option<u64>, entries: Range<u64>) {
        *self = Self::new(purged_end, self.cache_bytes_max);
        for index in entries {
            self.push_stored(index, Place::Gone, 0);
        }
    }

    /// The index that the next entry must have; none if any will do.
    pub(super) fn next(&self) -> Option<u64> {
        self.last().map(|last| last + 1).or(self.purged_end)
    }

    /// One past the highest purged index, if the log was ever purged.
    pub(super) const fn purged_end(&self) -> Option<u64> {
        self.purged_end
    }

    pub(super) fn first(&self) -> Option<u64> {
        (!self.slots.is_empty()).then_some(self.first)
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.first().map(|first| first + self.slots.len() as u64 - 1)
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes the retained entries after `index` have.
    pub(super) fn bytes_after(&self, index: u64) -> u64 {
        let skipped = (index + 1).saturating_sub(self.first).min(self.slots.len() as u64);
        self.slots
            .iter()
            .skip(skipped as usize)
            .map(|(_, size)| u64::from(*size))
            .sum()
    }

    /// The first index of the longest end of the log that has at most so many bytes; one past the last index if that is nothing.
    pub(super) fn tail(&self, bytes: u64) -> u64 {
        let mut sum = 0;
        let fits = |slot: &&(Place, u32)| {
            sum += u64::from(slot.1);
            sum <= bytes
        };
        let kept = self.slots.iter().rev().take_while(fits).count();
        self.first + (self.slots.len() - kept) as u64
    }

    /// The part of `range` that is there, up to the first entry that `max_bytes` have no room for; at least one entry.
    pub(super) fn clip(&self, range: Range<u64>, max_bytes: usize) -> Range<u64> {
        let end = range.end.min(self.first + self.slots.len() as u64);
        let start = range.start.max(self.first);
        let mut rest = max_bytes;
        for index in start..end {
            let (_, size) = self.slot(index);
            match rest.checked_sub(size as usize) {
                Some(left) => rest = left,
                None => return start..index.max(start + 1),
            }
        }
        start..end
    }

    /// Where a retained entry is, and its size.
    pub(super) fn slot(&self, index: u64) -> (Place, u32) {
        self.slots[(index - self.first) as usize]
    }

    /// A retained entry, if it is in memory.
    pub(super) fn cached(&self, index: u64) -> Option<&Bytes> {
        let before = self.slots.len() - self.cache.len();
        let at = ((index - self.first) as usize).checked_sub(before)?;
        self.cache.get(at)
    }

    /// Adds an entry that is on the disk. The index must be [`Self::next`], and none may be in memory.
    pub(super) fn push_stored(&mut self, index: u64, place: Place, size: u32) {
        if self.slots.is_empty() {
            self.first = index;
        }
        self.slots.push_back((place, size));
        self.bytes += u64::from(size);
    }

    /// Adds an entry that is on its way to the disk, in the job with this number. The index must be [`Self::next`].
    pub(super) fn push(&mut self, index: u64, bytes: Bytes, job: u64) {
        // An entry is far smaller: the queue is.
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.push_stored(index, Place::Queued(job), size);
        self.cache_bytes += bytes.len();
        self.cache.push_back(bytes);
    }

    /// Notes where the job has written an entry. A later entry with the same index, after a truncation, is of another job and stays.
    pub(super) fn stored(&mut self, job: u64, index: u64, segment: u64, offset: u32) {
        let slot = index
            .checked_sub(self.first)
            .and_then(|at| self.slots.get_mut(at as usize));
        if let Some((place, _)) = slot
            && *place == Place::Queued(job)
        {
            *place = Place::Stored { segment, offset };
        }
    }

    /// Drops the oldest entries from memory that are beyond its bound and on the disk.
    pub(super) fn evict(&mut self) {
        while self.cache_bytes > self.cache_bytes_max {
            let oldest = self.slots.get(self.slots.len() - self.cache.len());
            if matches!(oldest, None | Some((Place::Queued(_), _))) {
                break;
            }
            self.cache_bytes -= self.cache.pop_front().map_or(0, |bytes| bytes.len());
        }
    }

    /// Removes all entries from `index` on.
    pub(super) fn truncate(&mut self, index: u64) {
        let keep = index.saturating_sub(self.first).min(self.slots.len() as u64);
        while self.slots.len() as u64 > keep {
            self.bytes -= self.slots.pop_back().map_or(0, |(_, size)| u64::from(size));
            self.cache_bytes -= self.cache.pop_back().map_or(0, |bytes| bytes.len());
        }
    }

    /// Removes all entries up to and with `index`, which may be beyond the last one.
    pub(super) fn purge(&mut self, index: u64) {
        while !self.slots.is_empty() && self.first <= index {
            if self.cache.len() == self.slots.len() {
                self.cache_bytes -= self.cache.pop_front().map_or(0, |bytes| bytes.len());
            }
            self.bytes -= self.slots.pop_front().map_or(0, |(_, size)| u64::from(size));
            self.first += 1;
        }
        self.purged_end = self.purged_end.max(Some(index + 1));
    }

    /// The first retained entry that is in no segment any more.
    pub(super) fn first_gone(&self) -> Option<u64> {
        self.first().filter(|first| self.slot(*first).0 == Place::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(indexes: Range<u64>) -> Window {
        let mut window = Window::new(None, 8);
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
        assert_eq!(window.clip(0..100, 100), 5..8);
        assert_eq!(
            [0, 3, 4, 7, 8, 12].map(|bytes| window.clip(0..100, bytes).end),
            [6, 6, 6, 6, 7, 8]
        );
        assert_eq!([0, 5, 6, 7, 9].map(|index| window.bytes_after(index)), [12, 8, 4, 0, 0]);
        assert_eq!([0, 4, 11, 12, 99].map(|bytes| window.tail(bytes)), [8, 7, 6, 5, 5]);
        window.truncate(2);
        assert_eq!((window.first(), window.next(), window.bytes()), (None, Some(5), 0));
        window.purge(20);
        assert_eq!((window.next(), window.purged_end()), (Some(21), Some(21)));
        window.purge(7);
        assert_eq!(window.next(), Some(21), "a purge never goes back");
        assert_eq!((window.cache.len(), window.cache_bytes), (0, 0));
    }

    #[test]
    fn a_job_places_only_its_own_entries_and_memory_keeps_what_is_queued() {
        let mut window = with(0..4);
        window.truncate(2);
        window.push(2, Bytes::from_static(b"other"), 2);
        for index in 0..4 {
            window.stored(1, index, 7, 100);
        }
        let stored = Place::Stored {
            segment: 7,
            offset: 100,
        };
        assert_eq!(window.slot(1), (stored, 4));
        assert_eq!(window.slot(2), (Place::Queued(2), 5));
        for index in 3..6 {
            window.push(index, Bytes::from_static(b"four"), 2);
        }
        window.evict();
        assert_eq!(window.cached(1), None);
        assert_eq!(window.cached(2).unwrap(), "other");
        for index in 2..6 {
            window.stored(2, index, 7, 100);
        }
        window.evict();
        assert_eq!(
            [2, 3, 4, 5].map(|index| window.cached(index).is_some()),
            [false, false, true, true]
        );
        window.purge(4);
        assert_eq!((window.cached(5).unwrap().len(), window.cache_bytes), (4, 4));
    }
}
