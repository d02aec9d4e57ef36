//! `aumbry login`: checks a token and keeps it.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

use anyhow::{Context as _, Error, Result};
use aumbry_client::v1;
use serde_json::json;

use crate::context::{Context, ask, read_stdin, token_file};
use crate::failure::{usage, warn};
use crate::output::document;
use crate::token::{TOKEN_AS_ARGUMENT, shown};

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
        Some(_) => return Err(usage(TOKEN_AS_ARGUMENT)),
    };
    let client = context.build(context.builder()?.token(token.duplicate()))?;
    let reply = client.call(v1::TokenLookupRequest::default()).await;
    let reply = reply.map_err(|error| match error.reason() {
        "TOKEN_INVALID" => {
            Error::from(error.saying("this token is not valid: it is wrong, expired or revoked; it was not kept"))
        }
        _ => error.into(),
    })?;
    let file = token_file()?;
    let directory = file.parent().context("HOME is not set")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let mut kept = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    kept.write_all(token.expose())?;
    if std::env::var_os("AUMBRY_TOKEN").is_some() {
        warn(
            context.format(),
            "AUMBRY_TOKEN is set, and stands before the token that was kept",
        );
    }
    let mut shown = shown(&reply.info.unwrap_or_default());
    shown["kept_in"] = json!(file);
    document(context.format(), &shown)
}
