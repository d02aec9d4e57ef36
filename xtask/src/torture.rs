//! Torture: builds a release, and runs the rounds of `tests/`.

use std::process::Command;

use crate::{process, setup, workspace};

/// Builds and runs. What follows the command is for the rounds.
pub(crate) fn run(arguments: &[&str]) -> Result<(), String> {
    setup::ensure()?;
    process::show(workspace::cargo().args(BUILD), "the build")?;
    let target = workspace::target_dir()?;
    let mut command = Command::new(target.join("release").join("aumbry-torture"));
    // /tmp may be memory, and writes are to reach a disk. What follows may name another place.
    command.arg("--directory").arg(target.join("torture")).args(arguments);
    process::show(&mut command, "the torture")
}

/// All programs: the nodes' and the one that tortures them.
const BUILD: [&str; 5] = ["build", "--release", "--locked", "--workspace", "--bins"];
