//! From the answer that a namespace was deleted, nothing of it is told: not to its tokens, and not in one of the same name that is made later.

use serde::{Deserialize, Serialize};

use super::Judged;

/// A look for what is left of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remnant {
    /// Which namespace, and which of those that had the name.
    pub namespace: String,
    /// When its deletion had been answered; `None` while it stands.
    pub deleted_at: Option<u64>,
    /// When it was looked for, on the same clock.
    pub asked_at: u64,
    /// What was asked.
    pub what: String,
    /// Whether anything of it was told.
    pub is_told: bool,
}

/// Judges the property. A fact is a look that was made after the deletion.
pub fn deleted_namespace_is_gone(remnants: &[Remnant]) -> Judged {
    let mut judged = Judged::new("deleted_namespace_is_gone");
    for remnant in remnants {
        if remnant.deleted_at.is_some_and(|at| at < remnant.asked_at) {
            let Remnant { namespace, what, .. } = remnant;
            judged.fact((remnant.is_told).then(|| format!("{namespace} was deleted, and {what} was told of it")));
        }
    }
    judged
}
