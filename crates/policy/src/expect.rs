//! Expectations of policies, in a file, checked without any store: `aumbry policy test`.
//!
//! ```json
//! {
//!   "policies": ["app.hcl", "people.hcl"],
//!   "now": "2026-11-21T12:00:00Z",
//!   "identity": {"entity": {"id": "e-1", "name": "bob"}, "groups": []},
//!   "expect": [
//!     {"path": "secret/data/app/db", "capability": "read", "allowed": true},
//!     {"path": "auth/token/create", "capability": "update", "parameters": {"policies": ["admin"]}, "allowed": false}
//!   ]
//! }
//! ```
//! Only `policies`, `expect`, and in it `path`, `capability` and `allowed` must be there. A policy is called as its file without the ending. An
//! expectation may say which of the policies the caller has (`"policies": ["app"]`), that the path is protected (`"sudo": true`), `parameters`
//! (those that are not named are not there), `wrap_ttl` and `limit` (a number, or `"max"`), and another `now` or `identity` than the file's.

use core::fmt;

use aumbry_types::{Capability, LogTime, parse_duration};
use serde::Deserialize;
use serde_json::Value;

use crate::access::{Access, Limit};
use crate::body::with_parameters_of;
use crate::explain::Explanation;
use crate::identity::Identity;
use crate::moment;
use crate::policy::Policy;
use crate::set::PolicySet;

/// A file of expectations.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    policies: Vec<String>,
    #[serde(default)]
    now: Option<Moment>,
    #[serde(default)]
    identity: Identity,
    expect: Vec<Expectation>,
}

/// What is expected of one access.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    path: String,
    capability: Named,
    allowed: bool,
    #[serde(default)]
    sudo: bool,
    #[serde(default)]
    parameters: serde_json::Map<String, Value>,
    #[serde(default)]
    wrap_ttl: Option<Ttl>,
    #[serde(default)]
    limit: Option<Pages>,
    #[serde(default)]
    policies: Option<Vec<String>>,
    #[serde(default)]
    now: Option<Moment>,
    #[serde(default)]
    identity: Option<Identity>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Named(Capability);

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
struct Moment(LogTime);

/// Seconds.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct Ttl(u64);

#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct Pages(Limit);

/// Why a text is no file of expectations.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectError {
    /// Not JSON, or not of this form.
    #[error("{0}")]
    Form(String),
    /// An expectation names a policy that the file does not.
    #[error("expectation {place}: the policy {name} is not among the file's policies")]
    UnknownPolicy {
        /// From 1.
        place: usize,
        /// As it was named.
        name: String,
    },
}

/// What came of one expectation.
#[derive(Debug)]
pub struct Outcome {
    /// Its place in the file, from 1.
    pub place: usize,
    /// What was asked, as `read secret/data/app`.
    pub asked: String,
    /// Whether it was to be allowed.
    pub expected: bool,
    /// Whether it is, and why.
    pub explanation: Explanation,
}

impl Expectations {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ExpectError`] says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, ExpectError> {
        let read: Self = serde_json::from_str(text).map_err(|error| ExpectError::Form(error.to_string()))?;
        for (at, expectation) in read.expect.iter().enumerate() {
            let mut named = expectation.policies.iter().flatten();
            if let Some(name) = named.find(|name| !read.policies.iter().any(|file| policy_name(file) == *name)) {
                return Err(ExpectError::UnknownPolicy {
                    place: at + 1,
                    name: name.clone(),
                });
            }
        }
        Ok(read)
    }

    /// The files of the policies, as the file names them.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.policies.iter().map(String::as_str)
    }

    /// Decides on all of it. The policies are in the order of [`Self::files`]; `now` is the time where the file does not say.
    ///
    /// # Panics
    /// If there are not as many policies as files.
    #[must_use]
    pub fn run(&self, policies: &[Policy], now: LogTime) -> Vec<Outcome> {
        assert_eq!(policies.len(), self.policies.len(), "each file is a policy");
        let outcome = |(at, expectation): (usize, &Expectation)| Outcome {
            place: at + 1,
            asked: format!("{} {}", expectation.capability.0, expectation.path),
            expected: expectation.allowed,
            explanation: self.explain(expectation, policies, now),
        };
        self.expect.iter().enumerate().map(outcome).collect()
    }

    fn explain(&self, expectation: &Expectation, policies: &[Policy], now: LogTime) -> Explanation {
        let is_had = |name: &str| {
            expectation
                .policies
                .as_ref()
                .is_none_or(|had| had.iter().any(|one| one == name))
        };
        let named = self.policies.iter().map(|file| policy_name(file)).zip(policies);
        let identity = expectation.identity.as_ref().unwrap_or(&self.identity);
        let set = PolicySet::compile_for(named.filter(|(name, _)| is_had(name)), identity);
        let now = expectation.now.or(self.now).map_or(now, |moment| moment.0);
        with_parameters_of(&expectation.parameters, |parameters| {
            let mut access = Access::new(&expectation.path, expectation.capability.0, now).with_parameters(parameters);
            access.sudo = expectation.sudo;
            access.wrap_ttl_s = expectation.wrap_ttl.as_ref().map(|ttl| ttl.0);
            access.limit = expectation.limit.as_ref().map_or(Limit::Unsaid, |pages| pages.0);
            set.explain(&access)
        })
    }
}

impl Outcome {
    /// Whether it is as expected.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.expected == self.explanation.decision.allowed
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = if self.expected { "allowed" } else { "refused" };
        if self.holds() {
            return write!(f, "ok      {}: {expected}", self.asked);
        }
        write!(
            f,
            "FAILED  expectation {}, to be {expected}: {}",
            self.place, self.explanation
        )
    }
}

/// A file's name without folders and without its ending.
#[must_use]
pub fn policy_name(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// A text, or a number as one.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl TryFrom<String> for Named {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.parse() {
            Ok(Capability::Deny | Capability::Sudo) => {
                Err("deny and sudo are not asked for; write \"sudo\": true beside the plain capability".to_owned())
            }
            Ok(capability) => Ok(Self(capability)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl TryFrom<Value> for Moment {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, &'static str> {
        let moment = text(&value).and_then(|text| moment::parse(&text));
        moment
            .map(Self)
            .ok_or("now is a moment such as \"2027-01-31T12:00:00Z\", or seconds since 1970")
    }
}

impl TryFrom<Value> for Ttl {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, &'static str> {
        let ttl = text(&value).and_then(|text| parse_duration(&text).ok());
        ttl.map(|ttl| Self(ttl.as_secs()))
            .ok_or("wrap_ttl is a time such as \"90s\", or seconds")
    }
}

impl TryFrom<Value> for Pages {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, &'static str> {
        if value == "max" {
            return Ok(Self(Limit::Max));
        }
        let count = value.as_u64().ok_or("limit is a whole number, or \"max\"")?;
        Ok(Self(Limit::Count(count)))
    }
}
