//! The dependency policy, as deny.toml states it.

use std::path::PathBuf;
use std::process::Command;

use crate::{process, workspace};

/// Compares the dependencies with the rules that need nothing but the lockfile and the packages themselves.
pub(crate) fn check() -> Result<(), String> {
    // The check itself stays offline: what it judges is what the lockfile names, and nothing newer.
    let mut fetch = workspace::cargo();
    fetch.args(["fetch", "--quiet", "--locked", "--target", JUDGED_TARGET]);
    process::show(&mut fetch, "the download of the dependencies")?;
    let mut deny = deny()?;
    deny.args(["--offline", "--locked", "check", "bans", "licenses", "sources"]);
    process::show(&mut deny, "cargo deny")
}

/// Compares the dependencies with the RustSec database. Apart from `test`, because the database lies on no package registry.
pub(crate) fn advisories() -> Result<(), String> {
    let mut deny = deny()?;
    deny.args(["--locked", "check", "advisories"]);
    process::show(&mut deny, "cargo deny")
}

/// `cargo deny` itself, installed when this machine sees it for the first time.
fn deny() -> Result<Command, String> {
    let mut command = Command::new(install()?);
    command.current_dir(workspace::root());
    Ok(command)
}

fn install() -> Result<PathBuf, String> {
    let tools = workspace::tools_dir()?.join(format!("cargo-deny-{DENY_VERSION}"));
    let program = tools.join("bin").join("cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    println!("installing cargo-deny {DENY_VERSION}, once a machine");
    let build = tools.join("build");
    let mut install = workspace::cargo();
    install
        .args([
            "install",
            "--quiet",
            "--locked",
            "cargo-deny",
            "--version",
            DENY_VERSION,
            "--root",
        ])
        .arg(&tools)
        // Its objects must not lie among ours, and are of no use afterwards.
        .arg("--target-dir")
        .arg(&build)
        .env_remove("CARGO_TARGET_DIR");
    process::show(&mut install, "the installation of cargo-deny")?;
    std::fs::remove_dir_all(&build).map_err(|e| format!("cannot remove {}: {e}", build.display()))?;
    Ok(program)
}

/// The target that deny.toml names.
const JUDGED_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Pinned, so that a new release never changes what passes.
const DENY_VERSION: &str = "0.20.2";
