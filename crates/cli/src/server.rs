//! `aumbry server`: runs a node, or checks whether one could run.

use std::path::PathBuf;

use anyhow::{Result, bail};
use aumbry_server::{Check, Finding};
use serde_json::{Value, json};

use crate::failure;
use crate::output::{Format, line, line_json, pairs};

/// Which node.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file; deploy/aumbry.toml documents it
    #[arg(long)]
    config: PathBuf,
    /// Check configuration, certificates, data directory and ports instead, change nothing, and tell of every problem
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args, format: Format) -> Result<()> {
    match args.check {
        true => check(args, format),
        false => aumbry_server::run(&args.config).map_err(failure::of_server),
    }
}

fn check(args: &Args, format: Format) -> Result<()> {
    let check = aumbry_server::check(&args.config);
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
