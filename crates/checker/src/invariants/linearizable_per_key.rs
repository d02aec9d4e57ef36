//! Each secret, token and wrapping behaves as if operations on it came one after the other; and each list as if it were one moment.

use super::Judged;
use crate::oracle::{self, Rule};
use crate::{Budget, History, Verdict, check};

/// Judges the property by the search, by the oracle for lists, and by the order that the answers claim. A fact is an answer.
pub fn linearizable_per_key(history: &History, budget: Budget) -> Judged {
    let mut judged = Judged::new("linearizable_per_key");
    match check(history, budget) {
        Verdict::Linearizable => {}
        Verdict::Violation(violation) => judged.fact(Some(violation.to_string())),
        Verdict::Unknown { parts } => {
            judged.not_shown(format!("the budget ran out for {}", parts.join(", ")));
        }
    }
    for finding in oracle::all(history) {
        if matches!(
            finding.rule,
            Rule::ListsAreMoments | Rule::LogFollowsTime | Rule::VersionsRise | Rule::CasMakesTheNext
        ) {
            judged.fact(Some(finding.to_string()));
        }
    }
    judged.facts = history.events().iter().filter(|event| event.reply().is_some()).count();
    judged
}
