//! What a mount that is gone leaves behind: removed a piece at a time. The work that is left stands in the state, so that a new leader goes on with it.

use aumbry_barrier::{Child, DamagedRow, Kind, ObjectOptions, Txn};
use aumbry_state::{ContainerState, Write, key};
use aumbry_types::ObjectId;

/// Leaves everything below a mount to the sweep. Nothing can be entered there any more; the mount's own row is the caller's, to be removed by the
/// same plan.
///
/// # Errors
/// [`DamagedRow`]
pub fn disable(txn: &mut Txn<'_>, root: ObjectId) -> Result<(), DamagedRow> {
    txn.fence_scan(root)?;
    let state = txn.container(root)?;
    if state.children > 0 {
        txn.write(Write::DeleteContainer(root));
        txn.put_row(key::work(root), Kind::Work, SWEEP_LABEL, ObjectOptions::default());
    } else if state != ContainerState::default() {
        txn.write(Write::ForgetContainer(root));
    }
    Ok(())
}

/// Removes about so many rows of a directory whose mount is gone: secrets with their versions. Directories in it become work of their own.
///
/// Damaged rows stop nothing.
pub fn sweep(txn: &mut Txn<'_>, directory: ObjectId, limit: usize) -> Swept {
    let children = txn.some_children(directory, limit + 1);
    let total = children.len();
    let (mut removed, mut damaged, mut rows) = (0, 0, 0);
    for (row_key, child) in children {
        if rows >= limit {
            break;
        }
        // Apply removes no row whose header cannot be read.
        if txn.read_row(&row_key).is_err() {
            damaged += 1;
            continue;
        }
        txn.write(Write::Delete(row_key));
        removed += 1;
        match child.and_then(|child| remove(txn, &child)) {
            Ok(below) => rows += 1 + below,
            Err(DamagedRow) => (rows, damaged) = (rows + 1, damaged + 1),
        }
    }
    // Where nothing can be removed any more the rest is left: the directory stays revoked.
    if removed + damaged == total || removed == 0 {
        if txn
            .container(directory)
            .is_ok_and(|state| state.children == removed as u64)
        {
            txn.write(Write::ForgetContainer(directory));
        }
        txn.write(Write::Delete(key::work(directory)));
    }
    Swept { rows, damaged }
}

/// What a step of the sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many rows it removed.
    pub rows: usize,
    /// How many of them are damaged, or were left for it.
    pub damaged: usize,
}

/// Removes what a name led to, and gives how many rows that took.
fn remove(txn: &mut Txn<'_>, child: &Child) -> Result<usize, DamagedRow> {
    if child.kind == Kind::Directory {
        disable(txn, child.id)?;
        return Ok(1);
    }
    txn.read_row(&key::object(child.id))?;
    txn.delete_object(child.id);
    // All of them: a secret has at most as many versions as one step may remove.
    let versions = txn.scan_rows(&key::version_prefix(child.id), None, VERSIONS_MAX);
    let rows = 1 + versions.len();
    for (row_key, _) in versions {
        txn.write(Write::Delete(row_key));
    }
    Ok(rows)
}

/// Tells work of this kind from that of others.
pub const SWEEP_LABEL: &[u8] = b"secrets";
/// As many as a secret keeps.
const VERSIONS_MAX: usize = 1_024;
