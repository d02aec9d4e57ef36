//! `aumbry login`: checks a token and keeps it.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

use anyhow::{Context as _, Result};
use aumbry_client::v1;

use crate::context::{Context, ask, read_stdin, token_file};
use crate::output::document;
use crate::token::info;

/// Checks a token and keeps it in ~/.aumbry/token for later commands.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// `-` reads the token from standard input; by default it is asked for
    token: Option<String>,
}

pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let token = match args.token.as_deref() {
        None => ask("Token: ")?,
        Some("-") => read_stdin()?,
        Some(_) => anyhow::bail!(
            "a token on the command line would stay in the shell's history: pass `-` and the token on standard input"
        ),
    };
    let client = context.builder()?.token(token.duplicate()).build()?;
    let reply = client.call(v1::TokenLookupRequest::default()).await?;
    let file = token_file()?;
    let directory = file.parent().context("HOME is not set")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let mut kept = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&file)?;
    kept.write_all(token.expose())?;
    document(context.format(), &info(&reply.info.unwrap_or_default()))
}
