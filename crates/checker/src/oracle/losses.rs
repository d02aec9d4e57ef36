//! What was acknowledged stays: versions rise, nothing is lost, nothing is applied twice.

use super::{Finding, Findings, Rule, acknowledged, by_key, is_removed};
use crate::{Event, History, Operation, Reply};

pub(super) fn check(history: &History) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    for (key, events) in by_key(history) {
        if !is_removed(&events) {
            versions_rise(key, &events, &mut findings);
            applied_once(key, &events, &mut findings);
        }
    }
    findings.0
}

pub(super) fn read_at_the_end(history: &History, from: u64) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    for (key, events) in by_key(history) {
        let last_write = events.iter().rfind(|(_, event)| acknowledged(event).is_some());
        let reads = |event: &Event| {
            let sees_current = matches!(
                event.operation,
                Operation::Get { version: None, .. } | Operation::ReadMetadata { .. }
            );
            sees_current && event.call >= from && event.reply().is_some()
        };
        if let Some((position, _)) = last_write
            && !events.iter().any(|(_, event)| reads(event))
        {
            findings.add(Rule::ReadAtTheEnd, &[*position], || {
                format!("\"{key}\" was written, and not read at the end")
            });
        }
    }
    findings.0
}

/// What an answer tells of the current version.
enum Current {
    /// It was made by this operation.
    Made(u64),
    /// It was there.
    Found(u64),
    /// There was no secret.
    Nothing,
}

/// Goes through the calls in order, knowing the greatest version that any answer before told.
fn versions_rise(key: &str, events: &[(usize, &Event)], findings: &mut Findings) {
    let mut known: Vec<(u64, u64, usize)> = (events.iter())
        .filter_map(|(position, event)| match (event.ended_at()?, current(event)?) {
            (at, Current::Made(version) | Current::Found(version)) => Some((at, version, *position)),
            (_, Current::Nothing) => None,
        })
        .collect();
    known.sort_unstable();
    let mut known = known.into_iter().peekable();
    let (mut least, mut teller) = (0, 0);
    for (position, event) in events {
        while let Some((_, version, position)) = known.next_if(|(at, ..)| *at < event.call) {
            if version > least {
                (least, teller) = (version, position);
            }
        }
        let positions = [teller, *position];
        match current(event) {
            Some(Current::Made(version)) if version <= least => {
                findings.add(Rule::VersionsRise, &positions, || {
                    format!("version {version} of \"{key}\" was made after version {least} was known")
                });
            }
            Some(Current::Found(version)) if version < least => {
                findings.add(Rule::NothingLost, &positions, || {
                    format!("\"{key}\" is at version {version} after version {least} was known")
                });
            }
            Some(Current::Nothing) if least > 0 => {
                findings.add(Rule::NothingLost, &positions, || {
                    format!("\"{key}\" is not there after version {least} was known")
                });
            }
            _ => {}
        }
    }
}

/// A version needs as many writes that had been called when it was told of.
fn applied_once(key: &str, events: &[(usize, &Event)], findings: &mut Findings) {
    let may_have_written = |event: &Event| {
        let is_write = event.operation.written().is_some();
        is_write && (event.reply().is_none() || acknowledged(event).is_some())
    };
    let calls: Vec<u64> = (events.iter())
        .filter(|(_, event)| may_have_written(event))
        .map(|(_, event)| event.call)
        .collect();
    for (position, event) in events {
        if let (Some(at), Some(Current::Made(version) | Current::Found(version))) = (event.ended_at(), current(event)) {
            let writes = calls.partition_point(|call| *call <= at) as u64;
            if version > writes {
                findings.add(Rule::AppliedOnce, &[*position], || {
                    format!("\"{key}\" is at version {version} after {writes} writes")
                });
            }
        }
    }
}

fn current(event: &Event) -> Option<Current> {
    let sees_current = matches!(
        event.operation,
        Operation::Get {
            version: None | Some(0),
            ..
        } | Operation::ReadMetadata { .. }
            | Operation::Look { .. }
    );
    Some(match event.reply()? {
        Reply::Written { version } => Current::Made(*version),
        Reply::Metadata { current, .. } => Current::Found(*current),
        Reply::Item { version, .. } if sees_current => Current::Found(*version),
        Reply::CasMismatch { current: Some(current) } => Current::Found(*current),
        Reply::NotFound if sees_current => Current::Nothing,
        _ => return None,
    })
}
