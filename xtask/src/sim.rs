//! The simulation: builds it with its own flags, beside everything else, and runs it.

use std::path::PathBuf;
use std::process::Command;

use crate::{process, setup, workspace};

/// Builds and runs. What follows the command is for the simulation.
pub(crate) fn run(arguments: &[&str]) -> Result<(), String> {
    setup::ensure()?;
    process::show(cargo()?.args(BUILD), "the build")?;
    let mut command = Command::new(target()?.join("release").join("aumbry-sim"));
    process::show(command.args(arguments), "the simulation")
}

/// Cargo in the workspace of the simulation, whose flags would compile all of the other one again: it has a target directory of its own.
pub(crate) fn cargo() -> Result<Command, String> {
    let mut cargo = workspace::cargo();
    cargo.current_dir(workspace::root().join("crates").join("sim"));
    cargo.env("CARGO_TARGET_DIR", target()?);
    Ok(cargo)
}

/// Cargo in the workspace in which openraft has an old fault. What does not depend on that is compiled once for both.
pub(crate) fn cargo_reverted() -> Result<Command, String> {
    let mut cargo = cargo()?;
    cargo.current_dir(workspace::root().join("crates").join("sim").join("reverted"));
    Ok(cargo)
}

fn target() -> Result<PathBuf, String> {
    Ok(workspace::target_dir()?.join("sim"))
}

const BUILD: [&str; 3] = ["build", "--release", "--locked"];
