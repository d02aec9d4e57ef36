//! Deleting, restoring and destroying versions.

use aumbry_barrier::Txn;
use aumbry_types::ObjectId;

use super::metadata::Metadata;
use super::request::{Error, Reply, VERSIONS_MAX};

/// What to do with versions.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    Delete,
    Undelete,
    Destroy,
}

/// Applies it to each version. It fails, and changes nothing, if there is none that it could change and one that it cannot: that does not
/// exist, or is destroyed and was to be restored. A version that is already as asked is neither.
pub(super) fn change(txn: &mut Txn<'_>, id: ObjectId, versions: &[u64], fate: Fate) -> Result<Reply, Error> {
    let mut metadata = Metadata::read(txn, id)?;
    let current = [metadata.current];
    let versions = match fate {
        Fate::Delete if versions.is_empty() && metadata.current == 0 => return Err(Error::NotFound),
        Fate::Delete if versions.is_empty() => &current[..],
        _ => versions,
    };
    if versions.is_empty() || versions.len() > VERSIONS_MAX {
        return Err(Error::Invalid("name 1 to 1,000 versions"));
    }
    let now = txn.now();
    let mut is_changed = false;
    let (mut missing, mut destroyed) = (Vec::new(), Vec::new());
    for version in versions {
        let Some(state) = metadata.versions.get_mut(version) else {
            missing.push(*version);
            continue;
        };
        match fate {
            Fate::Delete if state.is_readable(now) => state.deleted_at = now.0,
            Fate::Undelete if state.destroyed => {
                destroyed.push(*version);
                continue;
            }
            Fate::Undelete if state.deleted_at != 0 => state.deleted_at = 0,
            Fate::Destroy if !state.destroyed => {
                state.destroyed = true;
                txn.delete_version(id, *version);
            }
            Fate::Delete | Fate::Undelete | Fate::Destroy => continue,
        }
        is_changed = true;
    }
    if is_changed {
        metadata.updated = now.0;
        metadata.write(txn, id);
    } else if !missing.is_empty() || !destroyed.is_empty() {
        return Err(Error::Unchanged { missing, destroyed });
    }
    Ok(Reply::Done)
}
