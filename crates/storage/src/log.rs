//! What consensus needs of a log: durable in the order of the calls, without holding up the caller.

use std::io;
use std::ops::Range;

use bytes::Bytes;

/// Called once, when a call is durable. An error means that the call was refused.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A small value beside the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Meta {
    /// The vote.
    Vote = 0,
    /// The highest committed position, a hint.
    Committed = 1,
    /// The last purged position, as [`Log::purge_to`] was given it, which alone stores it.
    Purged = 2,
}

impl Meta {
    /// The value with this number.
    pub(crate) const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Vote),
            1 => Some(Self::Committed),
            2 => Some(Self::Purged),
            _ => None,
        }
    }
}

/// A Raft log. [`crate::Wal`] is the one on the disk; tests and simulations bring their own.
///
/// Calls take effect in memory at once, and on the disk in the order of the calls. A callback is called exactly once, in order, when its call and all
/// calls before it are durable.
pub trait Log: Send + Sync {
    /// Appends entries, which can be read at once; `done` is called when they are durable.
    ///
    /// The indexes must go on from the last one, or from the last purged one; the first entry of a log that was never purged may have any index.
    /// Otherwise nothing is appended, and `done` is called at once with an error: that is a fault of the caller, and debug builds panic.
    ///
    /// This never blocks. The queue is bounded by what the caller leaves unconfirmed; far beyond any sane amount (1 GiB) the process ends.
    fn append(&self, entries: Vec<(u64, Bytes)>, done: Done);

    /// The entries of `range` that are there, in order. It stops when `max_bytes` are exceeded, but not before the first entry.
    ///
    /// A damaged entry or an error of the disk ends the process.
    #[must_use]
    fn read(&self, range: Range<u64>, max_bytes: usize) -> Vec<(u64, Bytes)>;

    /// The highest index that is there.
    #[must_use]
    fn last_index(&self) -> Option<u64>;

    /// The lowest index that is there.
    #[must_use]
    fn first_index(&self) -> Option<u64>;

    /// Removes all entries from `index` on. Durable before the callback of any later call.
    fn truncate_from(&self, index: u64);

    /// Removes all entries up to and with `index`, and stores `marker` as [`Meta::Purged`] with it.
    ///
    /// `index` may be beyond the last entry, after a snapshot was installed: the log is then empty and goes on at `index + 1`. A purge below an
    /// earlier one does nothing.
    fn purge_to(&self, index: u64, marker: Bytes);

    /// Stores a small value. With a callback it is durable before that is called; without, it is durable with the next call that is.
    fn put_meta(&self, key: Meta, value: Bytes, done: Option<Done>);

    /// Calls back when everything before is durable.
    fn sync(&self, done: Done);

    /// From now on what is appended goes to files in which nothing was ever written before, and the files of what came before are removed once all of it
    /// is purged. Does not wait.
    fn renew(&self);

    /// Whether no file holds anything from before the last [`Self::renew`].
    #[must_use]
    fn is_renewed(&self) -> bool;

    /// A small value, as it was last stored.
    #[must_use]
    fn meta(&self, key: Meta) -> Option<Bytes>;

    /// How often the disk was asked to make something durable since the log was opened.
    #[must_use]
    fn fsyncs(&self) -> u64;

    /// The size of the retained entries in bytes, without what the store adds.
    #[must_use]
    fn bytes(&self) -> u64;

    /// As [`Self::bytes`], of the entries after `index`.
    #[must_use]
    fn bytes_after(&self, index: u64) -> u64;

    /// The first index of the longest end of the log that has at most so many bytes; one past the last index if that is nothing.
    #[must_use]
    fn tail(&self, bytes: u64) -> u64;
}
