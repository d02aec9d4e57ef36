//! The inputs that are kept in the repository: those that reach much of the code, in one file for each target (each input behind its length,
//! in four bytes), and those that once failed, in a file each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Target;

/// The file with what reaches much of the code.
fn packed(target: &Target) -> PathBuf {
    repository().join("corpus").join(target.name)
}

/// Replaces what the repository has for a target, but for what once failed.
///
/// # Errors
/// If the file cannot be written.
pub fn keep<'a>(target: &Target, inputs: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
    let mut bytes = Vec::new();
    for input in inputs {
        let length = u32::try_from(input.len()).map_err(io::Error::other)?;
        bytes.extend(length.to_be_bytes());
        bytes.extend(input);
    }
    let path = packed(target);
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, bytes)
}

fn unpacked(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (input, rest) = rest
            .split_at_checked(u32::from_be_bytes(*length) as usize)
            .unwrap_or((rest, &[]));
        inputs.push(input.to_vec());
        bytes = rest;
    }
    inputs
}

/// What a target begins with: its seeds, those of the repository, and what once failed.
#[must_use]
pub fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut all = (target.seeds)();
    all.extend(unpacked(&fs::read(packed(target)).unwrap_or_default()));
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
