//! Private files, written so that a crash leaves the old content or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::StorageError;

/// Makes a directory that only its owner can enter, whatever the umask, and makes its name durable. One that exists is left as it is.
pub(crate) fn create_dir(path: &Path) -> Result<(), StorageError> {
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(error) => return Err(StorageError::io("create", path)(error)),
    }
    fs::set_permissions(path, fs::Permissions::from_mode(DIR_MODE))
        .map_err(StorageError::io("set the mode of", path))?;
    sync_parent(path)
}

/// Makes an empty file that only its owner can read, whatever the umask. What was there is emptied.
pub(crate) fn create_file(path: &Path) -> Result<File, StorageError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(StorageError::io("create", path))?;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))
        .map_err(StorageError::io("set the mode of", path))?;
    Ok(file)
}

/// Replaces a file's content: after a crash the file has the old content or the new one, and after the return the new one.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let temporary = path.with_added_extension(TEMPORARY);
    let mut file = create_file(&temporary)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(StorageError::io("write", &temporary))?;
    rename(&temporary, path)
}

/// Gives a file its final name and makes that durable. The file's content must be synced before.
///
/// # Errors
/// [`StorageError`] if the disk fails.
pub fn rename(from: &Path, to: &Path) -> Result<(), StorageError> {
    fs::rename(from, to).map_err(StorageError::io("rename a file to", to))?;
    sync_parent(to)
}

/// The content of a file, or nothing if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("read", path)(error)),
    }
}

/// Removes a file durably. That it is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StorageError::io("remove", path)(error)),
    }
}

/// Copies a directory with everything in it, durably; the copy is its owner's alone. A file system that can shares the blocks.
pub(crate) fn copy_dir(from: &Path, to: &Path) -> Result<(), StorageError> {
    create_dir(to)?;
    for entry in entries(from)? {
        let target = to.join(entry.file_name());
        let source = entry.path();
        if source.is_dir() {
            copy_dir(&source, &target)?;
            continue;
        }
        let mut copy = create_file(&target)?;
        File::open(&source)
            .and_then(|mut file| std::io::copy(&mut file, &mut copy))
            .map_err(StorageError::io("copy", &source))?;
        copy.sync_all().map_err(StorageError::io("write", &target))?;
    }
    sync_dir(to)
}

/// How many bytes the files in a directory have; 0 if it is not there.
pub(crate) fn dir_bytes(dir: &Path) -> Result<u64, StorageError> {
    if !dir.exists() {
        return Ok(0);
    }
    let mut bytes = 0;
    for entry in entries(dir)? {
        let path = entry.path();
        bytes += if path.is_dir() {
            dir_bytes(&path)?
        } else {
            entry
                .metadata()
                .map_err(StorageError::io("read the size of", &path))?
                .len()
        };
    }
    Ok(bytes)
}

/// Gives everything in a directory, itself included, the owner of another path: root may work on what is another user's.
pub(crate) fn give_to_owner_of(model: &Path, dir: &Path) -> Result<(), StorageError> {
    let owner = fs::metadata(model).map_err(StorageError::io("read the owner of", model))?;
    give(dir, owner.uid(), owner.gid())
}

fn give(path: &Path, uid: u32, gid: u32) -> Result<(), StorageError> {
    let owner = fs::metadata(path).map_err(StorageError::io("read the owner of", path))?;
    if (owner.uid(), owner.gid()) != (uid, gid) {
        std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(StorageError::io("set the owner of", path))?;
    }
    if owner.is_dir() {
        entries(path)?
            .iter()
            .try_for_each(|entry| give(&entry.path(), uid, gid))?;
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, StorageError> {
    fs::read_dir(dir)
        .and_then(Iterator::collect)
        .map_err(StorageError::io("list", dir))
}

/// The names in a directory, sorted. A name that is not UTF-8 is not ours and is shown with replacement characters.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, StorageError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(StorageError::io("list", dir))? {
        let entry = entry.map_err(StorageError::io("list", dir))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(StorageError::io("sync", dir))
}

fn sync_parent(path: &Path) -> Result<(), StorageError> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// The extension of a file that is not complete.
pub(crate) const TEMPORARY: &str = "tmp";
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
