//! From a history to a verdict, and from dead ends to words.

use crate::model::{Kv, Model, Tokens, Wrapping};
use crate::partition::{Entry, Part, Parts};
use crate::search::{DeadEnd, Found, search};
use crate::verdict::{Budget, Stuck, Verdict, Violation};
use crate::{History, Operation, Reply};

/// Whether every object's answers can be explained by operations that took effect one after the other, each between its call and its
/// answer.
///
/// A violation of any part is told even if other parts were not decided.
pub fn check(history: &History, budget: Budget) -> Verdict {
    let parts = Parts::new(history);
    let mut undecided = Vec::new();
    let verdicts = (parts.secrets.iter().map(|part| judge(&Kv, part, budget)))
        .chain(parts.tokens.iter().map(|part| judge(&Tokens, part, budget)))
        .chain(parts.wrappings.iter().map(|part| judge(&Wrapping, part, budget)));
    for verdict in verdicts {
        match verdict {
            Verdict::Linearizable => {}
            Verdict::Violation(_) => return verdict,
            Verdict::Unknown { parts } => undecided.extend(parts),
        }
    }
    match undecided.is_empty() {
        true => Verdict::Linearizable,
        false => Verdict::Unknown { parts: undecided },
    }
}

fn judge<M: Model>(model: &M, part: &Part, budget: Budget) -> Verdict {
    match search(model, &part.entries, budget) {
        Found::Order => Verdict::Linearizable,
        Found::Exhausted => Verdict::Unknown {
            parts: vec![part.name.clone()],
        },
        Found::Stuck(end) => Verdict::Violation(Box::new(smallest(model, part, end, budget))),
    }
}

/// Cuts a part after as few answers as cannot be ordered. An order of a history is one of each of its beginnings, so halving finds it;
/// what cannot be decided on the way counts as ordered, which may leave more than the fewest.
fn smallest<M: Model>(model: &M, part: &Part, end: DeadEnd<M::State>, budget: Budget) -> Violation {
    let mut answers: Vec<u64> = part
        .entries
        .iter()
        .filter_map(|entry| entry.answer.as_ref())
        .map(|(at, _)| *at)
        .collect();
    answers.sort_unstable();
    let (mut low, mut high) = (0, answers.len());
    let mut found = (part.entries.clone(), end);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let entries = beginning(&part.entries, middle);
        match search(model, &entries, budget) {
            Found::Stuck(end) => {
                high = middle;
                found = (entries, end);
            }
            Found::Order | Found::Exhausted => low = middle,
        }
    }
    let (entries, end) = found;
    violation(model, part, &entries, &end)
}

/// What was known when so many answers had come: the others are open, or were not called yet.
fn beginning(entries: &[Entry], answers: usize) -> Vec<Entry> {
    let mut order: Vec<(u64, usize)> = (entries.iter().enumerate())
        .filter_map(|(i, entry)| entry.answer.as_ref().map(|(at, _)| (*at, i)))
        .collect();
    order.sort_unstable();
    let until = order[answers - 1];
    let cut = |(i, entry): (usize, &Entry)| {
        let is_known = entry.answer.as_ref().is_some_and(|(at, _)| (*at, i) <= until);
        let answer = entry.answer.clone().filter(|_| is_known);
        let entry = Entry {
            answer,
            ..entry.clone()
        };
        let says_something = entry.call <= until.0 && (is_known || !entry.is_read());
        says_something.then_some(entry)
    };
    entries.iter().enumerate().filter_map(cut).collect()
}

fn violation<M: Model>(model: &M, part: &Part, entries: &[Entry], end: &DeadEnd<M::State>) -> Violation {
    let last = entries.iter().filter(|entry| entry.answer.is_some());
    let last = last.max_by_key(|entry| entry.answer.as_ref().map(|(at, _)| *at));
    let tail = end.ordered.len().saturating_sub(SHOWN_MAX);
    Violation {
        part: part.name.clone(),
        prefix: entries.iter().filter(|entry| entry.answer.is_some()).count(),
        last: last.map_or(0, |entry| entry.position),
        last_text: last.map_or_else(String::new, text),
        ordered: end.ordered.iter().map(|i| entries[*i].position).collect(),
        ordered_text: end.ordered[tail..].iter().map(|i| text(&entries[*i])).collect(),
        state: format!("{:?}", end.state),
        stuck: (end.stuck.iter())
            .map(|i| Stuck {
                position: entries[*i].position,
                text: text(&entries[*i]),
                would: would(model, &end.state, &entries[*i].operation),
            })
            .collect(),
    }
}

fn would<M: Model>(model: &M, state: &M::State, operation: &Operation) -> String {
    match model.answer(state, operation) {
        Some((reply, _)) => reply_text(&reply),
        None => "that there is no such request".to_owned(),
    }
}

fn text(entry: &Entry) -> String {
    let told = match &entry.answer {
        Some((at, reply)) => format!("until {at}, told {}", reply_text(reply)),
        None => "still open".to_owned(),
    };
    format!(
        "#{} {:?}, called {}, {told}",
        entry.position, entry.operation, entry.call
    )
}

fn reply_text(reply: &Reply) -> String {
    format!("{reply:?}")
}

/// How much of an order is shown: what matters is near its end.
const SHOWN_MAX: usize = 12;
