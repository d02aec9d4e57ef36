//! One file of the log: a header, then frames, in space that is written before it is needed.
//!
//! The space is filled with zeros, not only reserved: writing into reserved space changes what the file system knows of it, and that has to be made
//! durable with each write. A file that is used again has a new salt, and what it holds of its former life does not count.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use aumbry_types::{Entropy as _, SystemEntropy};
use bytes::Bytes;

use super::frame::{self, RECORD_HEADER_BYTES, SECTOR_BYTES, u32_at, u64_at};
use crate::{StorageError, files};

/// A file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    /// Goes up by one with each segment.
    pub(super) number: u64,
    /// What its checksums begin with; no other segment has it.
    pub(super) salt: u64,
    /// The salt of the segment before: the file of another log does not fit in. 0 for the first one.
    pub(super) previous: u64,
    /// Its size, header included.
    pub(super) bytes: u64,
}

/// Whether a file is opened to be written, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Which segment is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) number: u64,
    /// The salt of the segment before.
    pub(super) previous: u64,
    /// Its size, if the disk has ample room.
    pub(super) bytes: u64,
    /// What it must have room for in any case.
    pub(super) least: u64,
    /// Whether its file must be a new one, in which nothing was ever written.
    pub(super) is_new: bool,
}

impl Segment {
    /// Makes a segment of a file that is large enough and was one, or of a new file. It is durable on return, under its name.
    pub(super) fn make(dir: &Path, order: Order, spare: Option<PathBuf>) -> Result<Self, StorageError> {
        let temporary = dir.join(format!("{:016x}.{}", order.number, files::TEMPORARY));
        let file = match spare {
            Some(spare) => {
                files::rename(&spare, &temporary)?;
                open(&temporary, Access::Write)?
            }
            None => fill(&temporary, order.bytes).inspect_err(|_| drop(std::fs::remove_file(&temporary)))?,
        };
        let bytes = size(&file, &temporary)?;
        let mut salt = [0; 8];
        SystemEntropy.fill(&mut salt);
        let segment = Self {
            path: dir.join(name(order.number)),
            file,
            number: order.number,
            salt: u64::from_be_bytes(salt),
            previous: order.previous,
            bytes,
        };
        segment
            .write(&segment.header(), 0)
            .map_err(StorageError::io("write", &temporary))?;
        files::rename(&temporary, &segment.path)?;
        Ok(segment)
    }

    /// Opens a segment. A file that is shorter than it was made is opened as well: see [`Self::missing`].
    pub(super) fn open(path: &Path, number: u64, access: Access) -> Result<Self, StorageError> {
        let file = open(path, access)?;
        let mut header = [0; HEADER_BYTES];
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(StorageError::io("read", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        if !is_header(&header) {
            return Err(StorageError::damaged(path, "its header, at byte 0, is not whole"));
        }
        let segment = Self {
            path: path.to_owned(),
            file,
            number: u64_at(&header, 8),
            salt: u64_at(&header, 16),
            previous: u64_at(&header, 24),
            bytes: u64_at(&header, 32),
        };
        if segment.number != number {
            let what = format!(
                "it is segment {:x} of the log under the name of another",
                segment.number
            );
            return Err(StorageError::damaged(path, what));
        }
        Ok(segment)
    }

    /// How many bytes are missing at its end. No crash leaves such a file.
    pub(super) fn missing(&self) -> Result<u64, StorageError> {
        Ok(self.bytes.saturating_sub(size(&self.file, &self.path)?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes at an offset, durably.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.file.sync_data()
    }

    /// Makes durable what was written by a process before this one.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(StorageError::io("sync", &self.path))
    }

    /// All of it; what is missing reads as zeros.
    pub(super) fn content(&self) -> Result<Vec<u8>, StorageError> {
        let there = size(&self.file, &self.path)?.min(self.bytes) as usize;
        let mut content = vec![0; self.bytes as usize];
        self.file
            .read_exact_at(&mut content[..there], 0)
            .map_err(StorageError::io("read", &self.path))?;
        Ok(content)
    }

    /// The entry whose record begins at an offset.
    pub(super) fn entry(&self, index: u64, offset: u32, size: u32) -> Result<Bytes, StorageError> {
        let mut record = vec![0; RECORD_HEADER_BYTES + size as usize];
        self.file
            .read_exact_at(&mut record, u64::from(offset))
            .map_err(StorageError::io("read", &self.path))?;
        frame::entry(Bytes::from(record), index, self.salt).ok_or_else(|| {
            let what = format!("log entry {index}, at byte {offset}, is not whole");
            StorageError::damaged(&self.path, what)
        })
    }

    fn header(&self) -> [u8; SECTOR_BYTES] {
        header(self.number, self.salt, self.previous, self.bytes)
    }
}

/// What a segment begins with.
pub(super) fn header(number: u64, salt: u64, previous: u64, bytes: u64) -> [u8; SECTOR_BYTES] {
    let mut header = [0; SECTOR_BYTES];
    header[..8].copy_from_slice(MAGIC);
    for (at, number) in [number, salt, previous, bytes].into_iter().enumerate() {
        header[8 + 8 * at..][..8].copy_from_slice(&number.to_be_bytes());
    }
    mend(&mut header);
    header
}

/// Sets the checksum of a header right.
pub(super) fn mend(header: &mut [u8]) {
    let checksum = crc32c::crc32c(&header[..40]);
    header[40..44].copy_from_slice(&checksum.to_be_bytes());
}

/// The name of a segment.
pub(super) fn name(number: u64) -> String {
    format!("{number:016x}{SEGMENT}")
}

/// The number in the name of a segment.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

fn is_header(header: &[u8; HEADER_BYTES]) -> bool {
    header.starts_with(MAGIC)
        && u32_at(header, 40) == crc32c::crc32c(&header[..40])
        && (FRAMES_START + 1..=BYTES_MAX).contains(&u64_at(header, 32))
}

fn open(path: &Path, access: Access) -> Result<File, StorageError> {
    OpenOptions::new()
        .read(true)
        .write(access == Access::Write)
        .open(path)
        .map_err(StorageError::io("open", path))
}

fn size(file: &File, path: &Path) -> Result<u64, StorageError> {
    let metadata = file.metadata().map_err(StorageError::io("read the size of", path))?;
    Ok(metadata.len())
}

/// A file of zeros. It is synced piece by piece, so that the log's own writes never wait behind all of it.
fn fill(path: &Path, bytes: u64) -> Result<File, StorageError> {
    let file = files::create_file(path)?;
    let zeros = vec![0; WRITE_BYTES as usize];
    let mut at = 0;
    while at < bytes {
        let zeros = &zeros[..WRITE_BYTES.min(bytes - at) as usize];
        file.write_all_at(zeros, at).map_err(StorageError::io("fill", path))?;
        at += zeros.len() as u64;
        if at.is_multiple_of(SYNC_BYTES) || at == bytes {
            file.sync_all().map_err(StorageError::io("fill", path))?;
        }
    }
    Ok(file)
}

/// Where the frames begin: a page after the header, which is never written again.
pub(super) const FRAMES_START: u64 = 4096;
/// How the file of a segment ends that was freed.
pub(super) const SPARE: &str = ".spare";
const SEGMENT: &str = ".seg";
const MAGIC: &[u8; 8] = b"aumwal\x00\x01";
const HEADER_BYTES: usize = 44;
/// The place of an entry in a segment has 32 bits.
const BYTES_MAX: u64 = u32::MAX as u64;
/// What a disk takes in some milliseconds.
const SYNC_BYTES: u64 = 4 << 20;
/// The kernel caches what is written at once as one large page, and looks through all of it at each sync of a part.
const WRITE_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: Order = Order {
        number: 3,
        previous: 9,
        bytes: 16 << 10,
        least: 0,
        is_new: false,
    };

    #[test]
    fn a_segment_is_filled_and_every_flip_of_its_header_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let made = Segment::make(dir.path(), ORDER, None).unwrap();
        let path = made.path().to_owned();
        assert_eq!(path.file_name().unwrap(), "0000000000000003.seg");
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 16 << 10);
        let opened = Segment::open(&path, 3, Access::Read).unwrap();
        assert_eq!(
            (opened.salt, opened.previous, opened.bytes, opened.missing().unwrap()),
            (made.salt, 9, 16 << 10, 0)
        );
        assert!(matches!(
            Segment::open(&path, 4, Access::Read),
            Err(StorageError::Damaged { .. })
        ));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, flipped).unwrap();
            let error = Segment::open(&path, 3, Access::Read).unwrap_err();
            assert!(matches!(error, StorageError::Damaged { .. }), "bit {bit}: {error}");
        }
        std::fs::write(&path, &bytes[..5000]).unwrap();
        assert_eq!(
            Segment::open(&path, 3, Access::Read).unwrap().missing().unwrap(),
            (16 << 10) - 5000
        );
    }

    #[test]
    fn a_file_that_is_used_again_has_a_new_salt() {
        let dir = tempfile::tempdir().unwrap();
        let first = Segment::make(dir.path(), ORDER, None).unwrap();
        let spare = dir.path().join("3.spare");
        std::fs::rename(first.path(), &spare).unwrap();
        let order = Order { number: 4, ..ORDER };
        let second = Segment::make(dir.path(), order, Some(spare.clone())).unwrap();
        assert_ne!(first.salt, second.salt);
        assert!(!spare.exists() && second.path().ends_with("0000000000000004.seg"));
    }
}
