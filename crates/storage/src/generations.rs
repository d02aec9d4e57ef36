//! A directory with numbered directories, of which the file `CURRENT` names the one that counts.
//!
//! A new content is built beside the old one and becomes current by one atomic rename. Whatever `CURRENT` does not name is left over from a crash
//! or from before the last switch, and goes away at the next [`open`].

use std::fs;
use std::path::{Path, PathBuf};

use crate::{StorageError, files};

/// The current directory; the first one is made if there is none. Removes all others.
pub(crate) fn open(dir: &Path) -> Result<PathBuf, StorageError> {
    files::create_dir(dir)?;
    let current = match current(dir)? {
        Some(current) => current,
        None => {
            refuse_orphans(dir)?;
            let first = create_next(dir)?;
            switch(dir, &first)?;
            first
        }
    };
    for number in numbers(dir)? {
        let path = dir.join(number.to_string());
        if path != current {
            fs::remove_dir_all(&path).map_err(StorageError::io("remove", &path))?;
        }
    }
    Ok(current)
}

/// Makes a new, empty directory, which is not current yet.
pub(crate) fn create_next(dir: &Path) -> Result<PathBuf, StorageError> {
    files::create_dir(dir)?;
    let last = numbers(dir)?.into_iter().max().unwrap_or(0);
    let path = dir.join((last + 1).to_string());
    files::create_dir(&path)?;
    Ok(path)
}

/// Makes `target`, whose content must be durable, the current directory.
pub(crate) fn switch(dir: &Path, target: &Path) -> Result<(), StorageError> {
    let name = target
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| name.parse::<u64>().is_ok() && target.parent() == Some(dir))
        .ok_or_else(|| StorageError::Name {
            name: target.display().to_string(),
        })?;
    files::write_atomic(&dir.join(CURRENT), format!("{name}\n").as_bytes())
}

/// Without `CURRENT` nothing says which content counts, and what is there must not be taken for left-overs. A crash before the first switch leaves
/// an empty directory at most.
fn refuse_orphans(dir: &Path) -> Result<(), StorageError> {
    for number in numbers(dir)? {
        if !files::names(&dir.join(number.to_string()))?.is_empty() {
            return Err(StorageError::damaged(&dir.join(CURRENT), "it is missing"));
        }
    }
    Ok(())
}

/// As [`open`], but nothing is made or removed: none if there is nothing.
pub(crate) fn look(dir: &Path) -> Result<Option<PathBuf>, StorageError> {
    if !dir.exists() {
        return Ok(None);
    }
    let current = current(dir)?;
    if current.is_none() {
        refuse_orphans(dir)?;
    }
    Ok(current)
}

/// The current directory, if there is one. Changes nothing.
pub(crate) fn current(dir: &Path) -> Result<Option<PathBuf>, StorageError> {
    let pointer = dir.join(CURRENT);
    let Some(bytes) = files::read(&pointer)? else {
        return Ok(None);
    };
    let number = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim_end().parse::<u64>().ok())
        .ok_or_else(|| StorageError::damaged(&pointer, "it names no number"))?;
    let path = dir.join(number.to_string());
    if !path.is_dir() {
        return Err(StorageError::damaged(
            &pointer,
            format!("it names {number}, which is not there"),
        ));
    }
    Ok(Some(path))
}

fn numbers(dir: &Path) -> Result<Vec<u64>, StorageError> {
    Ok(files::names(dir)?.iter().filter_map(|name| name.parse().ok()).collect())
}

const CURRENT: &str = "CURRENT";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_counts_only_after_the_switch() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("state");
        let first = open(&dir).unwrap();
        let second = create_next(&dir).unwrap();
        fs::write(second.join("half"), "built").unwrap();
        assert_eq!(open(&dir).unwrap(), first);
        assert!(!second.exists(), "a left-over is removed");

        let second = create_next(&dir).unwrap();
        switch(&dir, &second).unwrap();
        assert_eq!(open(&dir).unwrap(), second);
        assert!(!first.exists());
    }

    #[test]
    fn a_pointer_to_nothing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).unwrap();
        for bytes in ["7\n", "", "../1\n"] {
            fs::write(dir.path().join(CURRENT), bytes).unwrap();
            let error = open(dir.path()).unwrap_err();
            assert!(matches!(error, StorageError::Damaged { .. }), "{bytes:?}");
        }
        assert!(switch(dir.path(), Path::new("/etc/1")).is_err());
    }
}
