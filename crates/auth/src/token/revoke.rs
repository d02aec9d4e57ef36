//! Revocation. The token's row goes at once, and with it every token below, because each check looks at all ancestors. What they
//! leave on disk is swept in pieces, and the work that is left stands in the state, so that a new leader goes on with it.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn};
use aumbry_state::{ContainerState, Write, key};
use aumbry_types::ObjectId;

use super::authenticate::object_id;
use super::record::Record;
use crate::{ACCESSORS, ORPHANS};

/// Revokes a token with all below it. Nothing happens if there is none.
///
/// # Errors
/// [`DamagedRow`]
pub fn revoke(txn: &mut Txn<'_>, id: ObjectId) -> Result<(), DamagedRow> {
    let Some((record, _)) = Record::read(txn, id)? else {
        return Ok(());
    };
    let accessor = record.accessor.to_string();
    txn.remove(record.parent.unwrap_or(ORPHANS), &accessor)?;
    remove_rows(txn, id, &accessor)
}

/// Sweeps at most `limit` children of a revoked container.
///
/// # Errors
/// [`DamagedRow`]
pub fn sweep(txn: &mut Txn<'_>, container: ObjectId, limit: usize) -> Result<(), DamagedRow> {
    // One more than is swept, to see whether any are left. A listing would open them all, again for each piece.
    let children = txn.some_children(container, limit + 1)?;
    for child in children.iter().take(limit) {
        txn.remove(container, &child.name)?;
        if txn.read_row(&key::object(child.id))?.is_some() {
            remove_rows(txn, child.id, &child.name)?;
        }
    }
    if children.len() <= limit {
        txn.write(Write::ForgetContainer(container));
        txn.write(Write::Delete(key::work(container)));
    }
    Ok(())
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
    txn.delete_object(id);
    txn.fence_scan(id)?;
    let below = txn.container(id)?;
    if below.children > 0 {
        txn.write(Write::DeleteContainer(id));
        txn.put_row(key::work(id), Kind::Work, b"tokens", ObjectOptions::default());
    } else if below != ContainerState::default() {
        // All children went before: nothing is left to sweep, but what apply counted.
        txn.write(Write::ForgetContainer(id));
    }
    Ok(())
}
