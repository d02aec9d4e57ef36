//! Takes a history apart into pieces that can be judged one by one: a secret, a tree of tokens, a wrapping.
//!
//! A history is linearizable if and only if each object's operations are. A list is about many secrets: for each of them it becomes a
//! look at one name. That its looks happen at one moment is left to [`crate::oracle::lists`].

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};

use crate::{History, Operation, Reply};

/// All operations on one object.
pub(crate) struct Part {
    /// What it is, in words.
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
}

/// One operation on one object.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Its position in the history.
    pub(crate) position: usize,
    pub(crate) operation: Operation,
    pub(crate) call: u64,
    /// When it was answered, and what; `None` while its outcome is open.
    pub(crate) answer: Option<(u64, Reply)>,
}

/// The parts of a history, by the model that they belong to.
pub(crate) struct Parts {
    pub(crate) secrets: Vec<Part>,
    pub(crate) tokens: Vec<Part>,
    pub(crate) wrappings: Vec<Part>,
}

impl Entry {
    /// Whether it changes nothing whatever it is told. One whose outcome is open says nothing then.
    pub(crate) const fn is_read(&self) -> bool {
        matches!(
            self.operation,
            Operation::Get { .. } | Operation::ReadMetadata { .. } | Operation::List { .. } | Operation::Look { .. }
        )
    }

    /// Whether it was told what it is told only where it changes nothing.
    pub(crate) fn never_changes(&self) -> bool {
        let is_refused = match &self.answer {
            // A token that is used up can be gone before it is revoked.
            Some((_, Reply::NotFound)) => !matches!(self.operation, Operation::RevokeToken { .. }),
            Some((_, Reply::CasMismatch { .. } | Reply::CasRequired | Reply::Unchanged | Reply::Refused)) => true,
            _ => false,
        };
        is_refused || self.is_read()
    }
}

impl Parts {
    pub(crate) fn new(history: &History) -> Self {
        let families = families(history);
        let names = Names::new(history);
        let mut secrets: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let mut tokens: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let mut wrappings: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for (position, event) in history
            .events()
            .iter()
            .enumerate()
            .filter(|(_, event)| event.is_possible())
        {
            let entry = Entry {
                position,
                operation: event.operation.clone(),
                call: event.call,
                answer: event.ended_at().zip(event.reply().cloned()),
            };
            if entry.answer.is_none() && entry.is_read() {
                continue;
            }
            match &event.operation {
                Operation::List { directory } => {
                    let looks = event.reply().map(|reply| names.looks(directory, reply));
                    for (key, reply) in looks.into_iter().flatten() {
                        let look = Entry {
                            operation: Operation::Look { key: key.clone() },
                            answer: event.ended_at().map(|at| (at, reply)),
                            ..entry.clone()
                        };
                        secrets.entry(key).or_default().push(look);
                    }
                }
                Operation::CreateToken { token, .. }
                | Operation::UseToken { token }
                | Operation::RevokeToken { token } => {
                    let family = families.get(token.as_str()).copied().unwrap_or(token);
                    tokens.entry(family.to_owned()).or_default().push(entry);
                }
                Operation::Wrap { wrapping, .. } | Operation::Unwrap { wrapping } => {
                    wrappings.entry(wrapping.clone()).or_default().push(entry);
                }
                operation => {
                    if let Some(key) = operation.key() {
                        secrets.entry(key.to_owned()).or_default().push(entry);
                    }
                }
            }
        }
        Self {
            secrets: parts("secret", secrets),
            tokens: parts("token", tokens),
            wrappings: parts("wrapping", wrappings),
        }
    }
}

/// The secrets that a history knows, to tell what a list says of each.
pub(crate) struct Names<'a> {
    keys: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(history: &'a History) -> Self {
        let keys = history
            .events()
            .iter()
            .filter_map(|event| event.operation.key())
            .collect();
        Self { keys }
    }

    /// The known secrets below this path, which ends in a slash or is empty.
    pub(crate) fn below(&self, directory: &str) -> Vec<&'a str> {
        let from = (Bound::Included(directory), Bound::Unbounded);
        let after = self.keys.range::<str, _>(from).copied();
        after.take_while(|key| key.starts_with(directory)).collect()
    }

    /// What a list shows of each secret. A directory is shown while any secret is below it, so it tells of one only where it is alone.
    fn looks(&self, directory: &str, reply: &Reply) -> Vec<(String, Reply)> {
        let listed: BTreeSet<&str> = match reply {
            Reply::Names(names) => names.iter().map(String::as_str).collect(),
            _ => BTreeSet::new(),
        };
        let mut looks = Vec::new();
        let mut shared: BTreeMap<&str, usize> = BTreeMap::new();
        for key in self.below(directory) {
            *shared.entry(child(directory, key)).or_default() += 1;
        }
        for key in self.below(directory) {
            let name = child(directory, key);
            match (listed.contains(name), shared.get(name)) {
                (false, _) => looks.push((key.to_owned(), Reply::NotFound)),
                (true, Some(1)) => looks.push((key.to_owned(), Reply::Named)),
                (true, _) => {}
            }
        }
        // Names of which the history knows nothing: nobody can have written them.
        for name in listed.iter().filter(|name| !shared.contains_key(*name)) {
            looks.push((format!("{directory}{name}"), Reply::Named));
        }
        looks
    }
}

/// The name directly in this directory that leads to a secret below it.
pub(crate) fn child<'k>(directory: &str, key: &'k str) -> &'k str {
    let rest = &key[directory.len()..];
    rest.find('/').map_or(rest, |slash| &rest[..=slash])
}

/// The first ancestor of each token that was created below another.
fn families(history: &History) -> BTreeMap<&str, &str> {
    let mut parents: BTreeMap<&str, &str> = BTreeMap::new();
    for event in history.events() {
        if let Operation::CreateToken {
            token,
            parent: Some(parent),
            ..
        } = &event.operation
        {
            parents.insert(token, parent);
        }
    }
    let mut families = parents.clone();
    for family in families.values_mut() {
        // A chain cannot be longer than there are tokens.
        for _ in 0..parents.len() {
            let Some(parent) = parents.get(family) else { break };
            *family = parent;
        }
    }
    families
}

fn parts(kind: &str, entries: BTreeMap<String, Vec<Entry>>) -> Vec<Part> {
    let named = |(name, entries)| Part {
        name: format!("{kind} \"{name}\""),
        entries,
    };
    entries.into_iter().map(named).collect()
}
