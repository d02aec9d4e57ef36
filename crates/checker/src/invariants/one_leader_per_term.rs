//! A term has one leader at most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Judged;

/// A node that leads a term, by its own account or by that of one that follows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leader {
    /// The term.
    pub term: u64,
    /// Who leads it.
    pub node: u64,
}

/// Judges the property. A fact is a term.
pub fn one_leader_per_term(leaders: &[Leader]) -> Judged {
    let mut judged = Judged::new("one_leader_per_term");
    let mut terms: BTreeMap<u64, u64> = BTreeMap::new();
    let mut others: BTreeMap<u64, u64> = BTreeMap::new();
    for leader in leaders {
        if *terms.entry(leader.term).or_insert(leader.node) != leader.node {
            others.insert(leader.term, leader.node);
        }
    }
    for (term, node) in terms {
        let other = others.get(&term);
        judged.fact(other.map(|other| format!("term {term} was led by node {node} and by node {other}")));
    }
    judged
}
