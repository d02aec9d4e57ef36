//! Where things are, and Cargo called in one way.
//!
//! Every call of Cargo uses the same profile, the same lockfile and no flags of its own for the compiler: anything else would
//! give another fingerprint, and RocksDB would be compiled again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The checkout, as Cargo tells it at run time: with a path fixed at compile time, two checkouts that share a target directory would
/// work on each other's files.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let root = package.as_deref().and_then(Path::parent).map(Path::to_owned);
        root.expect("xtask is started with `cargo xtask`")
    });
    &ROOT
}

/// The target directory: this program lies in `<target>/xtask/`, whatever named the place.
pub(crate) fn target_dir() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|e| format!("cannot tell where xtask lies: {e}"))?;
    program
        .parent()
        .and_then(Path::parent)
        .map(Path::to_owned)
        .ok_or_else(|| "xtask does not lie in a target directory; start it with `cargo xtask`".to_owned())
}

/// The program that the demo and the tests drive.
pub(crate) fn aumbry() -> Result<PathBuf, String> {
    Ok(target_dir()?.join("release").join("aumbry"))
}

/// Where tools are kept between checkouts.
pub(crate) fn tools_dir() -> Result<PathBuf, String> {
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => PathBuf::from(home).join(".cache"),
        _ => {
            return Err("neither HOME nor XDG_CACHE_HOME is set; set one, it holds the tools".to_owned());
        }
    };
    Ok(cache.join("aumbry").join("tools"))
}

/// Cargo in the checkout, as if it had been called from a shell.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // `cargo run` describes xtask to xtask in these; a build script further down must not see them.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| OWN_VARIABLES.iter().any(|own| name.starts_with(own)))
        {
            command.env_remove(name);
        }
    }
    command
}

const OWN_VARIABLES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
