//! What policies probably do not mean: rules that match nothing, that others take the effect from, or that give more than it seems.
//!
//! It looks at texts alone, and knows no store: what is mounted where, and the time, are told to it. A finding is advice; a policy with findings
//! is a policy, but for those of [`Severity::Error`], which no store accepts.

mod one;
mod several;

use core::fmt;

use aumbry_types::LogTime;

use crate::error::{ParseError, Reason};
use crate::pattern::PatternError;
use crate::policy::{Policy, Rule};

/// A policy to look at.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Its name.
    pub name: &'a str,
    /// In HCL or JSON.
    pub text: &'a str,
}

/// What is known of the store.
#[derive(Clone, Copy, Default)]
pub struct Facts<'a> {
    /// Where versioned key-value engines are mounted, without a slash at the end.
    pub mounts: &'a [&'a str],
    /// The time, if rules that are over are to be told.
    pub now: Option<LogTime>,
}

/// One thing to look at.
#[derive(Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The name of the policy.
    pub policy: String,
    /// The line on which the block begins, from 1; not known of JSON.
    pub line: Option<usize>,
    /// The pattern of the rule.
    pub pattern: Option<String>,
    /// What it is, in one word for programs.
    pub kind: &'static str,
    /// What it is, and what to do.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a thought.
    Note,
    /// Probably a mistake, or more than anybody needs.
    Warning,
    /// Not a policy.
    Error,
}

/// Looks at policies that are given to one caller, or at a single one. Findings come in the order of the texts.
#[must_use]
pub fn lint(sources: &[Source<'_>], facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut parsed = Vec::new();
    for source in sources {
        match Policy::parse(source.text) {
            Ok(policy) => parsed.push((source.name, policy)),
            Err(error) => findings.push(unreadable(source.name, &error)),
        }
    }
    let looked: Vec<Looked<'_>> = parsed
        .iter()
        .flat_map(|(name, policy)| policy.rules_and_lines().map(|(rule, line)| Looked { name, rule, line }))
        .collect();
    for rule in &looked {
        one::look(rule, facts, &mut findings);
    }
    several::look(&looked, &mut findings);
    let place = |finding: &Finding| sources.iter().position(|source| source.name == finding.policy);
    findings.sort_by_key(|finding| (place(finding), finding.line));
    // The rules of a block about secrets can have the same to be said of them.
    findings.dedup();
    findings
}

/// A rule, and where it stands.
struct Looked<'a> {
    name: &'a str,
    rule: &'a Rule,
    line: Option<usize>,
}

impl Looked<'_> {
    fn finding(&self, severity: Severity, kind: &'static str, message: String) -> Finding {
        Finding {
            severity,
            policy: self.name.to_owned(),
            line: self.line,
            pattern: Some(self.rule.pattern().to_owned()),
            kind,
            message,
        }
    }
}

/// A text that is no policy: only the first thing that is wrong is known.
fn unreadable(name: &str, error: &ParseError) -> Finding {
    let leads = error.pattern.as_ref().is_some_and(|pattern| pattern.starts_with('/'));
    let hint = match &error.reason {
        Reason::Pattern(PatternError::Path(_)) if leads => "; paths begin with the mount: leave the leading slash out",
        Reason::Pattern(PatternError::PlusInSegment) => "; write the name out, or end the pattern with * here",
        _ => "",
    };
    Finding {
        severity: Severity::Error,
        policy: name.to_owned(),
        line: error.line,
        pattern: error.pattern.clone(),
        kind: "unreadable",
        message: format!("{}{hint}", error.reason),
    }
}

impl Severity {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.policy)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}: ", self.severity.as_str())?;
        if let Some(pattern) = &self.pattern {
            write!(f, "\"{pattern}\": ")?;
        }
        write!(f, "{} [{}]", self.message, self.kind)
    }
}

// A pattern holds names of secrets, and those do not belong into logs.
impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finding")
            .field("severity", &self.severity)
            .field("line", &self.line)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
