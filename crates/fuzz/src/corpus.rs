//! The inputs that are kept in the repository: those that reach much of the code, and those that once failed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Target;

/// Where the inputs are that a target begins with.
#[must_use]
pub fn of_target(target: &Target) -> PathBuf {
    repository().join("corpus").join(target.name)
}

/// What a target begins with: its seeds, those of the repository, and what once failed.
#[must_use]
pub fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut all = (target.seeds)();
    all.extend(files(&of_target(target)).into_iter().map(|(_, bytes)| bytes));
    all.extend(regressions(target).into_iter().map(|(_, bytes)| bytes));
    all
}

/// The inputs that once failed, with their names.
#[must_use]
pub fn regressions(target: &Target) -> Vec<(String, Vec<u8>)> {
    files(&repository().join("regressions").join(target.name))
}

/// The name of an input: what it is, and not where it came from.
#[must_use]
pub fn hash(input: &[u8]) -> String {
    let hash = aumbry_crypto::sha256(&[input]);
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The folder of this crate: as Cargo tells it at run time, for two checkouts may share a target directory.
///
/// # Panics
/// If it was not started by Cargo or by xtask.
#[must_use]
pub fn repository() -> PathBuf {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").expect("it is started by Cargo, or by `cargo xtask fuzz`");
    PathBuf::from(folder)
}

/// In the order of their names, so that a run depends on nothing else.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some((name, fs::read(path).ok()?))
    };
    paths.into_iter().filter_map(read).collect()
}
