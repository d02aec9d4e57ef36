//! From the moment at which a node says that it is sealed until it is told to unseal, no answer comes from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Judged;

/// A time in which a node was certainly sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Which node.
    pub node: u64,
    /// When it had said so, or had been started sealed.
    pub from: u64,
    /// When the last share was sent to it; `None` if it never was.
    pub until: Option<u64>,
}

/// An answer that tells something of the store, which "sealed" and "no leader" do not. The node that was asked and the one that worked it
/// out have an entry each: a sealed node hands nothing on either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Which node.
    pub node: u64,
    /// When it was asked, or later: when it began to work on it.
    pub asked: u64,
    /// When the answer came, or earlier: when it left.
    pub answered: u64,
}

/// Judges the property. An answer to what was asked before may have left before the seal. A fact is an answer of a node that was sealed
/// at some time of the run, or a time of being sealed.
pub fn sealed_node_answers_nothing(sealed: &[Sealed], answers: &[Answer]) -> Judged {
    let mut judged = Judged::new("sealed_node_answers_nothing");
    let mut spans: BTreeMap<u64, Vec<&Sealed>> = BTreeMap::new();
    for span in sealed {
        judged.fact(None);
        spans.entry(span.node).or_default().push(span);
    }
    for answer in answers {
        let Some(spans) = spans.get(&answer.node) else { continue };
        let is_within =
            |span: &&&Sealed| answer.asked > span.from && span.until.is_none_or(|until| answer.answered < until);
        judged.fact(spans.iter().find(is_within).map(|span| {
            format!(
                "node {} was sealed from {} on, and answered at {} what was asked at {}",
                answer.node, span.from, answer.answered, answer.asked
            )
        }));
    }
    judged
}
