//! One secret of the KV engine, version 2: versions, check-and-set, soft delete, destruction, settings, its name in a list.

use crate::model::Model;
use crate::{Content, Fate, Operation, Reply};

/// The model of one secret. Its state is `None` where there is no such secret.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kv;

/// A secret that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Secret {
    current: u64,
    max_versions: u32,
    cas_required: bool,
    /// Version, value and fate, in the order of versions.
    versions: Vec<(u64, u64, Fate)>,
}

/// What to do with versions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Delete,
    Undelete,
    Destroy,
}

impl Model for Kv {
    type State = Option<Secret>;

    fn initial(&self) -> Self::State {
        None
    }

    fn answer(&self, state: &Self::State, operation: &Operation) -> Option<(Reply, Option<Self::State>)> {
        let secret = state.as_ref();
        let stays = |reply| (reply, None);
        Some(match operation {
            Operation::Put { value, cas, .. } => match refuses(secret, *cas) {
                Some(reply) => stays(reply),
                None => write(secret, *value),
            },
            Operation::Patch { value, cas, .. } => {
                match (secret, secret.and_then(|secret| refuses(Some(secret), *cas))) {
                    (None, _) => stays(Reply::NotFound),
                    (Some(_), Some(reply)) => stays(reply),
                    (Some(before), None) => match before.version(before.current) {
                        Some((_, _, Fate::Live)) => write(secret, *value),
                        _ => stays(Reply::NotFound),
                    },
                }
            }
            Operation::Get { version, .. } => stays(get(secret, *version)),
            Operation::Delete { versions, .. } => change(secret, versions, Change::Delete)?,
            Operation::Undelete { versions, .. } => change(secret, versions, Change::Undelete)?,
            Operation::Destroy { versions, .. } => change(secret, versions, Change::Destroy)?,
            Operation::ReadMetadata { .. } => stays(secret.map_or(Reply::NotFound, Secret::metadata)),
            Operation::WriteMetadata {
                max_versions,
                cas_required,
                ..
            } => {
                let mut after = secret.cloned().unwrap_or_default();
                after.max_versions = max_versions.unwrap_or(after.max_versions);
                after.cas_required = cas_required.unwrap_or(after.cas_required);
                after.trim();
                (Reply::Done, (secret != Some(&after)).then_some(Some(after)))
            }
            Operation::DeleteMetadata { .. } => match secret {
                Some(_) => (Reply::Done, Some(None)),
                None => stays(Reply::NotFound),
            },
            Operation::Look { .. } => stays(secret.map_or(Reply::NotFound, |_| Reply::Named)),
            Operation::List { .. }
            | Operation::CreateToken { .. }
            | Operation::UseToken { .. }
            | Operation::RevokeToken { .. }
            | Operation::Wrap { .. }
            | Operation::Unwrap { .. } => return None,
        })
    }

    fn accepts(&self, _: &Self::State, _: &Operation, answer: &Reply, told: &Reply) -> bool {
        match (answer, told) {
            (Reply::CasMismatch { .. }, Reply::CasMismatch { current: None }) => true,
            (
                Reply::Item {
                    version,
                    content: Content::Deleted | Content::Destroyed,
                },
                Reply::Item {
                    version: told,
                    content: Content::Gone,
                },
            ) => version == told,
            _ => answer == told,
        }
    }
}

impl Secret {
    fn version(&self, version: u64) -> Option<(u64, u64, Fate)> {
        let at = self.versions.binary_search_by_key(&version, |(number, ..)| *number);
        at.ok().map(|at| self.versions[at])
    }

    fn metadata(&self) -> Reply {
        Reply::Metadata {
            current: self.current,
            versions: self
                .versions
                .iter()
                .map(|(version, _, fate)| (*version, *fate))
                .collect(),
        }
    }

    /// Drops the oldest versions over the limit.
    fn trim(&mut self) {
        let keep = match self.max_versions {
            0 => MAX_VERSIONS_DEFAULT,
            n => n as usize,
        };
        let excess = self.versions.len().saturating_sub(keep);
        self.versions.drain(..excess);
    }
}

/// Why a write is refused.
fn refuses(secret: Option<&Secret>, cas: Option<u64>) -> Option<Reply> {
    let current = secret.map_or(0, |secret| secret.current);
    match cas {
        Some(expected) if expected != current => Some(Reply::CasMismatch { current: Some(current) }),
        None if secret.is_some_and(|secret| secret.cas_required) => Some(Reply::CasRequired),
        _ => None,
    }
}

fn write(secret: Option<&Secret>, value: u64) -> (Reply, Option<Option<Secret>>) {
    let mut after = secret.cloned().unwrap_or_default();
    after.current += 1;
    after.versions.push((after.current, value, Fate::Live));
    after.trim();
    let version = after.current;
    (Reply::Written { version }, Some(Some(after)))
}

fn get(secret: Option<&Secret>, version: Option<u64>) -> Reply {
    let Some(secret) = secret else { return Reply::NotFound };
    let version = match version {
        None | Some(0) => secret.current,
        Some(version) => version,
    };
    secret
        .version(version)
        .map_or(Reply::NotFound, |(version, value, fate)| {
            let content = match fate {
                Fate::Live => Content::Value(value),
                Fate::Deleted => Content::Deleted,
                Fate::Destroyed => Content::Destroyed,
            };
            Reply::Item { version, content }
        })
}

/// As the engine does it: refused if there is a version that cannot be changed as asked and none that can; one that is already as
/// asked is neither. `None` if no version is named where one must be, which the server refuses by itself.
fn change(secret: Option<&Secret>, versions: &[u64], change: Change) -> Option<(Reply, Option<Option<Secret>>)> {
    let Some(secret) = secret else {
        return Some((Reply::NotFound, None));
    };
    let current = [secret.current];
    let versions = match versions {
        [] if change != Change::Delete => return None,
        [] if secret.current == 0 => return Some((Reply::NotFound, None)),
        [] => &current[..],
        named => named,
    };
    let mut after = secret.clone();
    let (mut is_changed, mut is_impossible) = (false, false);
    for version in versions {
        let place = after.versions.iter_mut().find(|(number, ..)| number == version);
        match (change, place) {
            (_, None) | (Change::Undelete, Some((.., Fate::Destroyed))) => is_impossible = true,
            (Change::Delete, Some((.., fate @ Fate::Live))) => (*fate, is_changed) = (Fate::Deleted, true),
            (Change::Undelete, Some((.., fate @ Fate::Deleted))) => (*fate, is_changed) = (Fate::Live, true),
            (Change::Destroy, Some((.., fate @ (Fate::Live | Fate::Deleted)))) => {
                (*fate, is_changed) = (Fate::Destroyed, true);
            }
            (Change::Delete | Change::Undelete | Change::Destroy, Some(_)) => {}
        }
    }
    Some(match (is_changed, is_impossible) {
        (true, _) => (Reply::Done, Some(Some(after))),
        (false, true) => (Reply::Unchanged, None),
        (false, false) => (Reply::Done, None),
    })
}

/// What the engine keeps where nothing else is set.
const MAX_VERSIONS_DEFAULT: usize = 10;
