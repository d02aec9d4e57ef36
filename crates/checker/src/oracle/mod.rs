//! Known shapes of wrong, found in linear time, for histories that are too long to search.
//!
//! They see less than [`check`](crate::check): each is a consequence of linearizability, or of the engine's own rules. Where a secret is
//! removed with all its versions, numbers begin again, and the rules that compare versions leave it to the search.

pub mod lists;
mod losses;
mod order;
mod values;

use core::fmt;
use std::collections::BTreeMap;

use crate::{Event, History, Operation, Reply};

/// What was found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule was broken.
    pub rule: Rule,
    /// The positions in the history of the operations that show it.
    pub positions: Vec<usize>,
    /// What they show.
    pub text: String,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The driver writes each value once. Broken, the run proves nothing.
    ValuesAreUnique,
    /// A value that is read was written there, by an operation that had been called and had not failed.
    ReadWasWritten,
    /// A version holds one value, and a value is in one version: nothing is applied twice, no two writes get one version.
    OneValueAVersion,
    /// A check-and-set makes the version after the one that it names.
    CasMakesTheNext,
    /// Whoever calls after an answer came sees at least the version that it told, and writes a greater one.
    VersionsRise,
    /// What was acknowledged is there for whoever calls later.
    NothingLost,
    /// There are no more versions than writes.
    AppliedOnce,
    /// Places in the log follow real time.
    LogFollowsTime,
    /// There is a moment at which a list was true.
    ListsAreMoments,
    /// A version that was destroyed is read by nobody who calls later.
    DestroyedIsGone,
    /// Every secret with an acknowledged write is read at the end. Broken, the run proves less than it says.
    ReadAtTheEnd,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} (operations {:?})", self.rule, self.text, self.positions)
    }
}

/// Everything that the rules find, at most [`FINDINGS_MAX`] of each group of rules.
#[must_use]
pub fn all(history: &History) -> Vec<Finding> {
    let mut findings = values::check(history);
    findings.extend(losses::check(history));
    findings.extend(order::log_follows_time(history));
    findings.extend(lists::check(history));
    findings.extend(destroyed(history));
    findings
}

/// Whether every secret with an acknowledged write was read by someone who called at this time or later. With the other rules, that
/// shows that nothing acknowledged was lost in the end.
#[must_use]
pub fn read_at_the_end(history: &History, from: u64) -> Vec<Finding> {
    losses::read_at_the_end(history, from)
}

/// Whether no destroyed version was read.
#[must_use]
pub fn destroyed(history: &History) -> Vec<Finding> {
    values::destroyed(history)
}

/// The events about each secret, in the order of their calls, without those that certainly failed.
fn by_key(history: &History) -> BTreeMap<&str, Vec<(usize, &Event)>> {
    let mut keys: BTreeMap<&str, Vec<(usize, &Event)>> = BTreeMap::new();
    for (position, event) in history.events().iter().enumerate() {
        if event.is_possible()
            && let Some(key) = event.operation.key()
        {
            keys.entry(key).or_default().push((position, event));
        }
    }
    keys
}

/// Whether the versions of this secret may have begun again.
fn is_removed(events: &[(usize, &Event)]) -> bool {
    let removes = |event: &Event| {
        let may_have = !matches!(event.reply(), Some(Reply::NotFound));
        may_have && matches!(event.operation, Operation::DeleteMetadata { .. })
    };
    events.iter().any(|(_, event)| removes(event))
}

/// The version that was acknowledged to a write.
fn acknowledged(event: &Event) -> Option<u64> {
    match event.reply() {
        Some(Reply::Written { version }) => Some(*version),
        _ => None,
    }
}

/// Stops collecting when there are so many: one shows that the run failed, a page of them shows how.
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: Rule, positions: &[usize], text: impl FnOnce() -> String) {
        if self.0.len() < FINDINGS_MAX {
            let positions = positions.to_vec();
            self.0.push(Finding {
                rule,
                positions,
                text: text(),
            });
        }
    }
}

/// The most findings that a group of rules tells.
pub const FINDINGS_MAX: usize = 50;
