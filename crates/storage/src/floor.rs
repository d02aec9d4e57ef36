//! The floor: how far this node has told others that its log is durable.
//!
//! A disk, or what stands between it and us, can lose whole writes that it had confirmed, and RocksDB cannot tell a log that lost its end from a
//! shorter one. A voter that forgets an acknowledged entry can help to elect a leader without it, and a committed write is gone ("Protocol-Aware
//! Recovery for Consensus-Based Storage", FAST 2018). So the end of what was acknowledged is kept in a file of its own, and a log that ends before
//! it is not opened.
//!
//! The file has two slots that are written in turn: a torn write leaves the other one. The floor may lag behind the acknowledgements, so a loss of
//! the last second can go unnoticed; it is never ahead of what the log has.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{StorageError, fatal, files};

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// One past the highest index that was acknowledged; 0 if there was none.
    pub(crate) end: u64,
    /// How often the log was truncated.
    pub(crate) truncations: u64,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Floor {
    path: PathBuf,
    file: File,
    mark: Mark,
    /// How often the file was written; its parity is the slot.
    sequence: u64,
}

impl Floor {
    /// Makes the file of a log that has acknowledged nothing.
    pub(crate) fn create(path: &Path) -> Result<(), StorageError> {
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        bytes[..RECORD_BYTES].copy_from_slice(&encode(0, Mark::default()));
        files::write_atomic(path, &bytes)
    }

    /// Opens the file; none if there is no such file.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = files::read(path)? else {
            return Ok(None);
        };
        let newest = bytes
            .chunks(SLOT_BYTES)
            .filter_map(decode)
            .max_by_key(|(sequence, _)| *sequence);
        let Some((sequence, mark)) = newest else {
            return Err(StorageError::damaged(path, "neither of its slots is whole"));
        };
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(StorageError::io("open", path))?;
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            mark,
            sequence,
        }))
    }

    pub(crate) const fn mark(&self) -> Mark {
        self.mark
    }

    /// Writes another mark durably. An error ends the process.
    pub(crate) fn set(&mut self, mark: Mark) {
        self.sequence += 1;
        let offset = (self.sequence % 2) * SLOT_BYTES as u64;
        let written = self
            .file
            .write_all_at(&encode(self.sequence, mark), offset)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            fatal(&format!("cannot write {}", self.path.display()), error);
        }
        self.mark = mark;
    }
}

fn encode(sequence: u64, mark: Mark) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(MAGIC);
    record[8..16].copy_from_slice(&sequence.to_be_bytes());
    record[16..24].copy_from_slice(&mark.end.to_be_bytes());
    record[24..32].copy_from_slice(&mark.truncations.to_be_bytes());
    let checksum = crc32c::crc32c(&record[..32]);
    record[32..].copy_from_slice(&checksum.to_be_bytes());
    record
}

fn decode(slot: &[u8]) -> Option<(u64, Mark)> {
    let (record, rest) = slot.split_first_chunk::<32>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    if u32::from_be_bytes(*checksum) != crc32c::crc32c(record) || !record.starts_with(MAGIC) {
        return None;
    }
    let (numbers, _) = record[8..].as_chunks::<8>();
    let [sequence, end, truncations] = numbers else {
        return None;
    };
    let mark = Mark {
        end: u64::from_be_bytes(*end),
        truncations: u64::from_be_bytes(*truncations),
    };
    Some((u64::from_be_bytes(*sequence), mark))
}

const MAGIC: &[u8; 8] = b"aumfloor";
/// One page: a write of one slot does not touch the other.
const SLOT_BYTES: usize = 4096;
const RECORD_BYTES: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_slot_leaves_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("floor");
        assert!(Floor::open(&path).unwrap().is_none());
        Floor::create(&path).unwrap();
        let mut floor = Floor::open(&path).unwrap().unwrap();
        assert_eq!(floor.mark(), Mark::default());
        let marks = [(7, 0), (9, 0), (8, 1)].map(|(end, truncations)| Mark { end, truncations });
        for mark in marks {
            floor.set(mark);
            assert_eq!(Floor::open(&path).unwrap().unwrap().mark(), mark);
        }
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"torn", SLOT_BYTES as u64 + 20).unwrap();
        assert_eq!(Floor::open(&path).unwrap().unwrap().mark(), marks[1]);
        file.write_all_at(b"torn", 20).unwrap();
        let error = Floor::open(&path).unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    }
}
