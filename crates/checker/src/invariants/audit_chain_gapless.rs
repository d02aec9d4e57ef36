//! The audit log of each node has every sequence number from its first to its last once.

use std::collections::BTreeMap;

use super::{Judged, Recorded};

/// Judges the property on the records of each node. A fact is a record.
pub fn audit_chain_gapless(records: &[Recorded]) -> Judged {
    let mut judged = Judged::new("audit_chain_gapless");
    let mut nodes: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for record in records {
        nodes.entry(record.node).or_default().push(record.seq);
    }
    for (node, mut numbers) in nodes {
        numbers.sort_unstable();
        judged.fact(None);
        for pair in numbers.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            judged.fact((after != before + 1).then(|| match after == before {
                true => format!("node {node} has record {after} twice"),
                false => format!("node {node} has no record between {before} and {after}"),
            }));
        }
    }
    judged
}
