//! At one index of the log, all nodes have the same state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Judged;

/// A node's state after it had applied an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateAt {
    /// Which node.
    pub node: u64,
    /// The index that it had applied.
    pub index: u64,
    /// The digest of the state.
    pub digest: String,
}

/// Judges the property. A fact is a state that there was another one to compare with; one node may be compared with itself before a
/// restart.
pub fn state_equal_at_equal_index(states: &[StateAt]) -> Judged {
    let mut judged = Judged::new("state_equal_at_equal_index");
    let mut at_index: BTreeMap<u64, &StateAt> = BTreeMap::new();
    for state in states {
        let first = *at_index.entry(state.index).or_insert(state);
        if !std::ptr::eq(first, state) {
            judged.fact((first.digest != state.digest).then(|| {
                let (index, here, there) = (state.index, state.node, first.node);
                format!(
                    "at index {index} node {here} has state {}, and node {there} has {}",
                    state.digest, first.digest
                )
            }));
        }
    }
    judged
}
