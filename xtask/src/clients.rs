//! Clients that others wrote, tried on a development server and on three nodes.

use std::process::Command;

use crate::{process, setup, workspace};

/// Builds and runs. What follows the command are the names of clients; all without.
pub(crate) fn run(names: &[&str]) -> Result<(), String> {
    setup::ensure()?;
    process::show(workspace::cargo().args(BUILD), "the build")?;
    let release = workspace::target_dir()?.join("release");
    let mut command = Command::new(release.join("aumbry-clients"));
    command.env("AUMBRY_BIN", release.join("aumbry")).args(names);
    process::show(&mut command, "the clients")
}

/// All programs: the nodes' and the one that tries clients on them.
const BUILD: [&str; 5] = ["build", "--release", "--locked", "--workspace", "--bins"];
