//! Revocation. The token's row goes at once, and with it every token below, because each check looks at all ancestors. What they
//! leave on disk is swept in pieces, and the work that is left stands in the state, so that a new leader goes on with it.

use aumbry_barrier::{Child, DamagedRow, Kind, Object, ObjectOptions, Txn};
use aumbry_state::{ContainerState, Write, key};
use aumbry_types::ObjectId;

use super::authenticate::object_id;
use super::record::Record;
use crate::{ACCESSORS, ORPHANS};

/// Revokes a token with all below it. Gives whether there was one.
///
/// # Errors
/// [`DamagedRow`]
pub fn revoke(txn: &mut Txn<'_>, id: ObjectId) -> Result<bool, DamagedRow> {
    let Some((record, _)) = Record::read(txn, id)? else {
        return Ok(false);
    };
    let accessor = record.accessor.to_string();
    txn.remove(record.parent.unwrap_or(ORPHANS), &accessor)?;
    remove_rows(txn, id, &accessor).map(|()| true)
}

/// Revokes a token even if a row of it is damaged. Then names may be left that lead to no token. True if nothing was damaged.
pub fn force_revoke(txn: &mut Txn<'_>, id: ObjectId) -> bool {
    let is_sound = revoke(txn, id).is_ok();
    if !is_sound {
        discard(txn, id);
    }
    is_sound
}

/// Does the work that waits for a token: revokes it if it is used up, or removes at most `limit` of the children that it left.
///
/// Gives the number of damaged rows, which stop nothing, or `None` if it must wait for a use of the token that is in flight.
pub fn sweep(txn: &mut Txn<'_>, id: ObjectId, limit: usize) -> Option<usize> {
    let row_key = key::object(id);
    let Ok(Some(row)) = txn.peek_row(&row_key) else {
        return Some(sweep_children(txn, id, limit));
    };
    // A use that was counted in flight may not count in the end.
    if txn.is_in_flight(&row_key) || txn.read_row(&key::work(id)).is_err() {
        return None;
    }
    txn.write(Write::Delete(key::work(id)));
    // A use may be left for the same reason; the last one marks the token again.
    let is_used_up = row.counters[0] == 0 && Record::peek(txn, id).map_or(true, is_counted);
    Some(usize::from(is_used_up && !force_revoke(txn, id)))
}

fn is_counted(token: Option<(Record, Object)>) -> bool {
    token.is_some_and(|(record, _)| record.num_uses > 0)
}

fn sweep_children(txn: &mut Txn<'_>, container: ObjectId, limit: usize) -> usize {
    // One more than is swept, to see whether any are left. A listing would open them all, again for each piece.
    let children = txn.some_children(container, limit + 1);
    let is_last = children.len() <= limit;
    let (mut removed, mut damaged) = (0, 0);
    for (row_key, child) in children.into_iter().take(limit) {
        // Apply removes no row whose header cannot be read.
        if txn.read_row(&row_key).is_err() {
            damaged += 1;
            continue;
        }
        txn.write(Write::Delete(row_key));
        removed += 1;
        damaged += usize::from(child.and_then(|child| remove_child(txn, &child)).is_err());
    }
    // Where nothing can be removed any more the rest is left: the container stays revoked.
    if is_last || removed == 0 {
        if txn.container(container).is_ok_and(|state| state.children == removed) {
            txn.write(Write::ForgetContainer(container));
        }
        txn.write(Write::Delete(key::work(container)));
    }
    damaged
}

fn remove_child(txn: &mut Txn<'_>, child: &Child) -> Result<(), DamagedRow> {
    if txn.read_row(&key::object(child.id))?.is_none() {
        // It may have been discarded without its name.
        return txn.remove(ACCESSORS, &child.name);
    }
    remove_rows(txn, child.id, &child.name).inspect_err(|_| discard(txn, child.id))
}

/// The token with this accessor.
///
/// # Errors
/// [`DamagedRow`]
pub fn find_by_accessor(txn: &mut Txn<'_>, accessor: &str) -> Result<Option<ObjectId>, DamagedRow> {
    Ok(txn.lookup(ACCESSORS, accessor)?.map(|child| child.id))
}

/// The token with this text.
///
/// # Errors
/// [`DamagedRow`]
pub fn find_by_text(txn: &mut Txn<'_>, text: &[u8], custom: bool) -> Result<Option<ObjectId>, DamagedRow> {
    let Some(id) = object_id(txn, text, custom) else {
        return Ok(None);
    };
    Ok(Record::read(txn, id)?.map(|_| id))
}

fn remove_rows(txn: &mut Txn<'_>, id: ObjectId, accessor: &str) -> Result<(), DamagedRow> {
    txn.remove(ACCESSORS, accessor)?;
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
    txn.fence_scan(id)?;
    let below = txn.container(id)?;
    txn.delete_object(id);
    if below.children > 0 {
        txn.write(Write::DeleteContainer(id));
        txn.put_row(key::work(id), Kind::Work, b"tokens", ObjectOptions::default());
    } else if below != ContainerState::default() {
        // All children went before: nothing is left to sweep, but what apply counted.
        txn.write(Write::ForgetContainer(id));
    }
    Ok(())
}
