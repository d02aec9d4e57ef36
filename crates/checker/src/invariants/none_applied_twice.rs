//! A request takes effect once at most, however often it was sent, proposed or planned.

use std::collections::BTreeMap;

use super::{Effect, Judged, Recorded};
use crate::History;
use crate::oracle::{self, Rule};

/// Judges the property by what clients read, and by the audit records of each node: of all attempts of one request, one at most changed
/// something. A fact is an attempt that did, or a write that a client saw.
pub fn none_applied_twice(history: &History, records: &[Recorded]) -> Judged {
    let mut judged = Judged::new("none_applied_twice");
    for finding in oracle::all(history) {
        if matches!(
            finding.rule,
            Rule::AppliedOnce | Rule::OneValueAVersion | Rule::ValuesAreUnique
        ) {
            judged.fact(Some(finding.to_string()));
        }
    }
    let mut applied: BTreeMap<(u64, &str), u64> = BTreeMap::new();
    for record in records.iter().filter(|record| record.effect == Effect::Changed) {
        let Some(request) = &record.request else { continue };
        let first = *applied.entry((record.node, request)).or_insert(record.seq);
        judged.fact((first != record.seq).then(|| {
            let (node, seq) = (record.node, record.seq);
            format!("on node {node}, request {request} was applied as record {first} and as record {seq}")
        }));
    }
    judged.facts += history
        .events()
        .iter()
        .filter(|event| event.operation.written().is_some())
        .count();
    judged
}
