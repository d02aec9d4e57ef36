//! What a decision is made of.

use crate::restrictions::Unmet;

/// The decision on an access, and what it is made of.
#[derive(Clone, Copy)]
pub(crate) struct Judgement {
    pub(crate) decisive: FormJudgement,
    /// Of the other spelling of a listed path.
    pub(crate) other: Option<FormJudgement>,
}

/// The decision on one spelling of a path.
#[derive(Clone, Copy)]
pub(crate) struct FormJudgement {
    pub(crate) verdict: Verdict,
    /// The place of the deciding rule. Invariant: there, unless unmatched; the lower the more specific.
    pub(crate) place: Option<usize>,
    /// Invariant: there if restricted.
    pub(crate) unmet: Option<Unmet>,
}

impl FormJudgement {
    pub(crate) const fn new(verdict: Verdict, place: usize) -> Self {
        Self {
            verdict,
            place: Some(place),
            unmet: None,
        }
    }

    pub(crate) const fn denied(place: usize) -> Self {
        Self::new(Verdict::Denied, place)
    }
}

/// In the order in which one spelling of a listed path overrules the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// No rule matches.
    Unmatched,
    /// The most specific rule does not give what is needed.
    Lacking,
    /// It does.
    Allowed,
    /// It would, but the request does not keep to its restrictions.
    Restricted,
    /// A rule refuses.
    Denied,
}
