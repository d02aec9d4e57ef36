//! A node's data directory: private, locked, and of a known format.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::small_file::SmallFile;
use crate::{StorageError, files, replacement};

/// The directory that holds everything a node keeps. Invariant: while this value lives, no other process has the directory open.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The lock goes with the open file, so also when the process is killed.
    _lock: File,
}

impl DataDir {
    /// Opens a data directory; a new or empty one is set up.
    ///
    /// # Errors
    /// [`StorageError`] if other users may enter it, another process has it open, it belongs to something else or to a newer version, or the
    /// disk fails.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        files::create_dir(path)?;
        refuse_links(path)?;
        // Checked before the lock file is made, so that a foreign directory is left untouched.
        let format = check_ours(path)?;
        let lock = lock(&path.join(LOCK))?;
        match format {
            None => files::write_atomic(&path.join(FORMAT), format!("{VERSION}\n").as_bytes())?,
            Some(bytes) => check_format(&path.join(FORMAT), &bytes)?,
        }
        replacement::settle(path)?;
        let dir = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        files::create_dir(&dir.snapshots())?;
        Ok(dir)
    }

    /// Opens a data directory that is there; makes none.
    ///
    /// # Errors
    /// As [`Self::open`], and [`StorageError::Missing`] if there is none.
    pub fn open_existing(path: &Path) -> Result<Self, StorageError> {
        if files::read(&path.join(FORMAT))?.is_none() {
            return Err(StorageError::Missing { path: path.to_owned() });
        }
        Self::open(path)
    }

    /// Takes hold of a data directory to look at it, whatever its format file says; what is wrong with that comes along. Makes nothing but the lock
    /// file, and not even that on a file system that can only be read; a replacement of the content that counts already is finished.
    ///
    /// # Errors
    /// [`StorageError`] if there is no such directory, other users may enter it, another process has it open, or the disk fails.
    pub fn look(path: &Path) -> Result<(Self, Option<StorageError>), StorageError> {
        check_mode(path)?;
        refuse_links(path)?;
        let lock = lock(&path.join(LOCK))?;
        replacement::settle_begun(path)?;
        let file = path.join(FORMAT);
        let wrong = match files::read(&file)? {
            None if files::names(path)?.iter().all(|name| is_setup(name)) => None,
            None => Some(StorageError::damaged(&file, "it is missing")),
            Some(bytes) => check_format(&file, &bytes).err(),
        };
        let dir = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        Ok((dir, wrong))
    }

    /// Writes the format file anew.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails.
    pub fn write_format(&self) -> Result<(), StorageError> {
        files::write_atomic(&self.path.join(FORMAT), format!("{VERSION}\n").as_bytes())
    }

    /// Gives all that is in the directory to its owner: root may work on what is another user's.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails.
    pub fn give_to_owner(&self) -> Result<(), StorageError> {
        files::give_to_owner_of(&self.path, &self.path)
    }

    /// What is in the directory, but for what makes it one and for what was set aside.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails.
    pub fn names(&self) -> Result<Vec<String>, StorageError> {
        let names = files::names(&self.path)?;
        let is_aside = |name: &String| name.starts_with(ASIDE) || replacement::is_aside(name);
        let content = |name: &String| !is_setup(name) && name != FORMAT && !is_aside(name);
        Ok(names.into_iter().filter(content).collect())
    }

    /// The names, in a data directory, of what was set aside by a repair, a recovery or a restore, and of what was being built to take the place of the content.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails.
    pub fn set_aside_in(path: &Path) -> Result<Vec<String>, StorageError> {
        let names = files::names(path)?;
        let is_aside = |name: &String| name.starts_with(ASIDE) || replacement::is_aside(name);
        Ok(names.into_iter().filter(is_aside).collect())
    }

    /// Moves files and directories, named by their paths below this one, into a new directory `damaged-<n>`, durably, and returns it. What is not
    /// there is left out.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails.
    pub fn set_aside(&self, paths: &[PathBuf]) -> Result<PathBuf, StorageError> {
        let taken = files::names(&self.path)?;
        let numbers = taken
            .iter()
            .filter_map(|name| name.strip_prefix(ASIDE)?.parse::<u32>().ok());
        let aside = self.path.join(format!("{ASIDE}{}", numbers.max().unwrap_or(0) + 1));
        files::create_dir(&aside)?;
        for path in paths {
            let from = self.path.join(path);
            if !from.exists() {
                continue;
            }
            let to = aside.join(path);
            if let Some(parent) = to.parent() {
                files::create_dir(parent)?;
            }
            files::rename(&from, &to)?;
            if let Some(parent) = from.parent() {
                files::sync_dir(parent)?;
            }
        }
        Ok(aside)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where [`crate::StateDb`] lives.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Where [`crate::Wal`] lives.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where [`crate::AuditSegments`] live.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.path.join("audit")
    }

    /// Where [`crate::TreeHashes`] live, which are made again from the audit bodies if they are lost.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    /// Where snapshot files live. It exists.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// The content of a small file in the directory, or nothing if there is no such file.
    ///
    /// # Errors
    /// [`StorageError`] if the name is not a plain one, or the disk fails.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        files::read(&self.file(name)?)
    }

    /// Replaces a small file in the directory, durably and all at once.
    ///
    /// # Errors
    /// [`StorageError`] if the name is not a plain one, or the disk fails.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        files::write_atomic(&self.file(name)?, bytes)
    }

    /// Removes a small file from the directory, durably. That it is not there is no error.
    ///
    /// # Errors
    /// [`StorageError`] if the name is not a plain one, or the disk fails.
    pub fn remove(&self, name: &str) -> Result<(), StorageError> {
        files::remove(&self.file(name)?)
    }

    /// A small file in the directory whose bytes are checked.
    ///
    /// # Errors
    /// [`StorageError`] if the name is not a plain one.
    pub fn small_file(&self, name: &str) -> Result<SmallFile, StorageError> {
        self.file(name).map(SmallFile::new)
    }

    /// Removes log, rows, audit bodies and snapshots. Small files stay.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails.
    pub fn clear(&self) -> Result<(), StorageError> {
        remove(&self.log())?;
        self.clear_applied()
    }

    /// Removes rows, audit bodies and snapshots, which can be had again. The log stays.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails.
    pub fn clear_applied(&self) -> Result<(), StorageError> {
        for directory in [self.state(), self.audit(), self.tree(), self.snapshots()] {
            remove(&directory)?;
        }
        files::create_dir(&self.snapshots())
    }

    fn file(&self, name: &str) -> Result<PathBuf, StorageError> {
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if name.is_empty() || name.starts_with('.') || !plain || is_setup(name) || name == FORMAT {
            return Err(StorageError::Name { name: name.to_owned() });
        }
        Ok(self.path.join(name))
    }
}

fn remove(directory: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StorageError::io("remove", directory)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The bytes of the format of a directory that is private, and ours or empty.
pub(crate) fn check_ours(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    check_mode(path)?;
    let format = files::read(&path.join(FORMAT))?;
    let names = files::names(path)?;
    if format.is_none() && names.iter().any(|name| name == "log") {
        return Err(StorageError::damaged(&path.join(FORMAT), "it is missing"));
    }
    if format.is_none() && !names.iter().all(|name| is_setup(name)) {
        return Err(StorageError::Foreign { path: path.to_owned() });
    }
    Ok(format)
}

fn check_mode(path: &Path) -> Result<(), StorageError> {
    let metadata = fs::metadata(path).map_err(StorageError::io("read the mode of", path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StorageError::Permissions {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

/// Whether a name may be there before the format is: a crash can come between.
fn is_setup(name: &str) -> bool {
    name == LOCK || name == "FORMAT.tmp"
}

/// Root repairs what is another user's, whose links would lead it to any file of the system. Who works on what is his own may have made them.
fn refuse_links(path: &Path) -> Result<(), StorageError> {
    let found = fs::metadata(path).map_err(StorageError::io("read the owner of", path))?;
    if rustix::process::geteuid().is_root() && found.uid() != 0 {
        files::check_regular(path)?;
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, StorageError> {
    let opened = files::open_options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    // A failing disk is often mounted so that it can only be read: that is when somebody wants to look.
    let opened = match opened {
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => files::open_options().read(true).open(path),
        other => other,
    };
    let file = opened.map_err(StorageError::io("create", path))?;
    files::check_kind(&file, path, files::Kind::File)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StorageError::Locked { path: path.to_owned() }),
        Err(error) => Err(StorageError::io("lock", path)(error.into())),
    }
}

pub(crate) fn check_format(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let found = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.trim_end().parse::<u32>().ok())
        .filter(|version| *version > 0)
        .ok_or_else(|| StorageError::damaged(path, "it names no version"))?;
    if found > VERSION {
        return Err(StorageError::Newer {
            path: path.to_owned(),
            found,
            supported: VERSION,
        });
    }
    if found < VERSION {
        return Err(StorageError::Older {
            path: path.to_owned(),
            found,
            supported: VERSION,
        });
    }
    Ok(())
}

pub(crate) const LOCK: &str = "LOCK";
pub(crate) const FORMAT: &str = "FORMAT";
/// What a directory is called to which something was moved that is damaged; a number follows.
const ASIDE: &str = "damaged-";
/// The version of everything below the directory. Raised when an older build could no longer read it. Version 1 had its log in a RocksDB and was
/// in no release.
const VERSION: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// Abuse cases: 115.
    #[test]
    fn a_new_directory_is_private_and_opens_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let dir = DataDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        dir.write("node", b"one").unwrap();
        dir.write("node", b"two").unwrap();
        let mode = fs::metadata(path.join("node")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(dir);
        let dir = DataDir::open(&path).unwrap();
        assert_eq!(dir.read("node").unwrap(), Some(b"two".to_vec()));
        dir.remove("node").unwrap();
        dir.remove("node").unwrap();
        assert_eq!(dir.read("node").unwrap(), None);
    }

    #[test]
    fn one_process_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let dir = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(error, StorageError::Locked { .. }), "{error}");
        drop(dir);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        drop(DataDir::open(&path).unwrap());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(error, StorageError::Permissions { mode: 0o750, .. }));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();

        fs::write(path.join(FORMAT), "3\n").unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(error, StorageError::Newer { found: 3, .. }));
        fs::write(path.join(FORMAT), "1\n").unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(error, StorageError::Older { found: 1, .. }));

        fs::remove_file(path.join(FORMAT)).unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(error, StorageError::Foreign { .. }));
    }

    /// Abuse cases: 69.
    #[test]
    fn a_name_cannot_leave_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&root.path().join("data")).unwrap();
        for name in ["", "..", "../x", "a/b", ".hidden", "LOCK", "FORMAT"] {
            let error = dir.write(name, b"").unwrap_err();
            assert!(matches!(error, StorageError::Name { .. }), "{name}");
        }
    }
}
