//! A version that was destroyed is read by nobody who calls later.

use super::Judged;
use crate::{History, Operation, Reply, oracle};

/// Judges the property. A fact is a destruction that was acknowledged.
pub fn destroyed_versions_unreadable(history: &History) -> Judged {
    let mut judged = Judged::new("destroyed_versions_unreadable");
    for finding in oracle::destroyed(history) {
        judged.fact(Some(finding.to_string()));
    }
    let destroys = history
        .events()
        .iter()
        .filter(|event| matches!(event.operation, Operation::Destroy { .. }));
    judged.facts = destroys.filter(|event| event.reply() == Some(&Reply::Done)).count();
    judged
}
