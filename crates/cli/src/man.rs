//! `aumbry man`: the manual pages, made from what the program knows of its commands.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::output::line;

/// Writes the manual pages, one a command.
#[derive(clap::Args)]
#[command(after_help = "Example:
  aumbry man ~/.local/share/man/man1 && man aumbry-kv-put")]
pub(crate) struct Args {
    /// An existing directory
    directory: PathBuf,
}

pub(crate) fn run(args: &Args, command: &clap::Command) -> Result<()> {
    let directory = &args.directory;
    clap_mangen::generate_to(command.clone(), directory)
        .with_context(|| format!("cannot write to {}", directory.display()))?;
    line(&format!("written to {}", directory.display()))
}
