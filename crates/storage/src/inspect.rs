//! A look at a data directory from outside: what starting a server on it would find. Nothing is changed.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Access, FlockOperation};

use crate::StorageError;
use crate::data_dir::{FORMAT, LOCK, check_format, check_ours};

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// Nothing yet; it can be made.
    Absent,
    /// A directory that a server can use.
    Usable,
    /// A directory that a server uses now.
    InUse,
}

/// Looks at a directory.
///
/// # Errors
/// [`StorageError`] says why a server would not start on it. That a server runs is none.
pub fn inspect(path: &Path) -> Result<Inspected, StorageError> {
    let may = |path: &Path, access| rustix::fs::access(path, access).map_err(std::io::Error::from);
    if let Err(error) = fs::metadata(path) {
        if error.kind() != ErrorKind::NotFound {
            return Err(StorageError::io("look at", path)(error));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        may(parent, Access::WRITE_OK | Access::EXEC_OK).map_err(StorageError::io("create a directory in", parent))?;
        return Ok(Inspected::Absent);
    }
    let format = check_ours(path)?;
    if let Some(bytes) = format {
        check_format(&path.join(FORMAT), &bytes)?;
    }
    may(path, Access::WRITE_OK | Access::EXEC_OK).map_err(StorageError::io("write into", path))?;
    let lock = path.join(LOCK);
    let file = match File::open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Inspected::Usable),
        Err(error) => return Err(StorageError::io("open", &lock)(error)),
    };
    // Shared and for a moment: it only tells whether somebody has it alone.
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Inspected::Usable),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Inspected::InUse),
        Err(error) => Err(StorageError::io("lock", &lock)(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::DataDir;

    #[test]
    fn it_tells_what_a_start_would_find_and_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        assert_eq!(inspect(&path).unwrap(), Inspected::Absent);
        assert!(!path.exists());
        let error = inspect(&path.join("deep")).unwrap_err();
        assert!(matches!(error, StorageError::Io { .. }), "{error}");

        let dir = DataDir::open(&path).unwrap();
        assert_eq!(inspect(&path).unwrap(), Inspected::InUse);
        drop(dir);
        assert_eq!(inspect(&path).unwrap(), Inspected::Usable);
        drop(DataDir::open(&path).unwrap());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(
            inspect(&path),
            Err(StorageError::Permissions { mode: 0o755, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(path.join(FORMAT), "9\n").unwrap();
        assert!(matches!(inspect(&path), Err(StorageError::Newer { found: 9, .. })));
        fs::remove_file(path.join(FORMAT)).unwrap();
        assert!(matches!(inspect(&path), Err(StorageError::Foreign { .. })));
    }
}
