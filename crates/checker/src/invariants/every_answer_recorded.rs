//! No answer without a committed record: of every secret that was released, every change, and every refusal.

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, Judged, Recorded};
use crate::{End, Event, History, Operation, Reply};

/// Judges the property on every node's records: an answer's request has a record that fits the answer, and it stands where the answer
/// says. A fact is an answer on a node.
///
/// Records of a node begin and end somewhere; an answer whose place is known to be outside is no fact.
pub fn every_answer_recorded(history: &History, records: &[Recorded]) -> Judged {
    let mut judged = Judged::new("every_answer_recorded");
    let nodes: BTreeSet<u64> = records.iter().map(|record| record.node).collect();
    let mut by_request: BTreeMap<(u64, &str), Vec<&Recorded>> = BTreeMap::new();
    let mut spans: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for record in records {
        let span = spans.entry(record.node).or_insert((record.seq, record.seq));
        *span = (span.0.min(record.seq), span.1.max(record.seq));
        if let Some(request) = &record.request {
            by_request.entry((record.node, request)).or_default().push(record);
        }
    }
    let mut nameless = 0;
    for (position, event) in history.events().iter().enumerate() {
        let End::Returned { reply, seq, .. } = &event.end else {
            continue;
        };
        let Some(request) = &event.request else {
            nameless += 1;
            continue;
        };
        for node in &nodes {
            let is_before = |seq: &u64| spans.get(node).is_some_and(|(first, _)| seq < first);
            if seq.as_ref().is_some_and(is_before) {
                continue;
            }
            let records = by_request.get(&(*node, request)).map_or(&[][..], Vec::as_slice);
            let fits =
                |record: &&Recorded| fits(event, reply, record.effect) && seq.is_none_or(|seq| seq == record.seq);
            judged.fact((!records.iter().any(fits)).then(|| {
                let have: Vec<(u64, Effect)> = records.iter().map(|record| (record.seq, record.effect)).collect();
                format!("node {node} has no fitting record of operation {position}, told {reply:?} at place {seq:?}; it has {have:?}")
            }));
        }
    }
    if nameless > 0 {
        judged.not_shown(format!("{nameless} answers are of requests without an id"));
    }
    judged
}

/// Whether a record of this effect can stand for this answer.
fn fits(event: &Event, reply: &Reply, effect: Effect) -> bool {
    let is_read = matches!(
        event.operation,
        Operation::Get { .. } | Operation::ReadMetadata { .. } | Operation::List { .. } | Operation::Look { .. }
    );
    match reply {
        Reply::Refused => effect == Effect::Refused,
        // The state says no: recorded as a refusal, or as a read of what says so.
        Reply::NotFound | Reply::CasMismatch { .. } | Reply::CasRequired | Reply::Unchanged => {
            matches!(effect, Effect::Refused | Effect::Read)
        }
        // A token with a limited number of uses loses one by a read. To delete what is deleted changes nothing.
        _ if is_read => matches!(effect, Effect::Read | Effect::Changed),
        Reply::Done => matches!(effect, Effect::Changed | Effect::Read),
        _ => effect == Effect::Changed,
    }
}
