//! A file that is being received: bounded, private, and gone unless it is kept, for the rest of it to follow later.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::{StorageError, files};

/// A file that somebody sends.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: File,
    announced: u64,
    received: u64,
    ending: Ending,
}

/// What becomes of the file when nobody receives it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Removed,
    Kept,
}

impl Incoming {
    /// Begins to receive a file of so many bytes. What has this name already is overwritten.
    ///
    /// # Errors
    /// [`StorageError::Full`] if the disk has no room for it and for what will be made of it, [`StorageError::Io`] if the disk fails.
    pub fn create(path: PathBuf, announced: u64) -> Result<Self, StorageError> {
        check_room(&path, announced, 0)?;
        Ok(Self {
            file: files::create_file(&path)?,
            path,
            announced,
            received: 0,
            ending: Ending::Removed,
        })
    }

    /// Goes on to receive a file of so many bytes, of which the first `offset` are there; none of it need be. It stays when `self` goes, unless
    /// it is whole then, so that the rest can follow.
    ///
    /// # Errors
    /// [`StorageError::Full`] as [`Self::create`], [`StorageError::Damaged`] if less is there, [`StorageError::Io`] if the disk fails.
    pub fn resume(path: PathBuf, announced: u64, offset: u64) -> Result<Self, StorageError> {
        let held = Self::held(&path)?;
        if offset > held || offset > announced {
            return Err(StorageError::damaged(&path, format!("it has {held} bytes")));
        }
        check_room(&path, announced, offset)?;
        let mut file = match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => files::create_file(&path)?,
            Err(error) => return Err(StorageError::io("open", &path)(error)),
        };
        // What came after the sender asked is sent again.
        file.set_len(offset)
            .and_then(|()| file.seek(SeekFrom::Start(offset)))
            .map_err(StorageError::io("cut", &path))?;
        Ok(Self {
            path,
            file,
            announced,
            received: offset,
            ending: Ending::Kept,
        })
    }

    /// How many bytes of a file are there.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the disk fails.
    pub fn held(path: &Path) -> Result<u64, StorageError> {
        match fs::metadata(path) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(StorageError::io("look at", path)(error)),
        }
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

    /// Whether everything came that was announced.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.received == self.announced
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the whole file durable. From now on it goes away with `self`, unless it was given another name.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if less came than was announced, [`StorageError::Io`] if the disk fails.
    pub fn finish(&mut self) -> Result<(), StorageError> {
        if !self.is_whole() {
            return Err(StorageError::damaged(&self.path, "it is shorter than announced"));
        }
        self.ending = Ending::Removed;
        self.file.sync_all().map_err(StorageError::io("sync", &self.path))
    }

    /// Gives the file a name that no other transfer uses. It goes away with `self`.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the disk fails.
    pub fn rename(&mut self, to: PathBuf) -> Result<(), StorageError> {
        files::rename(&self.path, &to)?;
        self.ending = Ending::Removed;
        self.path = to;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.ending == Ending::Removed {
            // Under this name nobody needs it any more; if somebody gave it another one, there is nothing to remove.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn check_room(path: &Path, announced: u64, held: u64) -> Result<(), StorageError> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    let free =
        rustix::fs::statvfs(parent).map_err(|error| StorageError::io("ask for the room at", parent)(error.into()))?;
    let free = free.f_bavail.saturating_mul(free.f_frsize);
    let needed = announced.saturating_mul(ROOM).saturating_sub(held);
    if needed > free {
        return Err(StorageError::Full {
            path: parent.to_owned(),
            needed,
            free,
        });
    }
    Ok(())
}

/// The file itself, the rows that are made of it, and some for the log.
const ROOM: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// Abuse cases: 69.
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

    #[test]
    fn what_broke_off_goes_on_where_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut first = Incoming::resume(path.clone(), 8, 0).unwrap();
        first.write(b"first").unwrap();
        drop(first);
        assert_eq!(Incoming::held(&path).unwrap(), 5);
        assert!(Incoming::resume(path.clone(), 8, 6).is_err(), "it has not so much");
        assert!(
            Incoming::resume(path.clone(), 3, 4).is_err(),
            "that would be another file"
        );
        // The sender asked before the last byte came.
        let mut second = Incoming::resume(path.clone(), 8, 4).unwrap();
        assert!(second.finish().is_err(), "it is not whole");
        second.write(b"next").unwrap();
        let whole = directory.path().join("whole");
        second.finish().unwrap();
        second.rename(whole.clone()).unwrap();
        assert_eq!(fs::read(&whole).unwrap(), b"firsnext");
        drop(second);
        assert!(!path.exists() && !whole.exists());
    }
}
