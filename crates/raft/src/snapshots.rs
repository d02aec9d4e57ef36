//! Snapshots of the applied state: taken, written for whoever needs one, installed.
//!
//! Taking one makes what is applied durable, and then the log before it is not needed here any more. A file of it is written when a peer is sent one,
//! and is gone a while later. What it guarantees: whatever openraft was told of a snapshot, the file that is sent reaches at least as far.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use aumbry_state::{Machine, View as _, key};
use aumbry_storage::{
    AuditSegments, Meta, SmallFile, SnapshotHeader, SnapshotReader, SnapshotWriter, Space, StateDb, StateSnapshot,
    StorageError, fatal, install_state, rename, switch_state,
};
use aumbry_types::{LogIndex, hex};

use crate::state_machine::{APPLIED_KEY, AppliedState, Shared, floor_of};
use crate::transfer::last_part;
use crate::types::{RaftLogId, Snapshot, SnapshotMeta, decode, encode, raft_log_id};

impl Shared {
    /// Whether a snapshot of the state would find room on the disk. Blocks.
    pub(crate) fn has_room_for_copy(&self, space: &Space) -> bool {
        space.holds_a_copy(&[&self.directory, &self.audit_directory])
    }

    /// Whether what is not durable yet would find room on the disk. Blocks.
    pub(crate) fn has_room_for_flush(&self, space: &Space) -> bool {
        space.holds(self.db().unflushed_bytes())
    }

    /// Takes a snapshot, for the log to be purged behind it: what is applied is durable afterwards. Blocks.
    pub(crate) fn take(&self) -> Snapshot {
        let meta = self.flush_then(AppliedState::meta, |meta, _| meta);
        self.note_taken(&meta);
        self.snapshot_of(meta)
    }

    /// What was taken last, or lies in a file for the next start to install; none if nothing was applied yet. Its file may have to be written.
    pub(crate) fn current(&self) -> Option<Snapshot> {
        let meta = self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(self.snapshot_of(meta))
    }

    /// Keeps what a snapshot is of before the log is purged: who the members are must be known when the rows are damaged.
    fn note_taken(&self, meta: &SnapshotMeta) {
        if let Err(error) = Taken::in_directory(&self.snapshots).write(meta) {
            fatal("taking a snapshot", error);
        }
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(meta.clone());
    }

    fn snapshot_of(&self, meta: SnapshotMeta) -> Snapshot {
        Snapshot {
            snapshot: self.snapshot_path(index_of(&meta)),
            meta,
        }
    }

    /// A file of a snapshot that reaches at least this log index, to be sent: the one that was written last, so that what broke off can go on, or a fresh
    /// one. Blocks, for as long as it takes to write it.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if there is no room for it; all others are of the disk.
    pub(crate) fn file_for(&self, least: u64, space: &Space) -> io::Result<(SnapshotMeta, PathBuf, File)> {
        let _turn = self.files();
        let path = match newest_index(&self.snapshots)? {
            Some((index, path)) if index >= least => path,
            _ => {
                if !self.has_room_for_copy(space) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let fresh = self.write_snapshot(|index| self.snapshot_path(index))?;
                remove_files(&self.snapshots, |index| index < index_of(&fresh.meta));
                fresh.snapshot
            }
        };
        let header = SnapshotReader::header_of(&path).map_err(io::Error::other)?;
        let file = File::open(&path)?;
        Ok((meta_of(&header)?, path, file))
    }

    /// Removes the files of snapshots that rows and log have reached. Whoever reads one goes on. Blocks.
    pub(crate) fn remove_reached(&self) -> io::Result<()> {
        let _turn = self.files();
        if newest_index(&self.snapshots)?.is_none() {
            return Ok(());
        }
        // Until it is known that the log goes on after it, one that was installed says why the log ends before the rows.
        self.sync_log();
        let reached = self.facts().last.map(|id| id.index).min(self.log_end());
        remove_files(&self.snapshots, |index| Some(index) <= reached);
        Ok(())
    }

    /// The index of the last entry that the log has, or had before it was purged.
    fn log_end(&self) -> Option<u64> {
        let log = self.log.get()?;
        let purged = || decode::<RaftLogId>(&log.meta(Meta::Purged)?).ok().map(|id| id.index);
        log.last_index().max(purged())
    }

    /// Held while the files of snapshots are written and removed: one at a time.
    fn files(&self) -> MutexGuard<'_, ()> {
        self.writing_file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the state as it is now durable, and writes a snapshot of it into a file that the log index names. Blocks.
    pub(crate) fn write_snapshot(&self, name: impl FnOnce(u64) -> PathBuf) -> io::Result<Snapshot> {
        let _turn = self.pruning.read().unwrap_or_else(PoisonError::into_inner);
        self.flush_then(
            // Bodies and rows of the same content, whatever is installed after this.
            |applied| (applied.meta(), self.audit()),
            |(meta, audit), rows| write_rows(name, meta, &rows, &audit),
        )
    }

    /// Replaces the state by a snapshot that was received and lies in a file. Blocks.
    pub(crate) fn install(&self, meta: &SnapshotMeta, path: &Path) -> io::Result<()> {
        // Everything in the file is verified before anything of this node is touched.
        let reader = SnapshotReader::open(path).map_err(io::Error::other)?;
        reader.check_content().map_err(io::Error::other)?;
        let _turn = self.files();
        let kept = self.snapshot_path(index_of(meta));
        if kept != path {
            // Entries that the snapshot contradicts were removed from the log in memory, and must not be there again beside it.
            self.sync_log();
            // It is kept before it is used: if the process dies from here on, the next start goes on with it. Rows that neither the log nor a
            // snapshot reaches are how a loss is noticed, and such a node does not start.
            rename(path, &kept).map_err(io::Error::other)?;
        }
        self.install_from(meta, &reader)
    }

    /// Replaces the state by a snapshot that was checked. Blocks.
    pub(crate) fn install_from(&self, meta: &SnapshotMeta, reader: &SnapshotReader) -> io::Result<()> {
        let applied_row = encode(&(meta.last_log_id, &meta.last_membership));
        let rows = reader.rows().chain(std::iter::once((APPLIED_KEY, applied_row)));
        // A flush would write what goes away.
        let _turn = self.hold_flushes();
        let mut applied = self.applied();
        // The bodies first: if the process dies in between, they reach beyond the rows, and are cut at the next start.
        AuditSegments::replace_all(&self.audit_directory, reader.bodies()).map_err(io::Error::other)?;
        let installed = install_state(&self.directory, rows).map_err(io::Error::other)?;
        switch_state(&self.directory, &installed).map_err(io::Error::other)?;
        let db = StateDb::open(&self.directory).map_err(io::Error::other)?;
        let machine = Machine::load(&db).map_err(io::Error::other)?;
        let last = meta.last_log_id.map(|id| id.index);
        let audit = AuditSegments::open_above(&self.audit_directory, last, floor_of(&db)).map_err(io::Error::other)?;
        let row = db.get(&key::machine());
        self.replace(db, audit);
        applied.machine = machine;
        applied.last = meta.last_log_id;
        applied.membership = Arc::new(meta.last_membership.clone());
        self.publish(&applied, row);
        drop(applied);
        self.note_taken(meta);
        self.change
            .send_modify(|change| change.applied = LogIndex(last.unwrap_or(0)));
        Ok(())
    }

    /// A snapshot that reaches at least this log index, for a peer, in a file without a name; none if so much is not applied here. Blocks.
    pub(crate) fn lend(&self, least: u64, name: &str) -> io::Result<Option<(SnapshotMeta, File)>> {
        if self.facts().last.is_none_or(|id| id.index < least) {
            return Ok(None);
        }
        let path = self.snapshots.join(name);
        let fresh = self.write_snapshot(|_| path)?;
        let file = File::open(&fresh.snapshot)?;
        std::fs::remove_file(&fresh.snapshot)?;
        Ok(Some((fresh.meta, file)))
    }

    fn snapshot_path(&self, index: u64) -> PathBuf {
        self.snapshots.join(format!("{index:020}.{KEPT}"))
    }
}

/// The file that says what the last snapshot is of.
pub(crate) struct Taken(SmallFile);

impl Taken {
    /// The one in the directory of the snapshots.
    pub(crate) fn in_directory(snapshots: &Path) -> Self {
        Self(SmallFile::new(snapshots.join(TAKEN)))
    }

    /// What it says; none if none was taken yet.
    pub(crate) fn read(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        let Some(text) = self.0.read()? else { return Ok(None) };
        let bytes = hex::decode_all(text.trim_end());
        let meta = bytes.and_then(|bytes| decode(&bytes).ok());
        let unreadable = || StorageError::damaged(self.0.path(), "it cannot be read");
        meta.ok_or_else(unreadable).map(Some)
    }

    fn write(&self, meta: &SnapshotMeta) -> Result<(), StorageError> {
        self.0.write(&format!("{}\n", hex::encode(&encode(meta))))
    }
}

/// Writes a snapshot of these rows and bodies into a file that the log index names.
fn write_rows(
    name: impl FnOnce(u64) -> PathBuf,
    meta: SnapshotMeta,
    rows: &StateSnapshot<'_>,
    audit: &AuditSegments,
) -> io::Result<Snapshot> {
    let index = index_of(&meta);
    let last = meta.last_log_id;
    let header = SnapshotHeader {
        last_log_id: last.map_or([0; 3], |id| [id.leader_id.term, id.leader_id.node_id, id.index]),
        membership: encode(&meta.last_membership).to_vec(),
    };
    let path = name(index);
    let mut writer = SnapshotWriter::create(&path, &header).map_err(io::Error::other)?;
    let mut failed = None;
    rows.for_each(|key, row| {
        let is_replicated = key.first().is_some_and(|table| *table < key::RESERVED);
        if failed.is_none() && is_replicated {
            failed = writer.row(key, row).err();
        }
    });
    audit.export(floor_of(rows), index, |index, first_seq, body| {
        if failed.is_none() {
            failed = writer.body(index, first_seq, body).err();
        }
    });
    if let Some(error) = failed {
        return Err(io::Error::other(error));
    }
    writer.finish().map_err(io::Error::other)?;
    Ok(Snapshot { meta, snapshot: path })
}

fn index_of(meta: &SnapshotMeta) -> u64 {
    meta.last_log_id.map_or(0, |id| id.index)
}

/// What a snapshot is of, in the words of consensus.
pub(crate) fn meta_of(header: &SnapshotHeader) -> io::Result<SnapshotMeta> {
    let [term, node, index] = header.last_log_id;
    let membership = decode(&header.membership);
    Ok(SnapshotMeta {
        last_log_id: (index > 0).then(|| raft_log_id(term, node, index)),
        last_membership: membership.map_err(|_| io::Error::other("a snapshot's membership cannot be read"))?,
    })
}

/// Removes what a crash left of snapshots that were being written or received, but for the one whose rest can follow.
pub(crate) fn remove_unfinished(directory: &Path) -> io::Result<()> {
    let begun = last_part(directory);
    for file in std::fs::read_dir(directory)? {
        let path = file?.path();
        let is_kept = path.extension().is_some_and(|extension| extension == KEPT) || path.ends_with(TAKEN);
        if !is_kept && Some(&path) != begun.as_ref() {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The newest snapshot file in a directory, and the log index in its name.
pub(crate) fn newest_index(directory: &Path) -> io::Result<Option<(u64, PathBuf)>> {
    Ok(files_in(directory)?.into_iter().max())
}

/// The log index of the oldest snapshot file in a directory.
pub(crate) fn oldest_index(directory: &Path) -> io::Result<Option<u64>> {
    Ok(files_in(directory)?.into_iter().map(|(index, _)| index).min())
}

/// The files of whole snapshots, by their log indexes.
fn files_in(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(directory)? {
        let path = file?.path();
        let index = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(index) = index.filter(|_| path.extension().is_some_and(|extension| extension == KEPT)) {
            files.push((index, path));
        }
    }
    Ok(files)
}

/// Removes files of whole snapshots. One that cannot be removed costs disk space, nothing else.
pub(crate) fn remove_files(directory: &Path, is_old: impl Fn(u64) -> bool) {
    let files = files_in(directory).unwrap_or_default();
    for (_, path) in files.into_iter().filter(|(index, _)| is_old(*index)) {
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, "an old snapshot could not be removed");
        }
    }
}

const TAKEN: &str = "taken";
/// The ending of a whole snapshot's name.
const KEPT: &str = "snap";

#[cfg(test)]
mod tests;
