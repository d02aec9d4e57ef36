//! `aumbry policy test`: expectations of policies, checked without a cluster.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use aumbry_policy::Policy;
use aumbry_policy::expect::{Expectations, Outcome};
use aumbry_types::{Clock as _, LogTime, SystemClock};
use clap::Args;
use serde_json::{Value, json};

use super::read;
use crate::output::{Format, line, line_json};

#[derive(Args)]
pub(crate) struct Test {
    /// Files with expectations, in JSON; the policies that they name are looked for beside them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

pub(super) fn run(arguments: &Test, format: Format) -> Result<()> {
    let now = LogTime(SystemClock.wall().0);
    let mut shown = Vec::new();
    let (mut all, mut failed) = (0, 0);
    for file in &arguments.files {
        let outcomes = check(file, now)?;
        all += outcomes.len();
        failed += outcomes.iter().filter(|outcome| !outcome.holds()).count();
        match format {
            Format::Json => shown.extend(outcomes.iter().map(|outcome| object(file, outcome))),
            Format::Table => show(file, &outcomes)?,
        }
    }
    if format == Format::Json {
        line_json(&Value::Array(shown))?;
    }
    match failed {
        0 if format == Format::Json => Ok(()),
        0 => line(&format!("{all} expectations hold")),
        1 => bail!("1 of {all} expectations fails"),
        failed => bail!("{failed} of {all} expectations fail"),
    }
}

fn check(file: &str, now: LogTime) -> Result<Vec<Outcome>> {
    let expectations =
        Expectations::parse(&read(file)?).with_context(|| format!("{file} is no file of expectations"))?;
    let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
    let policies = expectations
        .files()
        .map(|name| {
            let path = folder.join(name);
            let shown = path.display();
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
            Policy::parse(&text).with_context(|| format!("{shown} is no policy"))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(expectations.run(&policies, now))
}

fn show(file: &str, outcomes: &[Outcome]) -> Result<()> {
    line(file)?;
    for outcome in outcomes {
        for text in outcome.to_string().lines() {
            line(&format!("  {text}"))?;
        }
    }
    Ok(())
}

fn object(file: &str, outcome: &Outcome) -> Value {
    json!({
        "file": file,
        "expectation": outcome.place,
        "asked": outcome.asked,
        "expected": outcome.expected,
        "holds": outcome.holds(),
        "decision": outcome.explanation.to_json(),
    })
}

/// What `aumbry policy test --help` ends with.
pub(super) const EXAMPLES: &str = r#"Examples:
  aumbry policy test app.test.json
  aumbry policy test --output json tests/*.json

A file of expectations:
  {
    "policies": ["app.hcl"],
    "expect": [
      {"path": "secret/data/app/db", "capability": "read", "allowed": true},
      {"path": "auth/token/create", "capability": "update", "parameters": {"policies": ["admin"]}, "allowed": false}
    ]
  }
An expectation may also say sudo, wrap_ttl, limit, now, identity, and which of the policies the caller has. What fails is explained. It ends
with 0, or with 1 if an expectation fails."#;
