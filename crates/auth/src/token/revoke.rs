//! Revocation. The token's row goes at once, and with it every token below, because each check looks at all ancestors. What they
//! leave on disk is swept in pieces, and the work that is left stands in the state, so that a new leader goes on with it.

use aumbry_barrier::{Child, DamagedRow, InsertError, Kind, ObjectOptions, Txn};
use aumbry_state::{ContainerState, Counters, Write, key};
use aumbry_types::ObjectId;

use super::authenticate::object_id;
use super::record::Record;
use super::wrapping::REPLY;
use crate::listing::PAGE_MAX;
use crate::places::cubbyhole_of;
use crate::{NAMESPACE_ROOT, Shelf};

/// Revokes a token with all below it. Gives whether there was one.
///
/// # Errors
/// [`DamagedRow`]
pub fn revoke(txn: &mut Txn<'_>, id: ObjectId) -> Result<bool, DamagedRow> {
    let Some((record, _)) = Record::read(txn, id)? else {
        return Ok(false);
    };
    let accessor = record.accessor.to_string();
    txn.remove(record.container(), &accessor)?;
    remove_rows(txn, id, &accessor, (record.namespace, &record.counted)).map(|()| true)
}

/// Why a token was not revoked by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrphanError {
    /// No such token.
    #[error("no such token")]
    NotFound,
    /// One step takes no more.
    #[error("the token has more than 1,000 children; revoke some of them, or the token with all of them")]
    TooMany,
    /// The directory of orphans takes no more.
    #[error(transparent)]
    Insert(#[from] InsertError),
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

/// Revokes a token alone: its children have no parent from then on, and go on as they are with all below them.
///
/// # Errors
/// [`OrphanError`]; what was written to the transaction until then must be abandoned.
pub fn revoke_orphan(txn: &mut Txn<'_>, id: ObjectId) -> Result<(), OrphanError> {
    if Record::read(txn, id)?.is_none() {
        return Err(OrphanError::NotFound);
    }
    txn.fence_scan(id)?;
    if txn.container(id)?.children > ORPHANED_MAX {
        return Err(OrphanError::TooMany);
    }
    for child in txn.list(id)?.iter() {
        txn.remove(id, &child.name)?;
        let Some((mut record, object)) = Record::read(txn, child.id)? else {
            continue;
        };
        record.parent = None;
        record.depth = 0;
        let container = record.container();
        txn.insert(container, &child.name, Kind::Token, child.id)?;
        let options = ObjectOptions {
            expires_at: object.expires_at,
            counters: Counters::Keep,
            container,
        };
        txn.put_object(child.id, Kind::Token, record.encode().expose(), options);
    }
    // The container that they leave is swept as that of any revoked token, and found empty.
    revoke(txn, id)?;
    Ok(())
}

/// Revokes a token even if a row of it is damaged. Then names may be left that lead to no token. True if nothing was damaged.
pub fn force_revoke(txn: &mut Txn<'_>, id: ObjectId) -> bool {
    let is_sound = revoke(txn, id).is_ok();
    if !is_sound {
        discard(txn, id);
    }
    is_sound
}

/// Whether a token has a limited number of uses. One that cannot be read counts as such: its row is to go.
pub(crate) fn is_counted(txn: &Txn<'_>, id: ObjectId) -> bool {
    Record::peek(txn, id).map_or(true, |token| token.is_some_and(|(record, _)| record.num_uses > 0))
}

/// Removes a token whose name in a container is removed: among its parent's children, or, with its namespace, among the accessors.
pub(crate) fn remove_child(txn: &mut Txn<'_>, container: ObjectId, child: &Child) -> Result<(), DamagedRow> {
    if txn.read_row(&key::object(child.id))?.is_none() {
        // It may have been discarded without its name.
        return txn.remove(Shelf::Accessors.here(txn), &child.name);
    }
    // What cannot be read is taken for the root's, of which there is most; elsewhere names are left that lead to nothing.
    let record = Record::peek(txn, child.id).ok().flatten().map(|(record, _)| record);
    if let Some(record) = &record
        && record.container() != container
    {
        txn.remove(record.container(), &child.name)?;
    }
    let (namespace, counted) = match record {
        Some(record) => (record.namespace, record.counted),
        None => (NAMESPACE_ROOT, Vec::new()),
    };
    remove_rows(txn, child.id, &child.name, (namespace, &counted)).inspect_err(|_| discard(txn, child.id))
}

/// The token with this accessor, if it is of the namespace that the plan is in.
///
/// # Errors
/// [`DamagedRow`]
pub fn find_by_accessor(txn: &mut Txn<'_>, accessor: &str) -> Result<Option<ObjectId>, DamagedRow> {
    Ok(txn.lookup(Shelf::Accessors.here(txn), accessor)?.map(|child| child.id))
}

/// Some accessors, at most so many (0: as many as a page holds), sorted, and whether there are more. There can be millions, so those that
/// are given are the first by nothing that means anything.
#[must_use]
pub fn accessors(txn: &Txn<'_>, limit: usize) -> (Vec<String>, bool) {
    let limit = if limit == 0 { PAGE_MAX } else { limit.min(PAGE_MAX) };
    let children = txn.some_children(Shelf::Accessors.here(txn), limit + 1);
    let has_more = children.len() > limit;
    let names = children.into_iter().take(limit);
    let mut names: Vec<String> = names
        .filter_map(|(_, child)| child.ok().map(|child| child.name))
        .collect();
    names.sort_unstable();
    (names, has_more)
}

/// The token with this text, if it is of the namespace that the plan is in.
///
/// # Errors
/// [`DamagedRow`]
pub fn find_by_text(txn: &mut Txn<'_>, text: &[u8], custom: bool) -> Result<Option<ObjectId>, DamagedRow> {
    let Some(id) = object_id(txn, text, custom) else {
        return Ok(None);
    };
    let found = Record::read(txn, id)?;
    Ok(found
        .filter(|(record, _)| record.namespace == txn.namespace())
        .map(|_| id))
}

/// Removes a token with its accessor: among those of its namespace, and in the containers that count it.
fn remove_rows(
    txn: &mut Txn<'_>,
    id: ObjectId,
    accessor: &str,
    (namespace, counted): (ObjectId, &[ObjectId]),
) -> Result<(), DamagedRow> {
    txn.remove(Shelf::Accessors.of(namespace), accessor)?;
    for container in counted {
        txn.remove(*container, accessor)?;
    }
    remove_object(txn, id)
}

/// Removes a token's row and, if they can be read, the counts of its children.
fn discard(txn: &mut Txn<'_>, id: ObjectId) {
    if remove_object(txn, id).is_err() {
        txn.delete_object(id);
    }
}

/// Changes nothing if it fails.
fn remove_object(txn: &mut Txn<'_>, id: ObjectId) -> Result<(), DamagedRow> {
    // Its children, and what it kept for itself.
    let containers = [id, cubbyhole_of(id)];
    for container in containers {
        txn.fence_scan(container)?;
        txn.container(container)?;
    }
    if txn.read_row(&key::version(id, REPLY))?.is_some() {
        txn.delete_version(id, REPLY);
    }
    txn.delete_object(id);
    for container in containers {
        let below = txn.container(container)?;
        if below.children > 0 {
            txn.write(Write::DeleteContainer(container));
            txn.put_row(key::work(container), Kind::Work, b"tokens", ObjectOptions::default());
        } else if below != ContainerState::default() {
            // All children went before: nothing is left to sweep, but what apply counted.
            txn.write(Write::ForgetContainer(container));
        }
    }
    Ok(())
}

/// Each child takes five rows of one entry.
const ORPHANED_MAX: u64 = 1_000;
