//! How a round can end.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Everything that was promised held.
    Passed,
    /// A promise was broken.
    Violated,
    /// It shows nothing: too few operations, or a fault that did not strike. That is a failure of the harness.
    Void,
    /// The harness failed in another way.
    Broken,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Violated => "VIOLATED",
            Self::Void => "VOID",
            Self::Broken => "BROKEN",
        })
    }
}

/// A promise that was broken.
#[derive(Debug)]
pub(crate) struct Violation(pub(crate) String);

impl Violation {
    /// Makes one of an error: what did not come about was promised.
    pub(crate) fn of(what: &str) -> impl Fn(anyhow::Error) -> anyhow::Error + use<> {
        let what = what.to_owned();
        move |error| Self(format!("{what}: {error:#}")).into()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// A round that shows nothing.
#[derive(Debug)]
pub(crate) struct Void(pub(crate) String);

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Void {}

/// How a round ended that gave this error.
pub(crate) fn outcome_of(error: &anyhow::Error) -> Outcome {
    if error.downcast_ref::<Violation>().is_some() {
        Outcome::Violated
    } else if error.downcast_ref::<Void>().is_some() {
        Outcome::Void
    } else {
        Outcome::Broken
    }
}
