//! `aumbry server`: runs a node, or checks whether one could run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aumbry_server::{Check, Finding};
use serde_json::{Value, json};

use crate::output::{Format, line, line_json, pairs};
use crate::{dev, failure};

/// Which node.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file; deploy/aumbry.toml documents it
    #[arg(long, required_unless_present = "dev", conflicts_with = "dev")]
    config: Option<PathBuf>,
    /// Run one node in memory that speaks plain HTTP on loopback, unsealed: for development and tests, never for production
    #[arg(long, conflicts_with = "check")]
    dev: bool,
    /// The root token of the development server; made by it if not given
    #[arg(long, env = "VAULT_DEV_ROOT_TOKEN_ID", hide_env_values = true)]
    dev_root_token_id: Option<String>,
    /// Where the development server listens
    #[arg(long, default_value = "127.0.0.1:8200", env = "VAULT_DEV_LISTEN_ADDRESS")]
    dev_listen_address: SocketAddr,
    /// Check configuration, certificates, data directory and ports instead, change nothing, and tell of every problem
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args, format: Format) -> Result<()> {
    if args.dev {
        return dev::run_single(args.dev_listen_address, args.dev_root_token_id.clone());
    }
    let config = args.config.as_deref().context("name a configuration with --config")?;
    match args.check {
        true => check(config, format),
        false => aumbry_server::run(config).map_err(failure::of_server),
    }
}

fn check(config: &Path, format: Format) -> Result<()> {
    let check = aumbry_server::check(config);
    match format {
        Format::Json => line_json(&object(&check))?,
        Format::Table => tell(&check)?,
    }
    match check.problems.len() {
        0 => Ok(()),
        1 => bail!("there is a problem; the node would not start or not be reached"),
        count => bail!("there are {count} problems; the node would not start or not be reached"),
    }
}

fn tell(check: &Check) -> Result<()> {
    for Finding { place, message } in &check.problems {
        line(&format!("problem: {place}: {message}"))?;
    }
    for Finding { place, message } in &check.warnings {
        line(&format!("warning: {place}: {message}"))?;
    }
    if !check.problems.is_empty() {
        return Ok(());
    }
    line("ok")?;
    pairs("", check.summary.iter().map(|(name, value)| (*name, value.clone())))
}

fn object(check: &Check) -> Value {
    let findings = |found: &[Finding]| -> Vec<Value> {
        let found = found.iter();
        found
            .map(|Finding { place, message }| json!({ "place": place, "message": message }))
            .collect()
    };
    let summary: serde_json::Map<String, Value> = check
        .summary
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    json!({
        "ok": check.problems.is_empty(),
        "problems": findings(&check.problems),
        "warnings": findings(&check.warnings),
        "summary": summary,
    })
}
