//! A small text file of the data directory that is replaced as a whole, and whose bytes are checked when they are read.

use std::path::{Path, PathBuf};

use crate::{StorageError, files};

/// A small text file of an open [`crate::DataDir`], which is not used once that is closed.
#[derive(Debug)]
pub struct SmallFile {
    path: PathBuf,
}

impl SmallFile {
    /// The file at this path, whether or not it is there.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text, or nothing if there is no such file.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if it is not what was written, [`StorageError::Io`] if the disk fails.
    pub fn read(&self) -> Result<Option<String>, StorageError> {
        let Some(bytes) = files::read(&self.path)? else {
            return Ok(None);
        };
        let text = decode(bytes).ok_or_else(|| StorageError::damaged(&self.path, "its checksum is wrong"))?;
        Ok(Some(text))
    }

    /// Replaces the text, which is whole lines, durably and all at once.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the disk fails.
    pub fn write(&self, text: &str) -> Result<(), StorageError> {
        let checksum = crc32c::crc32c(text.as_bytes());
        files::write_atomic(&self.path, format!("{text}{LABEL}{checksum:08x}\n").as_bytes())
    }
}

fn decode(bytes: Vec<u8>) -> Option<String> {
    let mut text = String::from_utf8(bytes).ok()?;
    let start = text.len().checked_sub(LABEL.len() + CHECKSUM_BYTES)?;
    let last = text.get(start..)?.strip_prefix(LABEL)?;
    (last == format!("{:08x}\n", crc32c::crc32c(&text.as_bytes()[..start]))).then_some(())?;
    text.truncate(start);
    Some(text)
}

const LABEL: &str = "crc32c ";
/// Eight digits, and the end of the line.
const CHECKSUM_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = SmallFile::new(dir.path().join("small"));
        assert_eq!(file.read().unwrap(), None);
        for text in ["", "one\n", "one\ntwo 2\n"] {
            file.write(text).unwrap();
            assert_eq!(file.read().unwrap().as_deref(), Some(text));
        }
        let whole = std::fs::read(file.path()).unwrap();
        assert_eq!(whole, b"one\ntwo 2\ncrc32c 20c86133\n", "frozen");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(file.path(), changed).unwrap();
            assert!(matches!(file.read(), Err(StorageError::Damaged { .. })), "byte {at}");
            std::fs::write(file.path(), &whole[..at]).unwrap();
            assert!(matches!(file.read(), Err(StorageError::Damaged { .. })), "cut at {at}");
        }
    }
}
