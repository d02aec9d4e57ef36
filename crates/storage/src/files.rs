//! Private files, written so that a crash leaves the old content or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Dir, OFlags};
use rustix::io::Errno;

use crate::StorageError;

/// Makes a directory that only its owner can enter, whatever the umask, and makes its name durable. One that exists is left as it is.
pub(crate) fn create_dir(path: &Path) -> Result<(), StorageError> {
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(error) => return Err(StorageError::io("create", path)(error)),
    }
    // Not by its name: where the directory around it is another user's, that may be another file by now.
    open_options()
        .read(true)
        .open(path)
        .and_then(|dir| dir.set_permissions(fs::Permissions::from_mode(DIR_MODE)))
        .map_err(StorageError::io("set the mode of", path))?;
    sync_parent(path)
}

/// Makes an empty file that only its owner can read, whatever the umask. What was there is emptied, if it is a file: where root works on what is
/// another user's, a link could lead to any file of the system.
pub(crate) fn create_file(path: &Path) -> Result<File, StorageError> {
    let file = open_options()
        .read(true)
        .write(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(StorageError::io("create", path))?;
    check_kind(&file, path, Kind::File)?;
    file.set_len(0)
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(FILE_MODE)))
        .map_err(StorageError::io("set the mode of", path))?;
    Ok(file)
}

/// Options to open what a name stands for, never what it leads to, and without waiting for anybody's other end of it.
pub(crate) fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed());
    options
}

/// What an open file may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    FileOrDirectory,
}

/// Refuses what is not of this kind.
pub(crate) fn check_kind(file: &File, path: &Path, kind: Kind) -> Result<fs::Metadata, StorageError> {
    let found = file.metadata().map_err(StorageError::io("look at", path))?;
    match found.is_file() || (kind == Kind::FileOrDirectory && found.is_dir()) {
        true => Ok(found),
        false => Err(foreign(path)),
    }
}

fn foreign(path: &Path) -> StorageError {
    StorageError::Irregular { path: path.to_owned() }
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
        if is_dir(&entry)? {
            copy_dir(&source, &target)?;
            continue;
        }
        let mut file = open_options()
            .read(true)
            .open(&source)
            .map_err(StorageError::io("copy", &source))?;
        check_kind(&file, &source, Kind::File)?;
        let mut copy = create_file(&target)?;
        std::io::copy(&mut file, &mut copy).map_err(StorageError::io("copy", &source))?;
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
        bytes += if is_dir(&entry)? {
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

/// Gives everything in a directory, itself included, the owner of another path: root may work on what is another user's. Links are refused, and no
/// name is looked at twice: its owner could lead root to a file of the system meanwhile.
pub(crate) fn give_to_owner_of(model: &Path, dir: &Path) -> Result<(), StorageError> {
    let owner = fs::metadata(model).map_err(StorageError::io("read the owner of", model))?;
    // The directory itself may be behind a link that the operator made.
    let root = File::open(dir).map_err(StorageError::io("open", dir))?;
    give(&root, dir, &owner)
}

fn give(file: &File, path: &Path, owner: &fs::Metadata) -> Result<(), StorageError> {
    let found = check_kind(file, path, Kind::FileOrDirectory)?;
    if (found.uid(), found.gid()) != (owner.uid(), owner.gid()) {
        std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))
            .map_err(StorageError::io("set the owner of", path))?;
    }
    if !found.is_dir() {
        return Ok(());
    }
    let list = StorageError::io("list", path);
    let names = Dir::read_from(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    for entry in names.map_err(|error| list(error.into()))? {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(file, name, flags, rustix::fs::Mode::empty());
        let child = opened.map_err(|error| match error {
            Errno::LOOP | Errno::NXIO => foreign(&path),
            error => StorageError::io("open", &path)(error.into()),
        })?;
        give(&File::from(child), &path, owner)?;
    }
    Ok(())
}

/// Refuses a directory with anything in it but files and directories.
pub(crate) fn check_regular(dir: &Path) -> Result<(), StorageError> {
    for entry in entries(dir)? {
        let path = entry.path();
        let kind = entry.file_type().map_err(StorageError::io("look at", &path))?;
        if kind.is_dir() {
            check_regular(&path)?;
        } else if !kind.is_file() {
            return Err(foreign(&path));
        }
    }
    Ok(())
}

/// Whether it is a directory itself, not a link to one.
fn is_dir(entry: &fs::DirEntry) -> Result<bool, StorageError> {
    let kind = entry.file_type();
    Ok(kind.map_err(StorageError::io("look at", &entry.path()))?.is_dir())
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn is_irregular<T>(done: Result<T, StorageError>) -> bool {
        matches!(done, Err(StorageError::Irregular { .. }))
    }

    /// The owner of a data directory must not lead root, who repairs it, to a file of the system.
    #[test]
    fn no_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let [data, copy, victim, shelf] = ["data", "copy", "victim", "shelf"].map(|name| root.path().join(name));
        fs::create_dir_all(data.join("state")).unwrap();
        fs::create_dir(&shelf).unwrap();
        for path in [&victim, &shelf.join("book"), &data.join("state/file")] {
            fs::write(path, "content").unwrap();
        }
        // The control.
        check_regular(&data).unwrap();
        copy_dir(&data, &copy).unwrap();
        give_to_owner_of(&data, &data).unwrap();
        assert_eq!(fs::read(copy.join("state/file")).unwrap(), b"content");
        assert_eq!(dir_bytes(&data).unwrap(), 7);

        let link = data.join("state/link");
        for target in [&victim, &shelf] {
            symlink(target, &link).unwrap();
            assert!(create_file(&link).is_err());
            assert!(is_irregular(check_regular(&data)));
            assert!(is_irregular(give_to_owner_of(&data, &data)));
            assert!(copy_dir(&data, &root.path().join("other")).is_err());
            assert!(!root.path().join("other/state/link").exists());
            fs::remove_file(&link).unwrap();
        }
        rustix::fs::mknodat(rustix::fs::CWD, &link, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(is_irregular(create_file(&link)));
        assert!(is_irregular(check_regular(&data)));
        assert!(is_irregular(give_to_owner_of(&data, &data)));
        assert!(is_irregular(copy_dir(&data, &root.path().join("another"))));
        assert_eq!(fs::read(&victim).unwrap(), b"content");
        assert_eq!(fs::read(shelf.join("book")).unwrap(), b"content");
    }
}
