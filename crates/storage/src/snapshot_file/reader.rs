//! Reads a snapshot file, after it has checked all of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::format::{
    CHUNK_HEAD_BYTES, FIXED_BYTES, HASH_BYTES, Kind, MAGIC, MEMBERSHIP_BYTES_MAX, PAYLOAD_BYTES_MAX, SnapshotHeader,
    TRAILER_BYTES, VERSION, chain, chunk_hash, trailer_hash,
};
use crate::{StorageError, fatal};

/// A snapshot file of which every byte was checked when it was opened.
#[derive(Debug)]
pub struct SnapshotReader {
    header: SnapshotHeader,
    rows: u64,
    bodies: u64,
    bytes: u64,
    hash: [u8; 32],
    path: PathBuf,
    start: Chunks,
}

impl SnapshotReader {
    /// Opens and checks a snapshot file. It reads the whole file: call it on a blocking thread.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if a byte is wrong, missing or too many, [`StorageError::Newer`] for a newer format, [`StorageError::Io`] if
    /// the disk fails.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        Self::open_at(path, 0)
    }

    /// As [`Self::open`], of a snapshot that begins somewhere in a file and ends with it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at(path: &Path, offset: u64) -> Result<Self, StorageError> {
        let file = File::open(path).map_err(StorageError::io("open", path))?;
        verify(file, path, offset).map_err(|problem| problem.of(path))
    }

    /// What a snapshot file says that it is of. Nothing but the header is read, and nothing is checked against a hash.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if it cannot be one, [`StorageError::Newer`] for a newer format, [`StorageError::Io`] if the disk fails.
    pub fn header_of(path: &Path) -> Result<SnapshotHeader, StorageError> {
        let file = File::open(path).map_err(StorageError::io("open", path))?;
        let length = file.metadata().map_err(Problem::Io).map(|found| found.len());
        let header = length.and_then(|length| read_header(&file, 0, length));
        header.map(|(header, _)| header).map_err(|problem| problem.of(path))
    }

    /// What the snapshot is of.
    #[must_use]
    pub const fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// How many rows it has.
    #[must_use]
    pub const fn row_count(&self) -> u64 {
        self.rows
    }

    /// How many audit bodies it has.
    #[must_use]
    pub const fn body_count(&self) -> u64 {
        self.bodies
    }

    /// The size of the snapshot in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of the trailer, which covers every byte of the snapshot.
    #[must_use]
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All rows, in order of the keys. Chunks are checked again as they are read, and what has changed since ends the process.
    #[must_use]
    pub fn rows(&self) -> SnapshotRows {
        SnapshotRows(Items::new(self.start.clone(), Kind::Rows))
    }

    /// All audit bodies: log index, first sequence number, body. Checked again like the rows.
    #[must_use]
    pub fn bodies(&self) -> SnapshotBodies {
        SnapshotBodies(Items::new(self.start.clone(), Kind::Bodies))
    }
}

/// The rows of a snapshot.
#[derive(Debug)]
pub struct SnapshotRows(Items);

impl Iterator for SnapshotRows {
    type Item = (Bytes, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(take_row)
    }
}

/// The audit bodies of a snapshot.
#[derive(Debug)]
pub struct SnapshotBodies(Items);

impl Iterator for SnapshotBodies {
    type Item = (u64, u64, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        let (index, first_seq, body) = self.0.next(take_body)?;
        Some((index, first_seq, body.to_vec()))
    }
}

/// The items of the chunks of one kind.
#[derive(Debug)]
struct Items {
    chunks: Chunks,
    kind: Kind,
    payload: Bytes,
}

impl Items {
    const fn new(chunks: Chunks, kind: Kind) -> Self {
        Self {
            chunks,
            kind,
            payload: Bytes::new(),
        }
    }

    fn next<T>(&mut self, take: impl Fn(&mut Bytes) -> Option<T>) -> Option<T> {
        while self.payload.is_empty() {
            let (kind, payload) = match self.chunks.next() {
                Ok(chunk) => chunk?,
                Err(_) => fatal("a snapshot file changed while it was read", "take it again"),
            };
            if kind > self.kind {
                return None;
            }
            if kind == self.kind {
                self.payload = payload;
            }
        }
        let item = take(&mut self.payload);
        if item.is_none() {
            fatal("a snapshot file changed while it was read", "take it again");
        }
        item
    }
}

/// Walks over the chunks of a file, and checks each.
#[derive(Debug, Clone)]
struct Chunks {
    file: Arc<File>,
    offset: u64,
    /// Where the trailer begins.
    end: u64,
    number: u64,
    chain: [u8; 32],
}

impl Chunks {
    fn next(&mut self) -> Result<Option<(Kind, Bytes)>, Problem> {
        if self.offset == self.end {
            return Ok(None);
        }
        let rest = self.end - self.offset;
        let frame = (CHUNK_HEAD_BYTES + HASH_BYTES) as u64;
        if rest < frame {
            return Err(Problem::Damaged("its last chunk is cut"));
        }
        let mut head = self.take(CHUNK_HEAD_BYTES)?;
        let kind = Kind::from_byte(head.get_u8())
            .filter(|kind| *kind != Kind::Trailer)
            .ok_or(Problem::Damaged("a chunk has an unknown kind"))?;
        let len = head.get_u32() as usize;
        if len == 0 || len > PAYLOAD_BYTES_MAX || len as u64 > rest - frame {
            return Err(Problem::Damaged("a chunk has an impossible length"));
        }
        let payload = self.take(len)?;
        let hash = chunk_hash(kind, self.number, &payload);
        if self.take(HASH_BYTES)? != hash[..] {
            return Err(Problem::Damaged("a chunk has a wrong hash"));
        }
        self.chain = chain(self.chain, hash);
        self.number += 1;
        Ok(Some((kind, payload)))
    }

    fn take(&mut self, len: usize) -> Result<Bytes, Problem> {
        let bytes = read_at(&self.file, self.offset, len)?;
        self.offset += len as u64;
        Ok(bytes)
    }
}

enum Problem {
    Io(io::Error),
    Newer(u32),
    Damaged(&'static str),
}

impl Problem {
    fn of(self, path: &Path) -> StorageError {
        match self {
            Self::Io(error) => StorageError::io("read", path)(error),
            Self::Newer(found) => StorageError::Newer {
                path: path.to_owned(),
                found,
                supported: VERSION,
            },
            Self::Damaged(what) => StorageError::damaged(path, what),
        }
    }
}

fn verify(file: File, path: &Path, offset: u64) -> Result<SnapshotReader, Problem> {
    let end = file.metadata().map_err(Problem::Io)?.len();
    let bytes = end.saturating_sub(offset);
    let (header, header_bytes) = read_header(&file, offset, bytes)?;
    let start = Chunks {
        file: Arc::new(file),
        offset: offset + header_bytes.len() as u64,
        end: end - TRAILER_BYTES as u64,
        number: 0,
        chain: aumbry_crypto::sha256(&[&header_bytes]),
    };
    let mut chunks = start.clone();
    let mut order = Order::default();
    while let Some((kind, payload)) = chunks.next()? {
        order.check(kind, payload)?;
    }
    let mut trailer = read_at(&start.file, start.end, TRAILER_BYTES)?;
    let kind = trailer.get_u8();
    let (rows, bodies) = (trailer.get_u64(), trailer.get_u64());
    let hash = trailer_hash(chunks.chain, rows, bodies);
    if kind != Kind::Trailer.byte() || trailer != hash[..] || (rows, bodies) != (order.rows, order.bodies) {
        return Err(Problem::Damaged("its trailer is wrong"));
    }
    Ok(SnapshotReader {
        header,
        rows,
        bodies,
        bytes,
        hash,
        path: path.to_owned(),
        start,
    })
}

fn read_header(file: &File, offset: u64, bytes: u64) -> Result<(SnapshotHeader, Bytes), Problem> {
    const SHORT: Problem = Problem::Damaged("it is too short");
    let least = (FIXED_BYTES + TRAILER_BYTES) as u64;
    let rest = bytes.checked_sub(least).ok_or(SHORT)?;
    let mut fixed = read_at(file, offset, FIXED_BYTES)?;
    if fixed.split_to(MAGIC.len()) != MAGIC[..] {
        return Err(Problem::Damaged("it is no snapshot"));
    }
    let version = fixed.get_u32();
    if version > VERSION {
        return Err(Problem::Newer(version));
    }
    let last_log_id = [fixed.get_u64(), fixed.get_u64(), fixed.get_u64()];
    let len = fixed.get_u32() as usize;
    if len > MEMBERSHIP_BYTES_MAX || len as u64 > rest {
        return Err(SHORT);
    }
    let all = read_at(file, offset, FIXED_BYTES + len)?;
    let header = SnapshotHeader {
        last_log_id,
        membership: all[FIXED_BYTES..].to_vec(),
    };
    Ok((header, all))
}

/// Checks that the items are in order, and counts them.
#[derive(Default)]
struct Order {
    rows: u64,
    bodies: u64,
    last_key: Option<Bytes>,
    last_body: Option<(u64, u64)>,
}

impl Order {
    fn check(&mut self, kind: Kind, mut payload: Bytes) -> Result<(), Problem> {
        const CUT: Problem = Problem::Damaged("an item is cut");
        while !payload.is_empty() {
            let in_order = if kind == Kind::Rows {
                let (key, _) = take_row(&mut payload).ok_or(CUT)?;
                let follows = self.last_key.as_ref().is_none_or(|last| *last < key);
                self.last_key = Some(key);
                self.rows += 1;
                follows && self.bodies == 0
            } else {
                let (index, seq, _) = take_body(&mut payload).ok_or(CUT)?;
                let follows = self
                    .last_body
                    .is_none_or(|(last, last_seq)| last.checked_add(1) == Some(index) && seq >= last_seq);
                self.last_body = Some((index, seq));
                self.bodies += 1;
                follows
            };
            if !in_order {
                return Err(Problem::Damaged("its items are out of order"));
            }
        }
        Ok(())
    }
}

fn take_row(payload: &mut Bytes) -> Option<(Bytes, Bytes)> {
    let key = payload.try_get_u32().ok()? as usize;
    let row = payload.try_get_u32().ok()? as usize;
    (key <= payload.len()).then_some(())?;
    let key = payload.split_to(key);
    (row <= payload.len()).then_some(())?;
    Some((key, payload.split_to(row)))
}

fn take_body(payload: &mut Bytes) -> Option<(u64, u64, Bytes)> {
    let index = payload.try_get_u64().ok()?;
    let first_seq = payload.try_get_u64().ok()?;
    let body = payload.try_get_u32().ok()? as usize;
    (body <= payload.len()).then_some(())?;
    Some((index, first_seq, payload.split_to(body)))
}

fn read_at(file: &File, offset: u64, len: usize) -> Result<Bytes, Problem> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset).map_err(Problem::Io)?;
    Ok(bytes.into())
}
