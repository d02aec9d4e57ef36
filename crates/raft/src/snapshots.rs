//! Snapshots of the applied state: taken, kept, installed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aumbry_state::{Machine, View as _, key};
use aumbry_storage::{
    AuditSegments, SnapshotHeader, SnapshotReader, SnapshotWriter, Space, StateDb, StateSnapshot, install_state,
    rename, switch_state,
};
use aumbry_types::LogIndex;

use crate::state_machine::{APPLIED_KEY, Shared};
use crate::transfer::last_part;
use crate::types::{RaftLogId, Snapshot, SnapshotMeta, StoredMembership, decode, encode, raft_log_id};

impl Shared {
    /// Whether a snapshot of the state would find room on the disk. Blocks.
    pub(crate) fn has_room_for_copy(&self, space: &Space) -> bool {
        space.holds_a_copy(&[&self.directory, &self.audit_directory])
    }

    /// Takes a snapshot for the log to be purged behind it, and removes the one before. Blocks.
    pub(crate) fn build(&self) -> io::Result<Snapshot> {
        // The log may be purged up to here afterwards: what is applied is durable by then.
        let snapshot = self.write_snapshot(|index| self.snapshot_path(index))?;
        let index = snapshot.meta.last_log_id.map_or(0, |id| id.index);
        remove_older_snapshots(&self.snapshots, index);
        Ok(snapshot)
    }

    /// Makes the state as it is now durable, and writes a snapshot of it into a file that the log index names. Blocks.
    pub(crate) fn write_snapshot(&self, name: impl FnOnce(u64) -> PathBuf) -> io::Result<Snapshot> {
        self.flush_then(
            // Bodies and rows of the same content, whatever is installed after this.
            |applied| (applied.last, (*applied.membership).clone(), self.audit()),
            |(last, membership, audit), rows| write_rows(name, last, membership, &rows, &audit),
        )
    }

    /// Replaces the state by a snapshot that was received and lies in a file. Blocks.
    pub(crate) fn install(&self, meta: &SnapshotMeta, path: &Path) -> io::Result<()> {
        // Everything in the file is verified before anything of this node is touched.
        let reader = SnapshotReader::open(path).map_err(io::Error::other)?;
        reader.check_content().map_err(io::Error::other)?;
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let kept = self.snapshot_path(index);
        if kept != path {
            // Entries that the snapshot contradicts were removed from the log in memory, and must not be there again beside it.
            self.sync_log();
            // It is kept before it is used: if the process dies from here on, the next start goes on with it. Rows that neither the log nor a
            // snapshot reaches are how a loss is noticed, and such a node does not start.
            rename(path, &kept).map_err(io::Error::other)?;
        }
        self.install_from(meta, &reader)?;
        remove_older_snapshots(&self.snapshots, index);
        Ok(())
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
        let audit = AuditSegments::open(&self.audit_directory, last).map_err(io::Error::other)?;
        let row = db.get(&key::machine());
        self.replace(db, audit);
        applied.machine = machine;
        applied.last = meta.last_log_id;
        applied.membership = Arc::new(meta.last_membership.clone());
        self.publish(&applied, row);
        drop(applied);
        self.change
            .send_modify(|change| change.applied = LogIndex(last.unwrap_or(0)));
        Ok(())
    }

    /// The newest snapshot on disk, if there is one. Its header alone is read: what is in it was checked when this node wrote or received it, or at
    /// its start, and is checked again by whoever gets it. Blocks, but not for long.
    pub(crate) fn current(&self) -> io::Result<Option<Snapshot>> {
        let Some(path) = newest_snapshot(&self.snapshots)? else {
            return Ok(None);
        };
        let header = SnapshotReader::header_of(&path).map_err(io::Error::other)?;
        Ok(Some(Snapshot {
            meta: meta_of(&header)?,
            snapshot: path,
        }))
    }

    /// A snapshot that reaches at least this log index, for a peer: the one that is kept, or a fresh one in a file without a name; none if so much is
    /// not applied here. Blocks.
    pub(crate) fn lend(&self, least: u64, name: &str) -> io::Result<Option<(SnapshotMeta, File)>> {
        // One that is damaged is not lent.
        if let Ok(Some(kept)) = self.current()
            && kept.meta.last_log_id.is_some_and(|id| id.index >= least)
            && SnapshotReader::open(&kept.snapshot).is_ok()
        {
            return Ok(Some((kept.meta, File::open(kept.snapshot)?)));
        }
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

/// Writes a snapshot of these rows and bodies into a file that the log index names.
fn write_rows(
    name: impl FnOnce(u64) -> PathBuf,
    last: Option<RaftLogId>,
    membership: StoredMembership,
    rows: &StateSnapshot<'_>,
    audit: &AuditSegments,
) -> io::Result<Snapshot> {
    let index = last.map_or(0, |id| id.index);
    let header = SnapshotHeader {
        last_log_id: last.map_or([0; 3], |id| [id.leader_id.term, id.leader_id.node_id, id.index]),
        membership: encode(&membership).to_vec(),
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
    audit.export(index, |index, first_seq, body| {
        if failed.is_none() {
            failed = writer.body(index, first_seq, body).err();
        }
    });
    if let Some(error) = failed {
        return Err(io::Error::other(error));
    }
    writer.finish().map_err(io::Error::other)?;
    Ok(Snapshot {
        meta: SnapshotMeta {
            last_log_id: last,
            last_membership: membership,
        },
        snapshot: path,
    })
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
        let is_kept = path.extension().is_some_and(|extension| extension == KEPT);
        if !is_kept && Some(&path) != begun.as_ref() {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The newest snapshot in a directory, and the log index in its name.
pub(crate) fn newest_index(directory: &Path) -> io::Result<Option<(u64, PathBuf)>> {
    let newest = newest_snapshot(directory)?;
    let index = |path: &Path| path.file_stem()?.to_str()?.parse().ok();
    Ok(newest.and_then(|path| Some((index(&path)?, path))))
}

fn newest_snapshot(directory: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for file in std::fs::read_dir(directory)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == KEPT) && Some(&path) > newest.as_ref() {
            newest = Some(path);
        }
    }
    Ok(newest)
}

/// A file that cannot be removed costs disk space, nothing else. Those that are being received have another ending.
fn remove_older_snapshots(directory: &Path, newest: u64) {
    let kept = directory.join(format!("{newest:020}.{KEPT}"));
    let Ok(files) = std::fs::read_dir(directory) else {
        return;
    };
    let paths = files.flatten().map(|file| file.path());
    // A newer one may have been received while this one was written.
    for path in paths.filter(|path| *path < kept && path.extension().is_some_and(|extension| extension == KEPT)) {
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, "an old snapshot could not be removed");
        }
    }
}

/// The ending of a whole snapshot's name.
const KEPT: &str = "snap";

#[cfg(test)]
mod tests;
