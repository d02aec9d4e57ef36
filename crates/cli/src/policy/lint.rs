//! `aumbry policy lint`: what policies probably do not mean. It needs no cluster.

use anyhow::{Result, bail};
use aumbry_policy::lint::{Facts, Finding, Severity, Source, lint};
use aumbry_types::{Clock as _, LogTime, SystemClock};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::read;
use crate::output::{Format, line, line_json};

#[derive(Args)]
pub(crate) struct Lint {
    /// Files with HCL or JSON, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Look at the files as policies that one caller has together, and not each by itself
    #[arg(long)]
    together: bool,
    /// Where a versioned key-value engine is mounted; may be repeated
    #[arg(long = "mount", value_name = "PATH", default_value = "secret")]
    mounts: Vec<String>,
    /// Fail if a finding is at least this bad
    #[arg(long, value_enum, default_value_t = Level::Warning)]
    fail_on: Level,
}

/// How bad a finding is.
#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Note,
    Warning,
    Error,
}

pub(super) fn run(arguments: &Lint, format: Format) -> Result<()> {
    let texts: Vec<String> = arguments.files.iter().map(|file| read(file)).collect::<Result<_>>()?;
    let sources: Vec<Source<'_>> = arguments
        .files
        .iter()
        .zip(&texts)
        .map(|(name, text)| Source { name, text })
        .collect();
    let mounts: Vec<&str> = arguments.mounts.iter().map(String::as_str).collect();
    let facts = Facts {
        mounts: &mounts,
        now: Some(LogTime(SystemClock.wall().0)),
    };
    let findings: Vec<Finding> = if arguments.together {
        lint(&sources, &facts)
    } else {
        let alone = sources.iter().map(|source| lint(core::slice::from_ref(source), &facts));
        alone.flatten().collect()
    };
    show(&findings, format)?;
    let worst = findings
        .iter()
        .filter(|finding| finding.severity >= arguments.fail_on.severity());
    match worst.count() {
        0 => Ok(()),
        1 => bail!("1 finding; `--fail-on` says which count"),
        count => bail!("{count} findings; `--fail-on` says which count"),
    }
}

fn show(findings: &[Finding], format: Format) -> Result<()> {
    match format {
        Format::Json => line_json(&Value::Array(findings.iter().map(object).collect())),
        Format::Table => findings.iter().try_for_each(|finding| line(&finding.to_string())),
    }
}

fn object(finding: &Finding) -> Value {
    json!({
        "severity": finding.severity.as_str(),
        "file": finding.policy,
        "line": finding.line,
        "pattern": finding.pattern,
        "kind": finding.kind,
        "message": finding.message,
    })
}

impl Level {
    const fn severity(self) -> Severity {
        match self {
            Self::Note => Severity::Note,
            Self::Warning => Severity::Warning,
            Self::Error => Severity::Error,
        }
    }
}

/// What `aumbry policy lint --help` ends with.
pub(super) const EXAMPLES: &str = "Examples:
  aumbry policy lint app.hcl
  aumbry policy lint --mount secret --mount team/kv *.hcl
  aumbry policy lint --together app.hcl default.hcl    as one caller has them
  aumbry policy lint --fail-on error app.hcl           warnings are shown, and do not fail

A finding is `file:line: severity: \"pattern\": what it is, and what to do [kind]`. It ends with 0, or with 1 if there are findings that count.";
