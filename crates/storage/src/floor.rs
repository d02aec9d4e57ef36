//! The floor: how far this node has told others that its log is durable.
//!
//! A disk, or what stands between it and us, can lose whole writes that it had confirmed, and no log can tell that it lost its end from a
//! shorter one. A voter that forgets an acknowledged entry can help to elect a leader without it, and a committed write is gone ("Protocol-Aware
//! Recovery for Consensus-Based Storage", FAST 2018). So the end of what was acknowledged is kept in a file of its own, and a log that ends before
//! it is not opened.
//!
//! The file has two slots that are written in turn: a torn write leaves the other one. The floor may lag behind the acknowledgements, so a loss of
//! the last second can go unnoticed; it is never ahead of what the log has.
//!
//! A vote is counted here before it is given, because a vote that is forgotten can be given twice: of votes nothing may be lost, and there are few.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{StorageError, fatal, files};

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Mark {
    /// One past the highest index that was acknowledged; 0 if there was none.
    pub(crate) end: u64,
    /// How often the log was truncated.
    pub(crate) truncations: u64,
    /// How many votes were given.
    pub(crate) votes: u64,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Floor {
    path: PathBuf,
    file: File,
    mark: Mark,
    /// How often the file was written; its parity is the slot.
    sequence: u64,
    is_whole: bool,
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
        let (sequence, mark, is_whole) = read(path, &bytes)?;
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(StorageError::io("open", path))?;
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            mark,
            sequence,
            is_whole,
        }))
    }

    /// What the file says, and whether both of its slots are as they were written; none if there is no such file. Opens nothing.
    pub(crate) fn look(path: &Path) -> Result<Option<(Mark, bool)>, StorageError> {
        let Some(bytes) = files::read(path)? else {
            return Ok(None);
        };
        read(path, &bytes).map(|(_, mark, is_whole)| Some((mark, is_whole)))
    }

    /// Whether both slots are as they were written. A torn write leaves one that is not, which the next one replaces.
    pub(crate) const fn is_whole(&self) -> bool {
        self.is_whole
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

/// The newest slot, and whether the other one is whole too.
pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<(u64, Mark, bool), StorageError> {
    let slots = bytes.chunks(SLOT_BYTES).map(decode).take(2);
    let (mut newest, mut is_whole) = (None, bytes.len() == 2 * SLOT_BYTES);
    for slot in slots {
        match slot {
            Slot::Written(sequence, mark) => newest = newest.max(Some((sequence, mark))),
            Slot::Unused => {}
            Slot::Damaged => is_whole = false,
        }
    }
    let (sequence, mark) = newest.ok_or_else(|| StorageError::damaged(path, "neither of its slots is whole"))?;
    Ok((sequence, mark, is_whole))
}

pub(crate) fn encode(sequence: u64, mark: Mark) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(MAGIC);
    record[8..16].copy_from_slice(&sequence.to_be_bytes());
    record[16..24].copy_from_slice(&mark.end.to_be_bytes());
    record[24..32].copy_from_slice(&mark.truncations.to_be_bytes());
    let checksum = crc32c::crc32c(&record[..32]);
    record[32..36].copy_from_slice(&checksum.to_be_bytes());
    // Added later, with a checksum of its own: builds before it read and write the first part only.
    record[36..44].copy_from_slice(&mark.votes.to_be_bytes());
    record[44..].copy_from_slice(&votes_checksum(mark.votes).to_be_bytes());
    record
}

fn votes_checksum(votes: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(b"votes"), &votes.to_be_bytes())
}

/// What one slot is.
enum Slot {
    /// Never written: the second one of a new file.
    Unused,
    Written(u64, Mark),
    Damaged,
}

fn decode(slot: &[u8]) -> Slot {
    if slot.iter().all(|byte| *byte == 0) {
        return Slot::Unused;
    }
    let parts = slot
        .first_chunk::<RECORD_BYTES>()
        .map(|record| (record, record.as_chunks::<4>().0));
    let Some((record, words)) = parts else {
        return Slot::Damaged;
    };
    let number = |at: usize| {
        record[at..at + 8]
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    if !record.starts_with(MAGIC) || u32::from_be_bytes(words[8]) != crc32c::crc32c(&record[..32]) {
        return Slot::Damaged;
    }
    let is_old = record[36..].iter().all(|byte| *byte == 0);
    if !is_old && u32::from_be_bytes(words[11]) != votes_checksum(number(36)) {
        return Slot::Damaged;
    }
    let mark = Mark {
        end: number(16),
        truncations: number(24),
        votes: number(36),
    };
    Slot::Written(number(8), mark)
}

const MAGIC: &[u8; 8] = b"aumfloor";
/// One page: a write of one slot does not touch the other.
pub(crate) const SLOT_BYTES: usize = 4096;
const RECORD_BYTES: usize = 48;

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
        let marks = [(7, 0, 0), (9, 0, 1), (8, 1, 2)].map(|(end, truncations, votes)| Mark {
            end,
            truncations,
            votes,
        });
        for mark in marks {
            floor.set(mark);
            let floor = Floor::open(&path).unwrap().unwrap();
            assert!(floor.mark() == mark && floor.is_whole());
        }
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"torn", SLOT_BYTES as u64 + 20).unwrap();
        let older = Floor::open(&path).unwrap().unwrap();
        assert!(older.mark() == marks[1] && !older.is_whole());
        file.write_all_at(b"torn", 20).unwrap();
        let error = Floor::open(&path).unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    }

    /// Frozen: a record as the first build wrote it, without votes.
    #[test]
    fn a_record_without_votes_is_read() {
        let mut slot = vec![0; SLOT_BYTES];
        slot[..8].copy_from_slice(b"aumfloor");
        slot[15] = 4;
        slot[23] = 9;
        slot[31] = 1;
        slot[32..36].copy_from_slice(&0x1f02_ac73_u32.to_be_bytes());
        let Slot::Written(4, mark) = decode(&slot) else {
            panic!()
        };
        assert_eq!((mark.end, mark.truncations, mark.votes), (9, 1, 0));
    }

    #[test]
    fn every_flip_of_a_slot_is_noticed() {
        let mark = Mark {
            end: 77,
            truncations: 3,
            votes: 12,
        };
        let mut slot = vec![0; SLOT_BYTES];
        slot[..RECORD_BYTES].copy_from_slice(&encode(5, mark));
        assert!(matches!(decode(&slot), Slot::Written(5, read) if read == mark));
        for bit in 0..RECORD_BYTES * 8 {
            let mut flipped = slot.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&flipped), Slot::Damaged), "bit {bit}");
        }
    }
}
