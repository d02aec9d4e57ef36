//! The output of a sink with its cursor, in step.

use aumbry_storage::DataDir;
use zeroize::Zeroizing;

use super::SinkError;
use super::cursor::Cursor;
use super::output::{Output, Place, Prepared};

/// Consecutive records as lines. They name secrets, so the bytes are wiped.
pub(super) struct Batch {
    pub(super) lines: Zeroizing<Vec<u8>>,
    /// The record after the last one.
    pub(super) next: u64,
    /// The hash of the last leaf, in hex.
    pub(super) leaf: String,
}

/// Writes batches. Invariant: `cursor` is the one that is stored, or it was not stored yet.
pub(super) struct Writer {
    output: Output,
    cursor: Cursor,
}

impl Writer {
    pub(super) const fn new(output: Output, cursor: Cursor) -> Self {
        Self { output, cursor }
    }

    pub(super) const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Writes the batch that begins at the cursor; once it is durable, so is the cursor behind it.
    ///
    /// # Errors
    /// [`SinkError`]; the cursor is where it was, and the batch is to be written again.
    pub(super) fn put(&mut self, data: &DataDir, batch: &Batch) -> Result<(), SinkError> {
        let place = match self.output.prepare(self.cursor.place, &batch.lines)? {
            Prepared::Written(place) => place,
            Prepared::At(place) => {
                if self.cursor.place != Some(place) {
                    self.store(data, |cursor| cursor.place = Some(place))?;
                }
                self.output.append(place, &batch.lines)?
            }
        };
        self.passed(data, batch, place)
    }

    /// Begins anew with the first record.
    ///
    /// # Errors
    /// [`SinkError`]
    pub(super) fn restart(&mut self, data: &DataDir, cluster: String) -> Result<(), SinkError> {
        self.store(data, |cursor| {
            cursor.cluster = cluster;
            cursor.next = 0;
            cursor.leaf.clear();
        })
    }

    /// Goes on with the log of another cluster, which is the same up to here.
    ///
    /// # Errors
    /// [`SinkError`]
    pub(super) fn move_to(&mut self, data: &DataDir, cluster: String) -> Result<(), SinkError> {
        self.store(data, |cursor| cursor.cluster = cluster)
    }

    /// Lets go of a file that was renamed or removed.
    pub(super) fn release(&mut self) {
        self.output.release();
    }

    fn passed(&mut self, data: &DataDir, batch: &Batch, place: Place) -> Result<(), SinkError> {
        self.store(data, |cursor| {
            cursor.next = batch.next;
            cursor.leaf.clone_from(&batch.leaf);
            cursor.place = Some(place);
        })
    }

    fn store(&mut self, data: &DataDir, change: impl FnOnce(&mut Cursor)) -> Result<(), SinkError> {
        let mut cursor = self.cursor.clone();
        change(&mut cursor);
        cursor.save(data)?;
        self.cursor = cursor;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
