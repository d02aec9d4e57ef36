//! The order that answers claim for themselves.

use super::{Finding, Findings, Rule};
use crate::{End, History};

/// Places in the log are taken once, and whoever called after an answer came has a later place than it.
pub(super) fn log_follows_time(history: &History) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let mut answers: Vec<(u64, u64, usize)> = Vec::new();
    let mut places: Vec<(u64, usize)> = Vec::new();
    for (position, event) in history.events().iter().enumerate() {
        if let End::Returned { at, seq: Some(seq), .. } = event.end {
            answers.push((at, seq, position));
            places.push((seq, position));
        }
    }
    places.sort_unstable();
    for pair in places.windows(2) {
        // The parts of a batch are one request with one record.
        let (first, second) = (&history.events()[pair[0].1], &history.events()[pair[1].1]);
        let is_batch = first.request.is_some() && first.request == second.request;
        if pair[0].0 == pair[1].0 && !is_batch {
            findings.add(Rule::LogFollowsTime, &[pair[0].1, pair[1].1], || {
                format!("two answers name place {} of the log", pair[0].0)
            });
        }
    }
    answers.sort_unstable();
    let mut answers = answers.into_iter().peekable();
    let (mut last, mut holder) = (0, 0);
    for (position, event) in history.events().iter().enumerate() {
        while let Some((_, seq, position)) = answers.next_if(|(at, ..)| *at < event.call) {
            if seq > last {
                (last, holder) = (seq, position);
            }
        }
        if let End::Returned { seq: Some(seq), .. } = event.end
            && seq < last
        {
            findings.add(Rule::LogFollowsTime, &[holder, position], || {
                format!("place {seq} of the log was called for after place {last} was answered")
            });
        }
    }
    findings.0
}
