//! The figures: builds a release, and runs the matrix of `benches/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{process, setup, workspace};

/// Builds and measures. What follows the command is for the matrix.
pub(crate) fn run(arguments: &[&str]) -> Result<(), String> {
    setup::ensure()?;
    process::show(workspace::cargo().args(BUILD), "the build")?;
    let work = work_dir(&workspace::target_dir()?)?;
    let mut command = Command::new(workspace::target_dir()?.join("release").join("aumbry-benches"));
    // The nodes keep their data where TMPDIR says. /tmp may be memory, and writes are to reach a disk.
    command.args(arguments).env("TMPDIR", &work);
    process::show(&mut command, "the matrix")
}

fn work_dir(target: &Path) -> Result<PathBuf, String> {
    let path = target.join("bench");
    fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
    Ok(path)
}

/// All programs: the nodes' and the matrix's.
const BUILD: [&str; 5] = ["build", "--release", "--locked", "--workspace", "--bins"];
