//! The transport of a sink with its cursor, in step.

use aumbry_storage::DataDir;
use zeroize::Zeroizing;

use super::SinkError;
use super::cursor::Cursor;
use super::lines::Rendered;
use super::output::Place;

/// Consecutive records, as their transport frames them. They name secrets, so the bytes are wiped.
pub(super) struct Batch {
    pub(super) lines: Zeroizing<Vec<u8>>,
    /// The first record.
    pub(super) first: u64,
    /// The record after the last one.
    pub(super) next: u64,
    /// The hash of the last leaf, in hex.
    pub(super) leaf: String,
    /// The cluster whose records they are.
    pub(super) cluster: String,
}

/// A way for records to go. It may block; nothing but its own sink waits for it.
pub(super) trait Transport: Send + 'static {
    /// Adds a record to the bytes of a batch.
    fn frame(&self, record: &Rendered<'_>, into: &mut Vec<u8>);

    /// Brings a batch to where it belongs. When this returns, it is durable there, or whoever is there has said that it has all of it.
    ///
    /// A transport whose records have places is told that of the last one, stores with `keep` where the batch is about to stand, and gives
    /// where it ends.
    ///
    /// # Errors
    /// [`SinkError`]; the same batch, or a longer one that begins with it, is delivered again later.
    fn deliver(
        &mut self,
        place: Option<Place>,
        batch: &Batch,
        keep: &mut dyn FnMut(Place) -> Result<(), SinkError>,
    ) -> Result<Option<Place>, SinkError>;

    /// There is nothing to do for a while.
    fn idle(&mut self) {}

    /// Somebody asks to look at everything anew.
    fn reload(&mut self) {}
}

/// Delivers batches. Invariant: `cursor` is the one that is stored, or it was not stored yet.
pub(super) struct Writer<T> {
    output: T,
    cursor: Cursor,
}

impl<T: Transport> Writer<T> {
    pub(super) const fn new(output: T, cursor: Cursor) -> Self {
        Self { output, cursor }
    }

    pub(super) const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    pub(super) const fn transport(&mut self) -> &mut T {
        &mut self.output
    }

    /// Goes on with a later record, because those before were pruned.
    pub(super) fn skip_to(&mut self, data: &DataDir, next: u64) -> Result<(), SinkError> {
        self.cursor.skip_to(data, next)
    }

    /// Delivers the batch that begins at the cursor; once it is durable, so is the cursor behind it.
    ///
    /// # Errors
    /// [`SinkError`]; the cursor is where it was, and the batch is to be delivered again.
    pub(super) fn put(&mut self, data: &DataDir, batch: &Batch) -> Result<(), SinkError> {
        let (cursor, output) = (&mut self.cursor, &mut self.output);
        let before = cursor.place;
        let keep = &mut |place| match cursor.place == Some(place) {
            true => Ok(()),
            false => store(cursor, data, |cursor| cursor.place = Some(place)),
        };
        let place = output.deliver(before, batch, keep)?;
        store(&mut self.cursor, data, |cursor| {
            cursor.next = batch.next;
            cursor.leaf.clone_from(&batch.leaf);
            cursor.place = place;
        })
    }
}

fn store(current: &mut Cursor, data: &DataDir, change: impl FnOnce(&mut Cursor)) -> Result<(), SinkError> {
    let mut cursor = current.clone();
    change(&mut cursor);
    cursor.save(data)?;
    *current = cursor;
    Ok(())
}

#[cfg(test)]
mod tests;
