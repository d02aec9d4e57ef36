//! Another content for a data directory, built beside it, that takes its place all at once.
//!
//! ```text
//! DATA/replacement/        what is being built: a data directory of its own
//! DATA/replacing           from here on it counts; names the directory that the old content goes to
//! DATA/replaced-<n>/       the old content, until somebody removes it
//! ```
//!
//! A crash before the file `replacing` is there leaves the old content, and what was built is removed at the next [`DataDir::open`]. After that,
//! every opening goes on where the crash came: nothing looks at a directory that is half the one and half the other.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{DataDir, StorageError, files};

/// A content that is being built. Dropping it removes it.
pub struct Replacement<'a> {
    target: &'a DataDir,
    /// None once it is in place.
    staged: Option<DataDir>,
}

impl<'a> Replacement<'a> {
    /// Begins with a copy of the rows and audit bodies; everything else is to be made. The old content is not touched.
    ///
    /// # Errors
    /// [`StorageError::Full`] if the disk has no room for it, [`StorageError::Io`] if the disk fails.
    pub fn begin(target: &'a DataDir) -> Result<Self, StorageError> {
        let path = target.path();
        let bytes = files::dir_bytes(&target.state())? + files::dir_bytes(&target.audit())?;
        let stat =
            rustix::fs::statvfs(path).map_err(|error| StorageError::io("ask for the room at", path)(error.into()))?;
        let (needed, free) = (bytes.saturating_mul(ROOM), stat.f_bavail.saturating_mul(stat.f_frsize));
        if needed > free {
            return Err(StorageError::Full {
                path: path.to_owned(),
                needed,
                free,
            });
        }
        discard(path)?;
        let staged = DataDir::open(&path.join(STAGED))?;
        files::copy_dir(&target.state(), &staged.state())?;
        files::copy_dir(&target.audit(), &staged.audit())?;
        Ok(Self {
            target,
            staged: Some(staged),
        })
    }

    /// The directory to build in.
    ///
    /// # Panics
    /// Never: it is there until [`Self::take_place`].
    #[must_use]
    pub fn data(&self) -> &DataDir {
        self.staged.as_ref().expect("it is not in place yet")
    }

    /// Puts it in place of the old content, which is set aside: where to, is returned. What was built must be durable and closed.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the disk fails. Once it has begun, the next [`DataDir::open`] goes on with it.
    pub fn take_place(mut self) -> Result<PathBuf, StorageError> {
        let target = self.target.path();
        let staged = target.join(STAGED);
        if let Some(missing) = CONTENT.iter().find(|name| !staged.join(name).exists()) {
            return Err(StorageError::damaged(&staged, format!("it has no {missing}")));
        }
        files::give_to_owner_of(target, &staged)?;
        files::sync_dir(&staged)?;
        // Its lock goes with it.
        self.staged = None;
        let aside = next_name(target)?;
        files::write_atomic(&target.join(MARK), aside.as_bytes())?;
        finish(target, &aside, || true)?;
        Ok(target.join(aside))
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if self.staged.take().is_some() {
            // What stays is removed when the directory is opened again.
            let _ = discard(self.target.path());
        }
    }
}

/// Ends what a crash interrupted: finishes what counts already, and removes what does not.
pub(crate) fn settle(path: &Path) -> Result<(), StorageError> {
    let mark = path.join(MARK);
    let Some(name) = files::read(&mark)? else {
        return discard(path);
    };
    let name = String::from_utf8(name).ok().filter(|name| number(name).is_some());
    let name = name.ok_or_else(|| StorageError::damaged(&mark, "it names no directory"))?;
    finish(path, &name, || true)
}

/// Finishes what counts already, and leaves what does not.
pub(crate) fn settle_begun(path: &Path) -> Result<(), StorageError> {
    match path.join(MARK).exists() {
        true => settle(path),
        false => Ok(()),
    }
}

/// Whether this is the name of an old content, or of one that is being built.
pub(crate) fn is_aside(name: &str) -> bool {
    name == STAGED || number(name).is_some()
}

/// Goes on from any point at which it ended before. `goes_on` is asked before each step: tests end it everywhere.
fn finish(path: &Path, aside: &str, mut goes_on: impl FnMut() -> bool) -> Result<(), StorageError> {
    let (staged, aside) = (path.join(STAGED), path.join(aside));
    if goes_on() {
        files::create_dir(&aside)?;
        files::give_to_owner_of(path, &aside)?;
    }
    for name in CONTENT {
        let (old, new, kept) = (path.join(name), staged.join(name), aside.join(name));
        // What is no more among the new is in its place.
        if new.exists() && old.exists() && goes_on() {
            files::rename(&old, &kept)?;
            files::sync_dir(path)?;
        }
        if new.exists() && !old.exists() && goes_on() {
            files::rename(&new, &old)?;
            files::sync_dir(&staged)?;
        }
    }
    let is_done = CONTENT.iter().all(|name| !staged.join(name).exists());
    if is_done && goes_on() {
        discard(path)?;
        if goes_on() {
            files::remove(&path.join(MARK))?;
        }
    }
    Ok(())
}

fn discard(path: &Path) -> Result<(), StorageError> {
    let staged = path.join(STAGED);
    if !staged.exists() {
        return Ok(());
    }
    fs::remove_dir_all(&staged).map_err(StorageError::io("remove", &staged))?;
    files::sync_dir(path)
}

fn next_name(path: &Path) -> Result<String, StorageError> {
    let names = files::names(path)?;
    let last = names.iter().filter_map(|name| number(name)).max().unwrap_or(0);
    Ok(format!("{ASIDE}{}", last + 1))
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(ASIDE)?.parse().ok()
}

const STAGED: &str = "replacement";
const MARK: &str = "replacing";
const ASIDE: &str = "replaced-";
/// What takes the place of its namesake. Other files in the directory are of no consequence to the content and stay.
const CONTENT: [&str; 5] = ["log", "state", "audit", "snapshots", "identity"];
/// The copy, and as much again for the snapshot that is made of it.
const ROOM: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(dir: &DataDir, what: &str) {
        for name in &CONTENT[..4] {
            let path = dir.path().join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("file"), what).unwrap();
        }
        dir.write(CONTENT[4], what.as_bytes()).unwrap();
        dir.write("other", what.as_bytes()).unwrap();
    }

    fn content(path: &Path) -> Vec<String> {
        let dirs = CONTENT[..4].iter().map(|name| path.join(name).join("file"));
        let files = dirs.chain([path.join(CONTENT[4])]);
        files.map(|file| fs::read_to_string(file).unwrap_or_default()).collect()
    }

    fn build(dir: &DataDir) -> Replacement<'_> {
        let replacement = Replacement::begin(dir).unwrap();
        assert_eq!(
            fs::read_to_string(replacement.data().state().join("file")).unwrap(),
            "old",
            "it begins with a copy"
        );
        fill(replacement.data(), "new");
        replacement
    }

    #[test]
    fn it_counts_all_at_once_wherever_a_crash_comes() {
        let mut ended = 0;
        for steps in 0.. {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("data");
            let dir = DataDir::open(&path).unwrap();
            fill(&dir, "old");
            let mut replacement = build(&dir);
            // As take_place does, up to some step.
            drop(replacement.staged.take());
            drop(replacement);
            files::write_atomic(&path.join(MARK), b"replaced-1").unwrap();
            let mut left = steps;
            finish(&path, "replaced-1", || {
                let goes_on = left > 0;
                left = left.max(1) - 1;
                goes_on
            })
            .unwrap();
            drop(dir);
            let was_done = !path.join(MARK).exists();
            let dir = DataDir::open(&path).unwrap();
            assert_eq!(content(&path), ["new"; 5], "after {steps} steps");
            assert_eq!(content(&path.join("replaced-1")), ["old"; 5]);
            assert_eq!(dir.read("other").unwrap().unwrap(), b"old");
            assert!(!path.join(STAGED).exists() && !path.join(MARK).exists());
            if was_done {
                ended = steps;
                break;
            }
        }
        assert!(ended > 10, "each step was the last one once, there were {ended}");
    }

    #[test]
    fn before_it_counts_nothing_has_happened() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let dir = DataDir::open(&path).unwrap();
        fill(&dir, "old");
        drop(build(&dir));
        assert!(!path.join(STAGED).exists(), "what is dropped is removed");
        // A crash drops nothing.
        let mut replacement = build(&dir);
        drop(replacement.staged.take());
        drop(replacement);
        assert!(path.join(STAGED).exists());
        drop(dir);
        let dir = DataDir::open(&path).unwrap();
        assert_eq!(content(&path), ["old"; 5]);
        assert!(!path.join(STAGED).exists());

        let incomplete = Replacement::begin(&dir).unwrap();
        let error = incomplete.take_place().unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
        assert_eq!(content(&path), ["old"; 5]);
    }

    #[test]
    fn what_root_builds_is_the_owners() {
        // Only root can give files away; others own what they build.
        let owner = if rustix::process::geteuid().is_root() {
            4_711
        } else {
            rustix::process::geteuid().as_raw()
        };
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let dir = DataDir::open(&path).unwrap();
        fill(&dir, "old");
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        let aside = build(&dir).take_place().unwrap();
        let built = [path.join("state/file"), path.join("identity"), path.join("log"), aside];
        for path in built {
            let found = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&path).unwrap());
            assert_eq!(found, owner, "{}", path.display());
        }
    }

    #[test]
    fn the_next_one_sets_aside_under_another_name() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let dir = DataDir::open(&path).unwrap();
        for n in 1..3 {
            fill(&dir, "old");
            let aside = build(&dir).take_place().unwrap();
            assert_eq!(aside, path.join(format!("replaced-{n}")));
            assert_eq!(
                (content(&path), content(&aside)),
                (vec!["new".to_owned(); 5], vec!["old".to_owned(); 5])
            );
        }
        fs::write(path.join(MARK), "../elsewhere").unwrap();
        drop(dir);
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    }
}
