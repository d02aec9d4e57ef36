//! What must hold during and after every run with faults: one file for each, named after the property.
//!
//! Each takes plain data that a simulation and real processes can both give, and says on how many facts it was tried: a run in which a
//! property was never tried has not shown it. Nodes are numbers, digests are text, times are those of the history.

mod audit_chain_gapless;
mod audit_equal_at_equal_index;
mod child_reaches_no_parent;
mod committed_on_quorum;
mod deleted_namespace_is_gone;
mod destroyed_versions_unreadable;
mod ended_tokens_refused;
mod every_answer_recorded;
mod linearizable_per_key;
mod no_acknowledged_write_lost;
mod none_applied_twice;
mod one_leader_per_term;
mod progress_after_heal;
mod sealed_node_answers_nothing;
mod sibling_sees_no_rows;
mod state_equal_at_equal_index;

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{Budget, History};

pub use audit_chain_gapless::audit_chain_gapless;
pub use audit_equal_at_equal_index::{AuditHead, audit_equal_at_equal_index};
pub use child_reaches_no_parent::{Crossing, child_reaches_no_parent};
pub use committed_on_quorum::{Commit, committed_on_quorum};
pub use deleted_namespace_is_gone::{Remnant, deleted_namespace_is_gone};
pub use destroyed_versions_unreadable::destroyed_versions_unreadable;
pub use ended_tokens_refused::{Acceptance, Ended, ended_tokens_refused};
pub use every_answer_recorded::every_answer_recorded;
pub use linearizable_per_key::linearizable_per_key;
pub use no_acknowledged_write_lost::no_acknowledged_write_lost;
pub use none_applied_twice::none_applied_twice;
pub use one_leader_per_term::{Leader, one_leader_per_term};
pub use progress_after_heal::{Heal, Progress, progress_after_heal};
pub use sealed_node_answers_nothing::{Answer, Sealed, sealed_node_answers_nothing};
pub use sibling_sees_no_rows::sibling_sees_no_rows;
pub use state_equal_at_equal_index::{StateAt, state_equal_at_equal_index};

/// What was seen of the nodes in a run, beside what clients saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Observed {
    /// Digests of states.
    pub states: Vec<StateAt>,
    /// Heads of the audit log.
    pub heads: Vec<AuditHead>,
    /// The audit records of each node, read when all had been applied.
    pub records: Vec<Recorded>,
    /// What was called committed. A simulation sees it; of real processes it stays empty.
    pub commits: Vec<Commit>,
    /// Who led.
    pub leaders: Vec<Leader>,
    /// When nodes were sealed.
    pub sealed: Vec<Sealed>,
    /// Which node answered what clients were told.
    pub answers: Vec<Answer>,
    /// When tokens ended that had been good.
    pub ended: Vec<Ended>,
    /// Which tokens were accepted, and when.
    pub acceptances: Vec<Acceptance>,
    /// When the last fault ended, and what came after.
    pub heals: Vec<Heal>,
    /// What tokens of one namespace asked in another.
    pub crossings: Vec<Crossing>,
    /// What was looked for of namespaces that were deleted.
    pub remnants: Vec<Remnant>,
}

/// One audit record on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Which node has it.
    pub node: u64,
    /// Its sequence number.
    pub seq: u64,
    /// The hash of its leaf in the audit tree.
    pub leaf: String,
    /// The request that it records, if it records one.
    pub request: Option<String>,
    /// What became of the request in this attempt.
    pub effect: Effect,
}

/// What an audit record says became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It was allowed and applied, and changed something.
    Changed,
    /// It was allowed and applied, and changed nothing: a read.
    Read,
    /// It was refused: by policy, for want of a good token, or because the state says no.
    Refused,
    /// It was allowed, and apply found that the state had moved: it is planned again or fails.
    Conflict,
}

/// What the run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the search for an order.
    pub budget: Budget,
    /// From when on the reads at the end were called.
    pub end: u64,
    /// How long after its end a token may still be accepted: nothing for one that was revoked, the skew of clocks for one that expired.
    pub token_bound: u64,
    /// How long after the last fault the cluster may take to serve, and all nodes to agree.
    pub heal_bound: u64,
}

/// A property, and how it fared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Judged {
    /// Its name, which is that of its function.
    pub name: &'static str,
    /// How many facts it was tried on, each of which could have broken it.
    pub facts: usize,
    /// How it was broken, if it was.
    pub breaches: Vec<Breach>,
}

/// How a property was broken, or could not be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breach {
    /// It does not hold.
    Broken(String),
    /// It was not shown: the budget ran out, or something was not recorded that it needs.
    NotShown(String),
}

impl Judged {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            facts: 0,
            breaches: Vec::new(),
        }
    }

    /// Counts a fact, and what is wrong with it.
    pub(crate) fn fact(&mut self, wrong: Option<String>) {
        self.facts += 1;
        if let Some(text) = wrong
            && self.breaches.len() < BREACHES_MAX
        {
            self.breaches.push(Breach::Broken(text));
        }
    }

    pub(crate) fn not_shown(&mut self, text: String) {
        if self.breaches.len() < BREACHES_MAX {
            self.breaches.push(Breach::NotShown(text));
        }
    }

    /// Whether nothing is wrong. It may still have been tried on no fact.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.breaches.is_empty()
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(text) => write!(f, "broken: {text}"),
            Self::NotShown(text) => write!(f, "not shown: {text}"),
        }
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.holds() { "holds" } else { "FAILS" };
        write!(f, "{}: {state} on {} facts", self.name, self.facts)?;
        self.breaches.iter().try_for_each(|breach| write!(f, "\n  {breach}"))
    }
}

/// Judges a run by all properties, in a fixed order.
pub fn all(history: &History, observed: &Observed, limits: Limits) -> Vec<Judged> {
    vec![
        linearizable_per_key(history, limits.budget),
        no_acknowledged_write_lost(history, limits.end),
        none_applied_twice(history, &observed.records),
        audit_chain_gapless(&observed.records),
        audit_equal_at_equal_index(&observed.heads, &observed.records),
        every_answer_recorded(history, &observed.records),
        state_equal_at_equal_index(&observed.states),
        sealed_node_answers_nothing(&observed.sealed, &observed.answers),
        ended_tokens_refused(&observed.ended, &observed.acceptances, limits.token_bound),
        destroyed_versions_unreadable(history),
        committed_on_quorum(&observed.commits),
        one_leader_per_term(&observed.leaders),
        child_reaches_no_parent(&observed.crossings),
        sibling_sees_no_rows(history, &observed.crossings),
        deleted_namespace_is_gone(&observed.remnants),
        progress_after_heal(&observed.heals, limits.heal_bound),
    ]
}

/// The most that is told of one property: one breach shows that it failed, a page of them shows how.
const BREACHES_MAX: usize = 50;
