//! The archive of the audit log in a directory: one file for each 4,096 records, named by the first, which `aumbry-verify export` takes.
//!
//! What it guarantees:
//! - A file has its name once it is whole, durable and verified. Which are there is all that is known of how far the archive is, so that no crash
//!   can make that wrong.
//! - Nodes that share a directory write the same bytes under the same names.
//! - No request waits for it, and a directory that is full or gone stops nothing else.
//!
//! What it does not do: remove files, notice that somebody else did, or look into those that are there but for whose log they are of.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aumbry_audit::export::verify;
use aumbry_node::{Node, archive_end};
use aumbry_storage::with_causes;
use aumbry_types::NodeId;
use tokio::sync::watch;

/// The archive of this node.
pub(crate) struct Archive {
    directory: PathBuf,
    node: NodeId,
    /// How far it is; nothing before it was looked at, and after a failure.
    next: Mutex<Option<u64>>,
}

impl Archive {
    pub(crate) fn new(directory: &Path, node: NodeId) -> Self {
        Self {
            directory: directory.to_owned(),
            node,
            next: Mutex::default(),
        }
    }

    /// Writes what is missing until `stop` turns true.
    pub(crate) async fn follow(self, node: Arc<Node>, mut stop: watch::Receiver<bool>) {
        let archive = Arc::new(self);
        let mut is_failing = false;
        loop {
            let (looking, looked_at) = (Arc::clone(&archive), Arc::clone(&node));
            let look = tokio::task::spawn_blocking(move || looking.look(&looked_at));
            let pause = match look.await {
                Ok(Ok(wrote)) => {
                    is_failing = false;
                    if wrote { BREATH } else { TICK }
                }
                Ok(Err(error)) => {
                    if !is_failing {
                        let directory = archive.directory.display();
                        tracing::error!(%directory, error, "the archive of the audit log cannot be written; requests go on, and it is tried again");
                    }
                    is_failing = true;
                    RETRY
                }
                // It was cancelled, because the node ends.
                Err(_) => return,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Looks how far the archive is, and writes the next file if the log goes that far. True if it did.
    fn look(&self, node: &Node) -> Result<bool, String> {
        let Some(origin) = node.audit_origin() else {
            return Ok(false);
        };
        let floor = node.audit_floor();
        let mut known = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out: who fails looks at the directory again.
        let next = match known.take().filter(|next| *next >= floor) {
            Some(next) => next,
            None => self.next(&origin, floor).map_err(|error| with_causes(&error))?,
        };
        node.note_archived(next);
        if node.audit_size() < archive_end(next) {
            *known = Some(next);
            return Ok(false);
        }
        let path = self.path(next);
        if path.exists() {
            // Another node was first.
            let _ = self.is_of(next, &origin).map_err(|error| with_causes(&error))?;
            node.note_archived(archive_end(next));
            *known = Some(archive_end(next));
            return Ok(true);
        }
        // Of one node alone, and written over after a crash.
        let part = path.with_extension(format!("part-{}", self.node));
        let written = self.write(node, next, &part);
        if !matches!(written, Ok(true)) {
            let _ = fs::remove_file(&part);
            return written;
        }
        aumbry_storage::rename(&part, &path).map_err(|error| with_causes(&error))?;
        node.note_archived(archive_end(next));
        *known = Some(archive_end(next));
        Ok(true)
    }

    /// The first record that no file has: from the floor on, without a hole, in files of this log.
    fn next(&self, origin: &str, floor: u64) -> io::Result<u64> {
        let mut firsts = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let first = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            firsts.extend(first.filter(|first| path == self.path(*first)));
        }
        firsts.sort_unstable();
        let mut next = floor;
        for first in firsts {
            if first <= next && next < archive_end(first) && self.is_of(first, origin)? {
                next = archive_end(first);
            }
        }
        Ok(next)
    }

    /// Whether a file is of this log, by its first line.
    fn is_of(&self, first: u64, origin: &str) -> io::Result<bool> {
        let mut line = Vec::new();
        let file = File::open(self.path(first))?;
        let _ = BufReader::new(file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        let header: serde_json::Value = serde_json::from_slice(&line).unwrap_or_default();
        if header["origin"] != origin || header["first_seq"] != first {
            let path = self.path(first);
            let text = format!(
                "{} is of another log: give each cluster a directory of its own",
                path.display()
            );
            return Err(io::Error::other(text));
        }
        Ok(true)
    }

    /// Writes a file, makes it durable, and verifies it as an auditor would. False if the node was sealed meanwhile.
    fn write(&self, node: &Node, first: u64, part: &Path) -> Result<bool, String> {
        let told = |error: io::Error| format!("{}: {error}", part.display());
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(part).map_err(told)?;
        let Some(fingerprint) = node
            .write_archive(first, BufWriter::new(&file))
            .map_err(|failure| failure.message)?
        else {
            return Ok(false);
        };
        file.sync_all().map_err(told)?;
        let written = File::open(part).map_err(told)?;
        let verified = verify(BufReader::new(written), Some(fingerprint)).map_err(|error| with_causes(&error))?;
        if (verified.first_seq, verified.size) != (first, archive_end(first)) {
            return Err(format!("{} has other records than were written", part.display()));
        }
        Ok(true)
    }

    fn path(&self, first: u64) -> PathBuf {
        self.directory.join(format!("{first:020}.audit"))
    }
}

/// How often the end of the log is looked at: an archive has what is older than a file, and nothing waits for it.
const TICK: Duration = Duration::from_secs(2);
/// Between two files the processor is there for others.
const BREATH: Duration = Duration::from_millis(50);
/// A disk that was freed is noticed within it.
const RETRY: Duration = Duration::from_secs(10);
/// A header has 64 hashes at most.
const LINE_BYTES_MAX: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn put(archive: &Archive, first: u64, origin: &str) {
        let header = serde_json::json!({ "origin": origin, "first_seq": first });
        fs::write(archive.path(first), format!("{header}\n")).unwrap();
    }

    #[test]
    fn an_archive_is_as_far_as_its_files_are_without_a_hole() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::new(directory.path(), NodeId(1));
        let next = |floor| archive.next("log", floor).unwrap();
        assert_eq!((next(0), next(512)), (0, 512));
        put(&archive, 0, "log");
        put(&archive, 4_096, "log");
        put(&archive, 12_288, "log");
        fs::write(directory.path().join("00000000000000008192.part-1"), "half").unwrap();
        fs::write(directory.path().join("8192.audit"), "another name").unwrap();
        assert_eq!((next(0), next(512), next(8_192)), (8_192, 8_192, 8_192));
        // After a prune without it, it begins at the floor.
        assert_eq!((next(8_448), next(12_544)), (8_448, 16_384));
        put(&archive, 8_448, "log");
        assert_eq!((next(8_448), next(8_192)), (16_384, 8_192));
        put(&archive, 8_192, "other");
        assert!(archive.next("log", 0).unwrap_err().to_string().contains("another log"));
        assert!(
            Archive::new(&directory.path().join("none"), NodeId(1))
                .next("log", 0)
                .is_err()
        );
    }
}
