//! Small programs in C for what Rust without `unsafe` cannot do: they are compiled by the test that needs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// A library for `LD_PRELOAD`, by which a sync fails.
pub(crate) fn failing_sync(directory: &Path) -> Result<PathBuf> {
    let source = include_str!("native/failing_sync.c");
    compile(directory, "failing_sync", source, &["-shared", "-fPIC"], &["-ldl"])
}

/// A program that ends file systems as a power failure does.
pub(crate) fn power_off(directory: &Path) -> Result<PathBuf> {
    compile(directory, "power_off", include_str!("native/power_off.c"), &[], &[])
}

fn compile(directory: &Path, name: &str, source: &str, before: &[&str], after: &[&str]) -> Result<PathBuf> {
    let (file, program) = (directory.join(format!("{name}.c")), directory.join(name));
    std::fs::write(&file, source)?;
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-Werror"])
        .args(before)
        .arg("-o")
        .arg(&program)
        .arg(&file)
        .args(after);
    let output = cc.output().context("starting cc (Debian: gcc)")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(program)
}
