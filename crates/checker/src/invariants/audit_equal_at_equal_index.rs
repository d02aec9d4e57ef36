//! At one index of the log, all nodes have the same audit log: as many records, and the same root over them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Judged, Recorded};

/// The head of a node's audit log after it had applied an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditHead {
    /// Which node.
    pub node: u64,
    /// The index that it had applied.
    pub index: u64,
    /// How many records there are.
    pub leaves: u64,
    /// The root of the tree over them.
    pub root: String,
}

/// Judges the property: heads of one index are equal, roots of as many leaves are equal, logs grow with the index, and records of one
/// number are equal. A fact is a head or a record that there was another one to compare with.
pub fn audit_equal_at_equal_index(heads: &[AuditHead], records: &[Recorded]) -> Judged {
    let mut judged = Judged::new("audit_equal_at_equal_index");
    let mut at_index: BTreeMap<u64, &AuditHead> = BTreeMap::new();
    let mut at_leaves: BTreeMap<u64, &AuditHead> = BTreeMap::new();
    for head in heads {
        let first = *at_index.entry(head.index).or_insert(head);
        if !std::ptr::eq(first, head) {
            judged.fact(
                ((first.leaves, &first.root) != (head.leaves, &head.root))
                    .then(|| format!("nodes {} and {} differ at index {}", first.node, head.node, head.index)),
            );
        }
        let first = *at_leaves.entry(head.leaves).or_insert(head);
        if !std::ptr::eq(first, head) {
            judged.fact((first.root != head.root).then(|| {
                format!(
                    "nodes {} and {} have other roots of {} records",
                    first.node, head.node, head.leaves
                )
            }));
        }
    }
    for ((before, first), (after, second)) in at_index.iter().zip(at_index.iter().skip(1)) {
        judged.fact((first.leaves > second.leaves).then(|| {
            format!(
                "{} records at index {before}, and {} at index {after}",
                first.leaves, second.leaves
            )
        }));
    }
    let mut leaves: BTreeMap<u64, &Recorded> = BTreeMap::new();
    for record in records {
        let first = *leaves.entry(record.seq).or_insert(record);
        if first.node != record.node {
            let is_other =
                (&first.leaf, &first.request, first.effect) != (&record.leaf, &record.request, record.effect);
            judged.fact(is_other.then(|| {
                format!(
                    "nodes {} and {} have other records {}",
                    first.node, record.node, record.seq
                )
            }));
        }
    }
    judged
}
