//! Values and the versions that they are in.

use std::collections::HashMap;

use super::{Finding, Findings, Rule, acknowledged, by_key, is_removed};
use crate::{Content, Event, History, Operation, Reply};

/// Where a value was seen.
#[derive(Clone, Copy)]
struct Seen {
    position: usize,
    version: u64,
}

pub(super) fn check(history: &History) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let writers = writers(history, &mut findings);
    // The version in which each value was seen first.
    let mut versions: HashMap<u64, Seen> = HashMap::new();
    for (position, event) in history.events().iter().enumerate() {
        if let Some((version, value)) = told(event) {
            let seen = versions.entry(value).or_insert(Seen { position, version });
            if seen.version != version {
                findings.add(Rule::OneValueAVersion, &[seen.position, position], || {
                    format!("value {value} is in version {} and in version {version}", seen.version)
                });
            }
        }
        if let (Some(at), Some(value)) = (event.ended_at(), read(event)) {
            let writer = writers
                .get(&value)
                .map(|position| (*position, &history.events()[*position]));
            match writer {
                None => findings.add(Rule::ReadWasWritten, &[position], || {
                    format!("value {value} was read, and nobody wrote it")
                }),
                Some((writer, written)) if written.operation.key() != event.operation.key() => {
                    findings.add(Rule::ReadWasWritten, &[writer, position], || {
                        format!("value {value} was read where it was not written")
                    });
                }
                Some((writer, written)) if !can_have_written(written) => {
                    findings.add(Rule::ReadWasWritten, &[writer, position], || {
                        format!("value {value} was read, and its write had not taken place")
                    });
                }
                Some((writer, written)) if written.call > at => {
                    findings.add(Rule::ReadWasWritten, &[writer, position], || {
                        format!("value {value} was read before it was written")
                    });
                }
                Some(_) => {}
            }
        }
        if let (Operation::Put { cas: Some(named), .. } | Operation::Patch { cas: Some(named), .. }, Some(version)) =
            (&event.operation, acknowledged(event))
            && version != named + 1
        {
            findings.add(Rule::CasMakesTheNext, &[position], || {
                format!("a check-and-set of version {named} made version {version}")
            });
        }
    }
    for (key, events) in by_key(history) {
        if !is_removed(&events) {
            one_value(key, &events, &mut findings);
        }
    }
    findings.0
}

/// Whether a destroyed version was read by someone who called after the answer.
pub(super) fn destroyed(history: &History) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    for events in by_key(history).into_values() {
        // Of each version: the destruction that was acknowledged first.
        let mut gone: HashMap<u64, (usize, u64, u64)> = HashMap::new();
        for (position, event) in &events {
            if let (Operation::Destroy { versions, .. }, Some(at), Some(Reply::Done)) =
                (&event.operation, event.ended_at(), event.reply())
            {
                for version in versions {
                    let first = gone.entry(*version).or_insert((*position, event.call, at));
                    if at < first.2 {
                        *first = (*position, event.call, at);
                    }
                }
            }
        }
        if gone.is_empty() {
            continue;
        }
        let writes = events.iter().filter_map(|(_, event)| {
            let value = event.operation.written()?;
            Some((value, (acknowledged(event)?, event.ended_at()?)))
        });
        let writes: HashMap<u64, (u64, u64)> = writes.collect();
        for (position, event) in &events {
            let Some((version, value)) = read(event).and_then(|_| told(event)) else {
                continue;
            };
            let (Some((destroyer, begun, ended)), Some((written, acknowledged))) =
                (gone.get(&version), writes.get(&value))
            else {
                continue;
            };
            // A secret that was removed and made anew has another version of that number: its value was written later.
            if *written == version && acknowledged < begun && event.call > *ended {
                findings.add(Rule::DestroyedIsGone, &[*destroyer, *position], || {
                    format!("version {version} with value {value} was read after it was destroyed")
                });
            }
        }
    }
    findings.0
}

/// Who wrote each value.
fn writers(history: &History, findings: &mut Findings) -> HashMap<u64, usize> {
    let mut writers = HashMap::new();
    for (position, event) in history.events().iter().enumerate() {
        if let Some(value) = event.operation.written()
            && let Some(other) = writers.insert(value, position)
        {
            findings.add(Rule::ValuesAreUnique, &[other, position], || {
                format!("two operations write value {value}")
            });
        }
    }
    writers
}

fn one_value(key: &str, events: &[(usize, &Event)], findings: &mut Findings) {
    let mut values: HashMap<u64, (usize, u64)> = HashMap::new();
    for (position, event) in events {
        if let Some((version, value)) = told(event) {
            let (first, other) = *values.entry(version).or_insert((*position, value));
            if other != value {
                findings.add(Rule::OneValueAVersion, &[first, *position], || {
                    format!("version {version} of \"{key}\" has value {other} and value {value}")
                });
            }
        }
    }
}

/// Version and value, if an answer tells both.
fn told(event: &Event) -> Option<(u64, u64)> {
    match event.reply()? {
        Reply::Written { version } => event.operation.written().map(|value| (*version, value)),
        Reply::Item {
            version,
            content: Content::Value(value),
        } => Some((*version, *value)),
        _ => None,
    }
}

/// The value that was read.
const fn read(event: &Event) -> Option<u64> {
    match event.reply() {
        Some(Reply::Item {
            content: Content::Value(value),
            ..
        }) => Some(*value),
        _ => None,
    }
}

/// Whether a write may have taken place: it did not fail, and it was not refused.
fn can_have_written(event: &Event) -> bool {
    event.is_possible() && (event.reply().is_none() || acknowledged(event).is_some())
}
