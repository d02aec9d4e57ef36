//! A write that was acknowledged is there for everyone who calls later, up to the last read of the run.

use super::Judged;
use crate::oracle::{self, Rule};
use crate::{Event, History, Reply};

/// Judges the property on every read, and wants one of each written secret that was called at the end. A fact is an acknowledged write.
pub fn no_acknowledged_write_lost(history: &History, end: u64) -> Judged {
    let mut judged = Judged::new("no_acknowledged_write_lost");
    for finding in oracle::all(history) {
        if matches!(finding.rule, Rule::NothingLost | Rule::ReadWasWritten) {
            judged.fact(Some(finding.to_string()));
        }
    }
    for finding in oracle::read_at_the_end(history, end) {
        judged.not_shown(finding.to_string());
    }
    let is_acknowledged = |event: &&Event| matches!(event.reply(), Some(Reply::Written { .. }));
    judged.facts = history.events().iter().filter(is_acknowledged).count();
    judged
}
