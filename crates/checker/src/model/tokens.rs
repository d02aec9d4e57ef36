//! A tree of tokens: uses that are counted, and revocation that reaches all below.

use std::collections::BTreeMap;

use crate::model::Model;
use crate::{Operation, Reply};

/// The model of a token with all that are created below it. Its state is what exists, by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokens;

/// A token that was created and not revoked itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    parent: Option<String>,
    /// `None` is without end.
    uses_left: Option<u64>,
}

impl Model for Tokens {
    type State = BTreeMap<String, Token>;

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn answer(&self, state: &Self::State, operation: &Operation) -> Option<(Reply, Option<Self::State>)> {
        Some(match operation {
            Operation::CreateToken { token, parent, uses } => {
                // A token with a limited number of uses creates none.
                let can_create = |parent: &String| {
                    let is_limited = state.get(parent).is_some_and(|parent| parent.uses_left.is_some());
                    !is_limited && stands(state, parent)
                };
                if !parent.as_ref().is_none_or(can_create) || state.contains_key(token) {
                    return Some((Reply::Refused, None));
                }
                let mut after = state.clone();
                let created = Token {
                    parent: parent.clone(),
                    uses_left: (*uses > 0).then_some(*uses),
                };
                after.insert(token.clone(), created);
                (Reply::Done, Some(after))
            }
            Operation::UseToken { token } => match state.get(token) {
                Some(used) if can_be_used(state, used) => match used.uses_left {
                    Some(left) => {
                        let mut after = state.clone();
                        let uses_left = Some(left - 1);
                        after.insert(
                            token.clone(),
                            Token {
                                uses_left,
                                ..used.clone()
                            },
                        );
                        (Reply::Done, Some(after))
                    }
                    None => (Reply::Done, None),
                },
                _ => (Reply::Refused, None),
            },
            Operation::RevokeToken { token } => match state.contains_key(token) {
                true => {
                    let mut after = state.clone();
                    after.remove(token);
                    (Reply::Done, Some(after))
                }
                false => (Reply::NotFound, None),
            },
            _ => return None,
        })
    }

    /// What is used up, or is below what is gone, is swept away in the background: it may be there for its own revocation, or not.
    fn accepts(&self, state: &Self::State, operation: &Operation, answer: &Reply, told: &Reply) -> bool {
        let is_swept = || match operation {
            Operation::RevokeToken { token } => state.get(token).is_some_and(|token| !can_be_used(state, token)),
            _ => false,
        };
        answer == told || (*told == Reply::NotFound && is_swept())
    }
}

/// Whether the token and all above it are there, with uses left. A child needs those of its parents too, and takes none of them.
fn can_be_used(state: &BTreeMap<String, Token>, token: &Token) -> bool {
    token.uses_left != Some(0) && token.parent.as_ref().is_none_or(|parent| stands(state, parent))
}

fn stands(state: &BTreeMap<String, Token>, token: &str) -> bool {
    let mut next = Some(token);
    // A chain cannot be longer than there are tokens.
    for _ in 0..=state.len() {
        let Some(name) = next else { return true };
        match state.get(name) {
            Some(token) if token.uses_left != Some(0) => next = token.parent.as_deref(),
            _ => return false,
        }
    }
    false
}
