//! Up to where a sink has written: a small file in the data directory, replaced after the lines are durable.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use aumbry_storage::DataDir;
use aumbry_types::hex;
use serde::{Deserialize, Serialize};

use super::SinkError;
use super::output::Place;
use crate::config::SinkStart;

/// The state of a sink. Invariant: all records below `next` are durable in its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    version: u32,
    /// What the sink writes to, for people: a file, or the kind and name of what is elsewhere. The name of the cursor is a digest of it.
    path: PathBuf,
    /// The cluster whose log it follows.
    pub(super) cluster: String,
    /// The record that is written next.
    pub(super) next: u64,
    /// The hash of the leaf before it, in hex; empty if none was written. It tells whether a log is the one that was followed.
    pub(super) leaf: String,
    /// Where the last line ends; none before the first file.
    pub(super) place: Option<Place>,
}

impl Cursor {
    pub(super) fn new(path: &Path, cluster: String, next: u64) -> Self {
        Self {
            version: VERSION,
            path: path.to_owned(),
            cluster,
            next,
            leaf: String::new(),
            place: None,
        }
    }

    /// The stored cursor of a sink. One that cannot be read counts as none: the log is written anew, which loses nothing.
    pub(super) fn load(data: &DataDir, path: &Path) -> Result<Option<Self>, SinkError> {
        let Some(bytes) = data.read(&name(path))? else {
            return Ok(None);
        };
        let cursor = serde_json::from_slice(&bytes).ok();
        let cursor = cursor.filter(|cursor: &Self| cursor.version == VERSION && cursor.path == path);
        if cursor.is_none() {
            tracing::error!(path = %path.display(), "the cursor of an audit sink cannot be read; the sink begins anew");
        }
        Ok(cursor)
    }

    /// Stores it, durably and all at once.
    pub(super) fn save(&self, data: &DataDir) -> Result<(), SinkError> {
        let bytes = serde_json::to_vec(self).map_err(|error| SinkError::Records(error.to_string()))?;
        Ok(data.write(&name(&self.path), &bytes)?)
    }

    /// The record that a sink would write next, looked up before the node belongs to a cluster; what a new one that begins now would write is
    /// not known yet, and is beyond everything.
    pub(super) fn first_look(data: &DataDir, path: &Path, from: SinkStart) -> u64 {
        match (Self::load(data, path), from) {
            (Ok(Some(cursor)), _) => cursor.next,
            (_, SinkStart::Start) => 0,
            (_, SinkStart::Now) => u64::MAX,
        }
    }

    /// Begins anew with the first record.
    pub(super) fn restart(&mut self, data: &DataDir, cluster: String) -> Result<(), SinkError> {
        self.cluster = cluster;
        self.next = 0;
        self.leaf.clear();
        self.save(data)
    }

    /// Goes on with a later record, because those before were pruned.
    pub(super) fn skip_to(&mut self, data: &DataDir, next: u64) -> Result<(), SinkError> {
        self.next = next;
        self.leaf.clear();
        self.save(data)
    }

    /// Goes on with the log of another cluster, which is the same up to here.
    pub(super) fn move_to(&mut self, data: &DataDir, cluster: String) -> Result<(), SinkError> {
        self.cluster = cluster;
        self.save(data)
    }
}

/// The name under which a cursor is stored.
fn name(path: &Path) -> String {
    let digest = aumbry_crypto::sha256(&[path.as_os_str().as_bytes()]);
    format!("sink-{}", hex::encode(&digest[..DIGEST_BYTES]))
}

const VERSION: u32 = 1;
/// Enough to tell the files of one node apart.
const DIGEST_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_was_stored_or_none() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::open(&root.path().join("data")).unwrap();
        let path = Path::new("/var/log/a");
        assert_eq!(Cursor::load(&data, path).unwrap(), None);
        let mut cursor = Cursor::new(path, "c".to_owned(), 7);
        cursor.place = Some(Place {
            dev: 1,
            ino: 2,
            length: 3,
        });
        cursor.save(&data).unwrap();
        assert_eq!(Cursor::load(&data, path).unwrap(), Some(cursor));
        assert_eq!(Cursor::load(&data, Path::new("/var/log/b")).unwrap(), None);
        for damaged in [&b""[..], b"{}", b"nonsense"] {
            data.write(&name(path), damaged).unwrap();
            assert_eq!(Cursor::load(&data, path).unwrap(), None);
        }
    }
}
