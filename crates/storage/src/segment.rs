//! One file of audit bodies: records one after the other, each with a checksum.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{StorageError, files};

/// A body, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The log index of the entry that it belongs to.
    pub(crate) index: u64,
    /// The sequence number of its first audit record.
    pub(crate) first_seq: u64,
    /// The body.
    pub(crate) bytes: Vec<u8>,
}

/// One place in a segment from which it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) first_seq: u64,
    pub(crate) offset: u64,
}

/// One file. Its name is the first sequence number of its first body.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) first_seq: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    /// Up to where it holds records.
    pub(crate) len: u64,
    /// The first record, and one about every [`PLACE_BYTES`].
    pub(crate) places: Vec<Place>,
}

impl Segment {
    pub(crate) fn create(dir: &Path, first_seq: u64) -> Result<Self, StorageError> {
        let path = dir.join(format!("{first_seq:020}.{EXTENSION}"));
        let file = files::create_file(&path)?;
        Ok(Self {
            first_seq,
            path,
            file: Arc::new(file),
            len: 0,
            places: Vec::new(),
        })
    }

    /// Opens a file without looking into it: [`Self::note`] tells it what it holds.
    pub(crate) fn open(path: PathBuf) -> Result<Option<Self>, StorageError> {
        let Some(first_seq) = first_seq_of(&path) else {
            return Ok(None);
        };
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StorageError::io("open", &path))?;
        Ok(Some(Self {
            first_seq,
            path,
            file: Arc::new(file),
            len: 0,
            places: Vec::new(),
        }))
    }

    /// The offset of the last place for which `before` holds, or the start. It must hold for the first places and no others.
    pub(crate) fn offset(&self, before: impl FnMut(&Place) -> bool) -> u64 {
        let at = self.places.partition_point(before);
        self.places.get(at.saturating_sub(1)).map_or(0, |place| place.offset)
    }

    /// Records that the segment holds another record at its end.
    pub(crate) fn note(&mut self, first_seq: u64, size: u64) {
        let last = self.places.last().map(|place| place.offset);
        if last.is_none_or(|last| self.len >= last + PLACE_BYTES) {
            self.places.push(Place {
                first_seq,
                offset: self.len,
            });
        }
        self.len += size;
    }
}

/// The number in the name of a segment; none if it is no segment's.
pub(crate) fn first_seq_of(path: &Path) -> Option<u64> {
    path.extension().filter(|extension| *extension == EXTENSION)?;
    path.file_stem()?.to_str()?.parse().ok()
}

/// Reads the records of a file from an offset on, and ends before the first one that is not whole.
#[derive(Debug)]
pub(crate) struct Records {
    file: Arc<File>,
    offset: u64,
    end: u64,
}

impl Records {
    pub(crate) const fn new(file: Arc<File>, offset: u64, end: u64) -> Self {
        Self { file, offset, end }
    }

    /// Where the next record begins.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; none at the end, or if the bytes there are not a whole record.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<Record>> {
        let rest = self.end.saturating_sub(self.offset);
        if rest < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, self.offset)?;
        let (head, checksum) = header.split_at(HEADER_BYTES - 4);
        let number = |at: usize| {
            head[at..at + 8]
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let len = head[..4].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        if len > rest - HEADER_BYTES as u64 || len > BODY_BYTES_MAX as u64 {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, self.offset + HEADER_BYTES as u64)?;
        let expected = crc32c::crc32c_append(crc32c::crc32c(head), &bytes);
        if checksum != expected.to_be_bytes() {
            return Ok(None);
        }
        self.offset += HEADER_BYTES as u64 + len;
        Ok(Some(Record {
            index: number(4),
            first_seq: number(12),
            bytes,
        }))
    }
}

/// Writes a record to the end of `buffer`, and returns its size.
///
/// # Panics
/// If the body is larger than [`BODY_BYTES_MAX`], which an entry of the log cannot be.
pub(crate) fn encode(buffer: &mut Vec<u8>, index: u64, first_seq: u64, bytes: &[u8]) -> u64 {
    let start = buffer.len();
    let len = u32::try_from(bytes.len())
        .ok()
        .filter(|_| bytes.len() <= BODY_BYTES_MAX)
        .expect("an audit body is no larger than a log entry");
    buffer.extend_from_slice(&len.to_be_bytes());
    buffer.extend_from_slice(&index.to_be_bytes());
    buffer.extend_from_slice(&first_seq.to_be_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&buffer[start..]), bytes);
    buffer.extend_from_slice(&checksum.to_be_bytes());
    buffer.extend_from_slice(bytes);
    (buffer.len() - start) as u64
}

const EXTENSION: &str = "seg";
/// Length, log index, first sequence number, checksum.
const HEADER_BYTES: usize = 4 + 8 + 8 + 4;
/// No body is near it; it keeps a damaged length from taking all memory.
const BODY_BYTES_MAX: usize = 64 << 20;
/// A read begins at most so many bytes too early, and a terabyte of audit costs 100 MB of memory.
const PLACE_BYTES: u64 = 256 << 10;
