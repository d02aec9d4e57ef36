//! The log: the floor, the small values, every entry.

use std::path::Path;

use bytes::Bytes;

use super::{Check, Meter, Part};
use crate::StorageError;
use crate::floor::{Floor, Mark};
use crate::wal::{self, Image, compare};

/// What a log holds.
#[derive(Debug, Clone, Default)]
pub struct LogFacts {
    /// The first entry that is there.
    pub first: Option<u64>,
    /// The last entry that is there.
    pub last: Option<u64>,
    /// Up to where it was purged.
    pub purged: Option<u64>,
    /// [`crate::Meta::Vote`], [`crate::Meta::Committed`] and [`crate::Meta::Purged`].
    pub meta: [Option<Bytes>; 3],
}

impl LogFacts {
    /// One past the last index, retained or purged; 0 for a log that never held anything.
    #[must_use]
    pub fn end(&self) -> u64 {
        let last = self.last.max(self.purged);
        last.map_or(0, |last| last + 1)
    }
}

impl Check<'_> {
    /// Reads the log in `dir`; `each` gets its entries in order and may complain about one.
    pub fn log(&mut self, dir: &Path, mut each: impl FnMut(u64, Bytes) -> Result<(), String>) -> LogFacts {
        let floor = self.floor(&wal::floor_in(dir));
        let image = match Image::read(dir) {
            Ok(image) => image,
            Err(error) => {
                self.find_error(Part::Log, error);
                return LogFacts::default();
            }
        };
        let Some(mut image) = image else {
            if floor != Mark::default() {
                self.find(Part::Log, &wal::segments_in(dir), "it is missing");
            }
            return LogFacts::default();
        };
        if let Some(cut) = image.take_cut() {
            self.find_error(Part::Log, cut);
        }
        if let Err(error) = self.read_entries(&image, &mut each) {
            self.find_error(Part::Log, error);
        }
        if !self.has(Part::Log)
            && let Err(error) = compare(dir, floor, image.end(), image.votes())
        {
            self.find_error(Part::Log, error);
        }
        LogFacts {
            first: image.entries().next(),
            last: image.entries().next_back(),
            purged: image.purged_end().map(|end| end - 1),
            meta: image.meta().clone(),
        }
    }

    fn floor(&mut self, path: &Path) -> Mark {
        match Floor::look(path) {
            Ok(Some((mark, is_whole))) => {
                if !is_whole {
                    let slot = format!("one of the two slots of {} is damaged", path.display());
                    self.note(format!("{slot}; the other one stands, and the next write replaces it"));
                }
                mark
            }
            Ok(None) => {
                self.find(Part::Floor, path, "it is missing");
                Mark::default()
            }
            Err(error) => {
                self.find_error(Part::Floor, error);
                Mark::default()
            }
        }
    }

    /// The scan has checked every byte of every frame already; this reads the entries once more, for what they mean.
    fn read_entries(
        &mut self,
        image: &Image,
        each: &mut dyn FnMut(u64, Bytes) -> Result<(), String>,
    ) -> Result<(), StorageError> {
        let mut meter = Meter::new();
        for index in image.entries() {
            let bytes = image.entry(index)?;
            meter.add(self, Part::Log, bytes.len());
            if let Err(what) = each(index, bytes) {
                let (path, at) = image.place(index);
                return Err(StorageError::damaged(
                    &path,
                    format!("log entry {index}, at byte {at}: {what}"),
                ));
            }
        }
        meter.end(self, Part::Log);
        Ok(())
    }
}
