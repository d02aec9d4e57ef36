//! What expires, what is used up, and what revocation leaves: taken off the disk in pieces. The work that is left stands in the state, so
//! that a new leader goes on with it.

use aumbry_barrier::{Child, DamagedRow, Kind, ObjectOptions, Txn};
use aumbry_state::{ContainerState, Write, key};
use aumbry_types::ObjectId;
use bytes::Bytes;

use crate::{Place, approle, identity, token};

/// Removes an expired row, of this kind, with the names that lead to it. False if a row of it is damaged; then names may be left that lead
/// to nothing.
pub fn expire(txn: &mut Txn<'_>, row_key: Bytes, kind: u8) -> bool {
    match (key::parse_id(&row_key), Kind::from_u8(kind)) {
        (Some(id), Some(Kind::Token)) => token::force_revoke(txn, id),
        (Some(id), Some(Kind::SecretId)) => approle::expire(txn, id),
        _ => {
            txn.write(Write::Delete(row_key));
            true
        }
    }
}

/// Revokes everything of a mount of an auth method that is disabled: its tokens at once, with all below them, and what else it stored.
/// The mount's own row is the caller's, to be removed by the same plan.
///
/// # Errors
/// [`DamagedRow`]
pub fn disable(txn: &mut Txn<'_>, mount: ObjectId) -> Result<(), DamagedRow> {
    revoke_container(txn, mount)?;
    for place in Place::ALL {
        revoke_container(txn, place.of(mount))?;
    }
    Ok(())
}

/// Takes away a container with all that it holds, which is swept.
///
/// # Errors
/// [`DamagedRow`]
pub fn revoke_container(txn: &mut Txn<'_>, id: ObjectId) -> Result<(), DamagedRow> {
    txn.fence_scan(id)?;
    let state = txn.container(id)?;
    if state.children > 0 {
        txn.write(Write::DeleteContainer(id));
        txn.put_row(key::work(id), Kind::Work, b"mount", ObjectOptions::default());
    } else if state != ContainerState::default() {
        txn.write(Write::ForgetContainer(id));
    }
    Ok(())
}

/// Does the work that waits for an object: removes it if it is used up, or removes at most `limit` of the children that it left.
///
/// Gives the number of damaged rows, which stop nothing, or `None` if it must wait for a use that is in flight.
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
    // A use may be left for the same reason; the last one marks it again.
    let is_removed = if row.kind == Kind::SecretId as u8 {
        !approle::is_used_up(txn, id) || approle::expire(txn, id)
    } else {
        row.counters[0] != 0 || !token::is_counted(txn, id) || token::force_revoke(txn, id)
    };
    Some(usize::from(!is_removed))
}

fn sweep_children(txn: &mut Txn<'_>, container: ObjectId, limit: usize) -> usize {
    // One more than is swept, to see whether any are left. A listing would open them all, again for each piece.
    let children = txn.some_children(container, limit + 1);
    let total = children.len();
    let (mut taken, mut removed, mut damaged) = (0, 0, 0);
    for (row_key, child) in children.into_iter().take(limit) {
        // A mount, or an entity of many, takes more than others.
        if txn.write_count() > WRITES_MAX {
            break;
        }
        taken += 1;
        // Apply removes no row whose header cannot be read.
        if txn.read_row(&row_key).is_err() {
            damaged += 1;
            continue;
        }
        txn.write(Write::Delete(row_key));
        removed += 1;
        damaged += usize::from(child.and_then(|child| remove_child(txn, container, &child)).is_err());
    }
    // Where nothing can be removed any more the rest is left: the container stays revoked.
    if taken == total || removed == 0 {
        if txn.container(container).is_ok_and(|state| state.children == removed) {
            txn.write(Write::ForgetContainer(container));
        }
        txn.write(Write::Delete(key::work(container)));
    }
    damaged
}

/// Removes what a name led to.
fn remove_child(txn: &mut Txn<'_>, container: ObjectId, child: &Child) -> Result<(), DamagedRow> {
    match child.kind {
        Kind::Token => token::remove_child(txn, container, child),
        Kind::AppRole => approle::remove(txn, child.id),
        // The role itself goes by its name.
        Kind::RoleId => Ok(()),
        // The token goes on, and is counted here no more.
        Kind::Counted => Ok(()),
        // These three are swept with their namespace. A mount of an engine is not this crate's.
        Kind::Mount => {
            disable(txn, child.id)?;
            txn.delete_object(child.id);
            Ok(())
        }
        Kind::MfaMethod => {
            revoke_container(txn, Place::MfaSecrets.of(child.id))?;
            txn.delete_object(child.id);
            Ok(())
        }
        Kind::Entity => identity::remove(txn, child.id),
        _ => {
            txn.read_row(&key::object(child.id))?;
            txn.delete_object(child.id);
            Ok(())
        }
    }
}

/// With what one child takes at most, well below what one command holds.
const WRITES_MAX: usize = 12_000;
