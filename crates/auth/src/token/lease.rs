//! Tokens as leases: a lease is named by the path of the request that made it and the token's accessor, as in `auth/approle/login/ACCESSOR`.

use std::collections::BTreeSet;

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_types::ObjectId;

use super::record::Record;
use super::revoke::{find_by_accessor, revoke};

/// Why leases were neither listed nor revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// They would all have to be looked at in one step.
    #[error("there are more than 10,000 tokens to look at; name tokens by their accessors, or disable the auth method")]
    TooMany,
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

/// The token that a lease stands for.
///
/// # Errors
/// [`DamagedRow`]
pub fn find_by_lease(txn: &mut Txn<'_>, lease: &str) -> Result<Option<ObjectId>, DamagedRow> {
    let Some((path, accessor)) = lease.rsplit_once('/') else {
        return Ok(None);
    };
    let Some(id) = find_by_accessor(txn, accessor)? else {
        return Ok(None);
    };
    let record = Record::read(txn, id)?;
    Ok(record.filter(|(record, _)| record.path == path).map(|_| id))
}

/// The names right below a prefix, of the tokens in this container: accessors, and paths that end in a slash.
///
/// # Errors
/// [`LeaseError`]
pub fn list_leases(txn: &mut Txn<'_>, container: ObjectId, prefix: &str) -> Result<Vec<String>, LeaseError> {
    let mut names = BTreeSet::new();
    for (_, path, accessor) in below(txn, container, prefix)? {
        let rest = path[prefix.len()..].trim_start_matches('/');
        names.insert(match rest.split('/').next() {
            None | Some("") => accessor,
            Some(segment) => format!("{segment}/"),
        });
    }
    Ok(names.into_iter().collect())
}

/// Revokes the tokens of a prefix in this container with all below them, at most [`REVOKED_MAX`]. Gives how many, and whether more are left.
///
/// # Errors
/// [`LeaseError`]; what was written to the transaction until then must be abandoned.
pub fn revoke_leases(txn: &mut Txn<'_>, container: ObjectId, prefix: &str) -> Result<(usize, bool), LeaseError> {
    let found = below(txn, container, prefix)?;
    let chosen = &found[..found.len().min(REVOKED_MAX)];
    let ids: BTreeSet<ObjectId> = chosen.iter().map(|(id, ..)| *id).collect();
    for id in &ids {
        // A token below another of them goes with it: its name stands in a container that is revoked then.
        let parent = Record::peek(txn, *id)?.and_then(|(record, _)| record.parent);
        if !parent.is_some_and(|parent| ids.contains(&parent)) {
            revoke(txn, *id)?;
        }
    }
    Ok((ids.len(), found.len() > chosen.len()))
}

/// Tokens of this container whose path is the prefix or below it, by id, path and accessor. That of a token never changes.
fn below(txn: &mut Txn<'_>, container: ObjectId, prefix: &str) -> Result<Vec<(ObjectId, String, String)>, LeaseError> {
    txn.fence_scan(container)?;
    if txn.container(container)?.children > LOOKED_AT_MAX {
        return Err(LeaseError::TooMany);
    }
    let mut found = Vec::new();
    for child in txn.list(container)?.iter() {
        let Some((record, _)) = Record::peek(txn, child.id)? else {
            continue;
        };
        let rest = record.path.strip_prefix(prefix);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            found.push((child.id, record.path, child.name.clone()));
        }
    }
    Ok(found)
}

/// Tokens that one step revokes: each takes some ten parts of a command.
pub const REVOKED_MAX: usize = 1_000;
/// Tokens that one step looks at, while nothing else is planned.
const LOOKED_AT_MAX: u64 = 10_000;
