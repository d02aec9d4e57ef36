//! A token of a namespace is told nothing in the namespaces above it, whoever holds it and whatever strikes meanwhile.

use serde::{Deserialize, Serialize};

use super::Judged;

/// A request that a token of one namespace made in another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crossing {
    /// Of which namespace the token is; the root's path is empty.
    pub of: String,
    /// In which one it was shown.
    pub shown_in: String,
    /// What was asked.
    pub what: String,
    /// Whether anything was told but that it is refused: an answer, or that something is not there.
    pub is_told: bool,
}

impl Crossing {
    /// How it is told of a property that it breaks.
    pub(super) fn wrong(&self) -> Option<String> {
        let (of, shown_in, what) = (&self.of, &self.shown_in, &self.what);
        (self.is_told).then(|| format!("a token of {of:?} was told of {what} in {shown_in:?}"))
    }
}

/// Whether a namespace is below another one.
pub(super) fn is_below(below: &str, above: &str) -> bool {
    match below.strip_prefix(above) {
        Some(rest) if above.is_empty() => !rest.is_empty(),
        Some(rest) => rest.starts_with('/'),
        None => false,
    }
}

/// Judges the property. A fact is a request in a namespace above the token's that was answered or refused.
pub fn child_reaches_no_parent(crossings: &[Crossing]) -> Judged {
    let mut judged = Judged::new("child_reaches_no_parent");
    for crossing in crossings {
        if is_below(&crossing.of, &crossing.shown_in) {
            judged.fact(crossing.wrong());
        }
    }
    judged
}
