//! The audit log in pieces for an archive: exports of fixed ranges, which anybody verifies with the public key alone.
//!
//! What it guarantees: the piece that begins with a record has the same bytes whichever node writes it and however often. It begins where the one before
//! ends, with the signed checkpoint of the tree up to there, and ends with that of its own; so the pieces hold each other. What it does not do: store them.

use std::io::Write;
use std::sync::atomic::Ordering;

use aumbry_audit::export::{Content, Header, Unverified, checkpoint_line, header_line, leaf_line};
use aumbry_audit::{Checkpoint, Frontier, Leaf};

use crate::audit_log::damaged;
use crate::ops::sign;
use crate::{AuditRow, Failure, Node};

/// The records of one piece, but for the first after a floor: sixteen tiles, some four megabytes as text.
pub const ARCHIVE_RECORDS: u64 = 4_096;

/// Where the piece ends that begins with a record.
#[must_use]
pub const fn archive_end(first: u64) -> u64 {
    first - first % ARCHIVE_RECORDS + ARCHIVE_RECORDS
}

impl Node {
    /// Writes the piece of the audit log that begins with a record, and gives the fingerprint of the key that signed it. `None` if the log does not go
    /// that far yet, or the node is sealed. Blocks on the disk.
    ///
    /// # Errors
    /// [`Failure`] if records are damaged or were pruned, or the output fails.
    pub fn write_archive(&self, first: u64, mut output: impl Write) -> Result<Option<[u8; 32]>, Failure> {
        let Some(barrier) = self.seal.barrier() else {
            return Ok(None);
        };
        let end = archive_end(first);
        if self.consensus.status().audit_size < end {
            return Ok(None);
        }
        let failed = |error: std::io::Error| Failure::internal(format!("the archive cannot be written: {error}"));
        let start = match first {
            0 => Frontier::new(),
            first => self.find_tree(first)?.0,
        };
        let key = *barrier.keyring().checkpoint().verifying_key();
        let header = Header {
            storage_id: barrier.storage_id(),
            origin: Checkpoint::origin_of(&barrier.storage_id()),
            start,
        };
        output.write_all(header_line(&header).as_bytes()).map_err(failed)?;
        if first > 0 {
            let note = sign(&barrier, first, header.start.root())?;
            output
                .write_all(checkpoint_line(&note, &key).as_bytes())
                .map_err(failed)?;
        }
        let mut tree = header.start;
        while tree.size() < end {
            let limit = (end - tree.size()).min(PAGE) as usize;
            for row in self.audit_rows(tree.size(), limit, limit)? {
                let (leaf, text) = line(&row)
                    .filter(|(leaf, _)| leaf.seq == tree.size())
                    .ok_or_else(damaged)?;
                output.write_all(text.as_bytes()).map_err(failed)?;
                tree.push(leaf.hash());
            }
            // Sealed meanwhile, it gives no rows, and a log does not get shorter.
            if !self.is_unsealed() {
                return Ok(None);
            }
        }
        let note = sign(&barrier, end, tree.root())?;
        output
            .write_all(checkpoint_line(&note, &key).as_bytes())
            .map_err(failed)?;
        output.flush().map_err(failed)?;
        // What was read is what the tree has.
        let (_, root) = self.find_tree(end)?;
        if root != tree.root() {
            return Err(damaged());
        }
        Ok(Some(key.fingerprint()))
    }

    /// The name of this store's log in what is exported; none if the node is sealed.
    #[must_use]
    pub fn audit_origin(&self) -> Option<String> {
        Some(Checkpoint::origin_of(&self.seal.barrier()?.storage_id()))
    }

    /// Notes up to which record this node's archive has the log.
    pub fn note_archived(&self, next: u64) {
        self.archived.store(next, Ordering::Release);
    }

    /// The first record that this node's archive does not have; 0 if there is none.
    #[must_use]
    pub fn archived(&self) -> u64 {
        self.archived.load(Ordering::Acquire)
    }
}

/// A record as its line of an export.
fn line(row: &AuditRow) -> Option<(Leaf, String)> {
    let leaf = Leaf {
        seq: row.seq,
        index: row.index,
        k: row.k,
        log_time: row.log_time,
        outcome: row.outcome()?,
        commitment: row.commitment,
    };
    let content = if row.withheld {
        Content::Withheld
    } else if row.record.is_empty() {
        Content::Clear(row.clear.clone())
    } else {
        Content::Record {
            record: row.record.clone(),
            salt: row.salt,
        }
    };
    let unverified = Unverified {
        term: row.term,
        wall_time: row.wall_time,
    };
    let text = leaf_line(&leaf, &content, unverified)?;
    Some((leaf, text))
}

/// Records that are in memory at once.
const PAGE: u64 = 256;
