//! A file that is being received: bounded, private, and gone unless it is kept.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::{StorageError, files};

/// A file that somebody sends.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: File,
    announced: u64,
    received: u64,
}

impl Incoming {
    /// Begins to receive a file of so many bytes. What has this name already is overwritten.
    ///
    /// # Errors
    /// [`StorageError::Full`] if the disk has no room for it and for what will be made of it, [`StorageError::Io`] if the disk fails.
    pub fn create(path: PathBuf, announced: u64) -> Result<Self, StorageError> {
        let parent = path.parent().unwrap_or_else(|| Path::new("."));
        let free = rustix::fs::statvfs(parent)
            .map_err(|error| StorageError::io("ask for the room at", parent)(error.into()))?;
        let free = free.f_bavail.saturating_mul(free.f_frsize);
        if announced.saturating_mul(ROOM) > free {
            return Err(StorageError::Full {
                path: parent.to_owned(),
                needed: announced.saturating_mul(ROOM),
                free,
            });
        }
        Ok(Self {
            file: files::create_file(&path)?,
            path,
            announced,
            received: 0,
        })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if they are more than was announced, [`StorageError::Io`] if the disk fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.received += bytes.len() as u64;
        if self.received > self.announced {
            return Err(StorageError::damaged(&self.path, "it is longer than announced"));
        }
        self.file
            .write_all(bytes)
            .map_err(StorageError::io("write", &self.path))
    }

    /// How many bytes came so far.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the whole file durable. It still goes away with `self`, unless it was given another name.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if less came than was announced, [`StorageError::Io`] if the disk fails.
    pub fn finish(&mut self) -> Result<(), StorageError> {
        if self.received != self.announced {
            return Err(StorageError::damaged(&self.path, "it is shorter than announced"));
        }
        self.file.sync_all().map_err(StorageError::io("sync", &self.path))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Under its first name nobody needs it any more; if it was renamed, there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}

/// The file itself, the rows that are made of it, and some for the log.
const ROOM: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_announced_is_refused_and_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for (announced, sent, whole) in [(4, &b"four"[..], true), (5, b"four", false), (3, b"four", false)] {
            let mut incoming = Incoming::create(path.clone(), announced).unwrap();
            let received = incoming.write(sent).and_then(|()| incoming.finish());
            assert_eq!(received.is_ok(), whole, "{announced}");
            assert!(path.exists());
            drop(incoming);
            assert!(!path.exists());
        }
        let error = Incoming::create(path.clone(), 1 << 60).unwrap_err();
        assert!(matches!(error, StorageError::Full { .. }), "{error}");
        assert!(!path.exists(), "nothing is made for what has no room");
    }
}
