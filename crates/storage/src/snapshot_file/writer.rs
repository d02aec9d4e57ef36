//! Writes a snapshot file.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::format::{
    CHUNK_BYTES, Kind, MEMBERSHIP_BYTES_MAX, PAYLOAD_BYTES_MAX, SnapshotHeader, chain, chunk_hash, trailer_hash,
};
use crate::StorageError;
use crate::files::{self, TEMPORARY};

/// Writes a snapshot file: all rows in order, then all bodies in order, then [`Self::finish`]. Dropped before that, it leaves nothing.
pub struct SnapshotWriter {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    kind: Kind,
    payload: Vec<u8>,
    chunks: u64,
    chain: [u8; 32],
    rows: u64,
    bodies: u64,
    last_key: Option<Vec<u8>>,
    last_body: Option<(u64, u64)>,
    bytes: u64,
}

impl SnapshotWriter {
    /// Begins a snapshot that will appear at `path`.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails, or the membership is too large.
    pub fn create(path: &Path, header: &SnapshotHeader) -> Result<Self, StorageError> {
        if header.membership.len() > MEMBERSHIP_BYTES_MAX {
            return Err(order(path, "a membership of more than 1 MiB"));
        }
        let temporary = path.with_added_extension(TEMPORARY);
        let file = files::create_file(&temporary)?;
        let header = header.encode();
        let mut writer = Self {
            path: path.to_owned(),
            temporary,
            file: BufWriter::new(file),
            kind: Kind::Rows,
            payload: Vec::with_capacity(CHUNK_BYTES),
            chunks: 0,
            chain: aumbry_crypto::sha256(&[&header]),
            rows: 0,
            bodies: 0,
            last_key: None,
            last_body: None,
            bytes: 0,
        };
        writer.write(&header)?;
        Ok(writer)
    }

    /// Adds a row. Keys go up strictly, and no row comes after a body.
    ///
    /// # Errors
    /// [`StorageError`] if the order is broken or the disk fails.
    pub fn row(&mut self, key: &[u8], row: &[u8]) -> Result<(), StorageError> {
        if self.kind != Kind::Rows || self.last_key.as_deref().is_some_and(|last| last >= key) {
            return Err(order(&self.path, "a row out of order"));
        }
        self.reserve(8 + key.len() + row.len())?;
        self.payload.extend_from_slice(&(key.len() as u32).to_be_bytes());
        self.payload.extend_from_slice(&(row.len() as u32).to_be_bytes());
        self.payload.extend_from_slice(key);
        self.payload.extend_from_slice(row);
        let last = self.last_key.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        self.rows += 1;
        Ok(())
    }

    /// Adds an audit body. Log indexes go up by one, sequence numbers never down.
    ///
    /// # Errors
    /// [`StorageError`] if the order is broken or the disk fails.
    pub fn body(&mut self, index: u64, first_seq: u64, body: &[u8]) -> Result<(), StorageError> {
        let follows = self
            .last_body
            .is_none_or(|(last, seq)| index == last + 1 && first_seq >= seq);
        if !follows {
            return Err(order(&self.path, "an audit body out of order"));
        }
        if self.kind == Kind::Rows {
            self.end_chunk()?;
            self.kind = Kind::Bodies;
        }
        self.reserve(20 + body.len())?;
        self.payload.extend_from_slice(&index.to_be_bytes());
        self.payload.extend_from_slice(&first_seq.to_be_bytes());
        self.payload.extend_from_slice(&(body.len() as u32).to_be_bytes());
        self.payload.extend_from_slice(body);
        self.last_body = Some((index, first_seq));
        self.bodies += 1;
        Ok(())
    }

    /// Completes the file and gives it its name, durably. Returns its size in bytes.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails.
    pub fn finish(mut self) -> Result<u64, StorageError> {
        self.end_chunk()?;
        let (rows, bodies) = (self.rows, self.bodies);
        self.write(&[Kind::Trailer.byte()])?;
        self.write(&rows.to_be_bytes())?;
        self.write(&bodies.to_be_bytes())?;
        self.write(&trailer_hash(self.chain, rows, bodies))?;
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(StorageError::io("write", &self.temporary))?;
        files::rename(&self.temporary, &self.path)?;
        Ok(self.bytes)
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), StorageError> {
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(order(&self.path, "an item of more than 65 MiB"));
        }
        if self.payload.len() + bytes > CHUNK_BYTES {
            self.end_chunk()?;
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), StorageError> {
        if self.payload.is_empty() {
            return Ok(());
        }
        let mut payload = std::mem::take(&mut self.payload);
        let hash = chunk_hash(self.kind, self.chunks, &payload);
        self.write(&[self.kind.byte()])?;
        self.write(&(payload.len() as u32).to_be_bytes())?;
        self.write(&payload)?;
        self.write(&hash)?;
        self.chain = chain(self.chain, hash);
        self.chunks += 1;
        payload.clear();
        self.payload = payload;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.bytes += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(StorageError::io("write", &self.temporary))
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        // After `finish` it has its name, and there is nothing to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn order(path: &Path, what: &'static str) -> StorageError {
    StorageError::Order {
        path: path.to_owned(),
        what,
    }
}
