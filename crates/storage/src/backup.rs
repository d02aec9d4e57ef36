//! A backup: a snapshot in one file with a signed statement of what it is.
//!
//! ```text
//! "aumback1" | length of the manifest u32 | manifest | Ed25519 signature over label and manifest | snapshot
//! ```
//!
//! The manifest is text, one `key value` a line, in fixed order, so that a person reads it with `head`. It names the snapshot's hash, so its
//! signature covers the whole file. The signature is by the key that signs the audit log: who pinned that key knows that the backup is the
//! cluster's. Nothing in the file is in clear but ids, numbers and hashes, as in the log.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use aumbry_crypto::signature::VerifyingKey;
use aumbry_types::{ClusterId, StorageId, hex};

use crate::{SnapshotContent, SnapshotReader, StorageError};

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The cluster that it was taken of.
    pub cluster_id: ClusterId,
    /// The stored data; a restore keeps it.
    pub storage_id: StorageId,
    /// The log index that it reflects.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// What its rows and audit bodies add up to.
    pub content: SnapshotContent,
    /// The wall clock of the node that took it, in milliseconds since 1970. For people.
    pub wall_time: u64,
    /// The version of Aumbry that took it.
    pub version: String,
    /// The key that signs the audit log of the store.
    pub key: [u8; 32],
    /// The size of the snapshot in bytes.
    pub snapshot_bytes: u64,
    /// The hash of the snapshot's trailer, which covers all of it.
    pub snapshot_hash: [u8; 32],
}

impl Manifest {
    /// What a backup begins with: magic, manifest, signature. `sign` gets what is to be signed.
    pub fn encode(&self, sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES]) -> Vec<u8> {
        let text = self.to_text();
        let signature = sign(&signed(text.as_bytes()));
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        head.extend_from_slice(text.as_bytes());
        head.extend_from_slice(&signature);
        head
    }

    fn to_text(&self) -> String {
        let values: [String; KEYS.len()] = [
            self.cluster_id.to_string(),
            self.storage_id.to_string(),
            self.index.to_string(),
            self.term.to_string(),
            hex::encode(&self.content.digest),
            hex::encode(&self.content.audit_root),
            self.content.audit_size.to_string(),
            self.content.log_time.to_string(),
            self.wall_time.to_string(),
            self.version.clone(),
            hex::encode(&self.key),
            self.snapshot_bytes.to_string(),
            hex::encode(&self.snapshot_hash),
        ];
        let lines = KEYS.iter().zip(values).map(|(key, value)| format!("{key} {value}\n"));
        lines.collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split_terminator('\n').zip(KEYS);
        let mut next = || {
            let (line, key) = lines.next()?;
            line.strip_prefix(key)?.strip_prefix(' ')
        };
        let manifest = Self {
            cluster_id: next()?.parse().ok()?,
            storage_id: next()?.parse().ok()?,
            index: next()?.parse().ok()?,
            term: next()?.parse().ok()?,
            content: SnapshotContent {
                digest: hex::decode(next()?)?,
                audit_root: hex::decode(next()?)?,
                audit_size: next()?.parse().ok()?,
                log_time: next()?.parse().ok()?,
            },
            wall_time: next()?.parse().ok()?,
            version: next()?.to_owned(),
            key: hex::decode(next()?)?,
            snapshot_bytes: next()?.parse().ok()?,
            snapshot_hash: hex::decode(next()?)?,
        };
        (manifest.to_text() == text).then_some(manifest)
    }
}

/// A backup of which every byte was checked.
#[derive(Debug)]
pub struct Backup {
    /// What it says of itself, which is true of its content.
    pub manifest: Manifest,
    /// The snapshot in it.
    pub snapshot: SnapshotReader,
}

impl Backup {
    /// Opens and checks a backup: the signature, every byte, and that rows and audit records add up to what the manifest says. It reads the
    /// file several times: call it on a blocking thread.
    ///
    /// It does not know whose key signed it: compare the key's fingerprint with one that you keep.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if anything is not as it was written, [`StorageError::Io`] if the disk fails.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let file = File::open(path).map_err(StorageError::io("open", path))?;
        let bytes = file
            .metadata()
            .map_err(StorageError::io("read the size of", path))?
            .len();
        let read = |offset: u64, len: usize| -> Result<Vec<u8>, StorageError> {
            if offset + len as u64 > bytes {
                return Err(not_intact(path, "it is too short"));
            }
            let mut part = vec![0; len];
            file.read_exact_at(&mut part, offset)
                .map_err(StorageError::io("read", path))?;
            Ok(part)
        };
        let start = read(0, START_BYTES)?;
        let (magic, len) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(not_intact(path, "it is no backup"));
        }
        let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        if len > MANIFEST_BYTES_MAX {
            return Err(not_intact(path, "its manifest is too long"));
        }
        let text = read(START_BYTES as u64, len)?;
        let signature = read((START_BYTES + len) as u64, SIGNATURE_BYTES)?;
        let manifest = std::str::from_utf8(&text).ok().and_then(Manifest::parse);
        let manifest = manifest.ok_or_else(|| not_intact(path, "its manifest cannot be read"))?;
        let signature = signature
            .first_chunk()
            .ok_or_else(|| not_intact(path, "it is too short"))?;
        if !VerifyingKey::from_bytes(manifest.key).verify(&signed(&text), signature) {
            return Err(not_intact(path, "its signature is wrong"));
        }
        let of_backup = |error| match error {
            StorageError::Damaged { what, .. } => not_intact(path, what),
            other => other,
        };
        let offset = (START_BYTES + len + SIGNATURE_BYTES) as u64;
        let snapshot = SnapshotReader::open_at(path, offset).map_err(of_backup)?;
        let header = snapshot.header().last_log_id;
        let described = (
            manifest.snapshot_bytes,
            manifest.snapshot_hash,
            [manifest.term, manifest.index],
        );
        if described != (snapshot.bytes(), snapshot.hash(), [header[0], header[2]]) {
            return Err(not_intact(path, "the snapshot in it is not the one that was signed"));
        }
        if snapshot.check_content().map_err(of_backup)? != manifest.content {
            return Err(not_intact(
                path,
                "the snapshot in it does not add up to what was signed",
            ));
        }
        Ok(Self { manifest, snapshot })
    }

    /// Where the snapshot begins in a backup of which at least the first bytes are there; none if they are not those of a backup. For who
    /// receives one and must know how long it may become.
    #[must_use]
    pub fn announced_bytes(first: &[u8]) -> Option<u64> {
        let rest = first.strip_prefix(MAGIC)?;
        let (len, rest) = rest.split_first_chunk()?;
        let len = u32::from_be_bytes(*len) as usize;
        let text = std::str::from_utf8(rest.get(..len)?).ok()?;
        let snapshot = Manifest::parse(text)?.snapshot_bytes;
        snapshot.checked_add((START_BYTES + len + SIGNATURE_BYTES) as u64)
    }
}

fn signed(manifest: &[u8]) -> Vec<u8> {
    [LABEL, manifest].concat()
}

fn not_intact(path: &Path, what: impl Into<String>) -> StorageError {
    StorageError::Backup {
        path: PathBuf::from(path),
        what: what.into(),
    }
}

const MAGIC: &[u8] = b"aumback1";
const LABEL: &[u8] = b"aumbry/backup/1\0";
const START_BYTES: usize = 8 + 4;
const SIGNATURE_BYTES: usize = 64;
/// A manifest has less than a kilobyte; this leaves room for later versions.
const MANIFEST_BYTES_MAX: usize = 64 << 10;
const KEYS: [&str; 13] = [
    "cluster",
    "storage",
    "index",
    "term",
    "state-digest",
    "audit-root",
    "audit-size",
    "log-time-ms",
    "wall-time-ms",
    "version",
    "key",
    "snapshot-bytes",
    "snapshot-hash",
];

#[cfg(test)]
mod tests;
