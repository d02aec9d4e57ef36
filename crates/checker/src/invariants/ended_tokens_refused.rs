//! A token that was revoked or has expired is accepted nowhere after the bound.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Judged;
use crate::{Event, History, Operation, Reply};

/// The end of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Which token. One below it has an entry of its own.
    pub token: String,
    /// When its revocation was acknowledged, or when it expired.
    pub at: u64,
}

/// A request that was served on the authority of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Which token.
    pub token: String,
    /// The node that was asked.
    pub node: u64,
    /// When it was asked.
    pub asked: u64,
}

impl Ended {
    /// The revocations that a history shows, of those below as well.
    #[must_use]
    pub fn in_history(history: &History) -> Vec<Self> {
        let parents: BTreeMap<&str, &str> = (history.events().iter())
            .filter_map(|event| match &event.operation {
                Operation::CreateToken { token, parent, .. } => Some((token.as_str(), parent.as_deref()?)),
                _ => None,
            })
            .collect();
        let mut revoked: BTreeMap<&str, u64> = BTreeMap::new();
        let mut tokens: Vec<&str> = Vec::new();
        for event in history.events() {
            match (&event.operation, revoked_at(event)) {
                (Operation::RevokeToken { token }, Some(at)) => {
                    let first = revoked.entry(token).or_insert(at);
                    *first = at.min(*first);
                }
                (Operation::CreateToken { token, .. }, _) => tokens.push(token),
                _ => {}
            }
        }
        let mut ended = Vec::new();
        for token in tokens {
            let mut next = Some(token);
            let mut first: Option<u64> = None;
            // A chain cannot be longer than there are tokens.
            for _ in 0..=parents.len() {
                let Some(name) = next else { break };
                first = first.into_iter().chain(revoked.get(name).copied()).min();
                next = parents.get(name).copied();
            }
            ended.extend(first.map(|at| Self {
                token: token.to_owned(),
                at,
            }));
        }
        ended
    }
}

impl Acceptance {
    /// The uses of tokens that a history shows, by a node that is not known.
    #[must_use]
    pub fn in_history(history: &History) -> Vec<Self> {
        let used = history
            .events()
            .iter()
            .filter(|event| event.reply() == Some(&Reply::Done));
        used.filter_map(|event| match &event.operation {
            Operation::UseToken { token } => Some(Self {
                token: token.clone(),
                node: 0,
                asked: event.call,
            }),
            _ => None,
        })
        .collect()
    }
}

fn revoked_at(event: &Event) -> Option<u64> {
    event.ended_at().filter(|_| event.reply() == Some(&Reply::Done))
}

/// Judges the property. A fact is a use of a token that ended, or the end of one.
pub fn ended_tokens_refused(ended: &[Ended], acceptances: &[Acceptance], bound: u64) -> Judged {
    let mut judged = Judged::new("ended_tokens_refused");
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    for end in ended {
        judged.fact(None);
        let first = ends.entry(&end.token).or_insert(end.at);
        *first = end.at.min(*first);
    }
    for acceptance in acceptances {
        let Some(end) = ends.get(acceptance.token.as_str()) else {
            continue;
        };
        let is_late = acceptance.asked > end.saturating_add(bound);
        judged.fact(is_late.then(|| {
            let Acceptance { token, node, asked } = acceptance;
            format!("token {token} ended at {end}, and node {node} accepted it at {asked}")
        }));
    }
    judged
}
