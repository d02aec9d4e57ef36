//! Lists: there must be one moment between call and answer at which every name that is shown was there, and every other was not.
//!
//! For each secret, answers tell of spans of time in which it was certainly there, or certainly not. A list cannot have been true
//! within a span that contradicts it; if such spans cover it, it was true at no time.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Findings, Rule, acknowledged, by_key};
use crate::partition::{Names, child};
use crate::{Event, History, Operation, Reply};

/// A span of time without its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    after: i128,
    before: i128,
}

/// When a secret was certainly there, and when certainly not.
struct Presence {
    there: Vec<Span>,
    absent: Vec<Span>,
}

/// Whether each list was true at some moment.
#[must_use]
pub fn check(history: &History) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let lists = history
        .events()
        .iter()
        .enumerate()
        .filter_map(|(position, event)| match &event.operation {
            Operation::List { directory } => Some((position, event, directory)),
            _ => None,
        });
    let lists: Vec<_> = lists.collect();
    if lists.is_empty() {
        return findings.0;
    }
    let presences: BTreeMap<&str, Presence> = (by_key(history).into_iter())
        .map(|(key, events)| (key, Presence::new(&events)))
        .collect();
    let names = Names::new(history);
    for (position, event, directory) in lists {
        let (Some(at), Some(reply)) = (event.ended_at(), event.reply()) else {
            continue;
        };
        let listed: BTreeSet<&str> = match reply {
            Reply::Names(names) => names.iter().map(String::as_str).collect(),
            _ => BTreeSet::new(),
        };
        let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for key in names.below(directory) {
            children.entry(child(directory, key)).or_default().push(key);
        }
        if let Some(unknown) = listed.iter().find(|name| !children.contains_key(*name)) {
            findings.add(Rule::ListsAreMoments, &[position], || {
                format!("\"{unknown}\" is listed in \"{directory}\", and nobody wrote it")
            });
        }
        let mut against = Vec::new();
        for (name, keys) in children {
            let presences = keys.iter().filter_map(|key| presences.get(key));
            match (listed.contains(name), keys.len()) {
                (false, _) => against.extend(presences.flat_map(|presence| &presence.there)),
                (true, 1) => against.extend(presences.flat_map(|presence| &presence.absent)),
                // It is there for another's sake, perhaps.
                (true, _) => {}
            }
        }
        let (call, at) = (i128::from(event.call), i128::from(at));
        if moment(merged(against), call) > at {
            findings.add(Rule::ListsAreMoments, &[position], || {
                format!("there is no moment at which \"{directory}\" held just the names that were listed")
            });
        }
    }
    findings.0
}

/// The first moment from here on that is in none of these spans.
fn moment(spans: Vec<Span>, from: i128) -> i128 {
    let mut moment = from;
    for span in spans {
        if span.after < moment && moment < span.before {
            moment = span.before;
        }
    }
    moment
}

/// In order, and none overlapping. Two that only touch have a moment between them.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| span.after < span.before);
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.after < last.before => last.before = last.before.max(span.before),
            _ => merged.push(span),
        }
    }
    merged
}

impl Presence {
    fn new(events: &[(usize, &Event)]) -> Self {
        let times = |event: &Event| {
            let end = event.ended_at().map_or(NEVER, i128::from);
            (i128::from(event.call), end)
        };
        let makes = |event: &&Event| match (&event.operation, event.reply()) {
            (Operation::Put { .. } | Operation::WriteMetadata { .. }, None) => true,
            (Operation::WriteMetadata { .. }, Some(reply)) => *reply == Reply::Done,
            // A patch makes nothing, but tells that the secret is there; it cannot stand before the first write.
            _ => acknowledged(event).is_some(),
        };
        let removes = |event: &&Event| {
            matches!(event.operation, Operation::DeleteMetadata { .. })
                && !matches!(event.reply(), Some(Reply::NotFound))
        };
        let all = || events.iter().map(|(_, event)| *event);
        let made: Vec<_> = all().filter(makes).map(times).collect();
        let removed: Vec<_> = all().filter(removes).map(times).collect();
        let mut absent = spans(&removed, &made);
        let first = made.iter().map(|(call, _)| *call).min().unwrap_or(NEVER);
        absent.push(Span {
            after: BEFORE_ALL,
            before: first,
        });
        Self {
            there: merged(spans(&made, &removed)),
            absent: merged(absent),
        }
    }
}

/// What was acknowledged holds from its answer until the call of the first that may come after it and undoes it.
fn spans(done: &[(i128, i128)], undone: &[(i128, i128)]) -> Vec<Span> {
    let mut undone = undone.to_vec();
    undone.sort_unstable_by_key(|(_, end)| *end);
    // The earliest call from each place on.
    let mut earliest = vec![NEVER; undone.len() + 1];
    for place in (0..undone.len()).rev() {
        earliest[place] = earliest[place + 1].min(undone[place].0);
    }
    let span = |(call, end): &(i128, i128)| Span {
        after: *end,
        before: earliest[undone.partition_point(|(_, other)| other < call)],
    };
    done.iter().filter(|(_, end)| *end != NEVER).map(span).collect()
}

/// After and before every time of a history, which has 64 bits.
const NEVER: i128 = i128::MAX;
const BEFORE_ALL: i128 = -1;
