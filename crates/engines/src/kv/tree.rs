//! Directories. A directory's name in its parent ends in a slash, so that a secret and a directory may share a name.

use aumbry_barrier::{DamagedRow, InsertError, Kind, Txn};
use aumbry_state::Write;
use aumbry_types::{ObjectId, SecretPath};

/// Where a secret stands.
pub(super) struct Place {
    /// The containers from the mount's root to the secret's directory, with the name of each in the one before.
    chain: Vec<(ObjectId, String)>,
    leaf: String,
}

/// Finds a secret.
pub(super) fn find(
    txn: &mut Txn<'_>,
    root: ObjectId,
    path: &SecretPath,
) -> Result<Option<(Place, ObjectId)>, DamagedRow> {
    let (directories, leaf) = split(path);
    let mut chain = vec![(root, String::new())];
    let mut container = root;
    for name in directories {
        let Some(child) = txn.lookup(container, &name)? else {
            return Ok(None);
        };
        container = child.id;
        chain.push((container, name));
    }
    let child = txn.lookup(container, leaf)?;
    Ok(child.map(|child| {
        (
            Place {
                chain,
                leaf: leaf.to_owned(),
            },
            child.id,
        )
    }))
}

/// Finds a directory.
pub(super) fn find_directory(
    txn: &mut Txn<'_>,
    root: ObjectId,
    path: &SecretPath,
) -> Result<Option<ObjectId>, DamagedRow> {
    let mut container = root;
    for segment in path.segments() {
        let Some(child) = txn.lookup(container, &format!("{segment}/"))? else {
            return Ok(None);
        };
        container = child.id;
    }
    Ok(Some(container))
}

/// Enters a new secret, with the directories that it needs.
pub(super) fn enter(txn: &mut Txn<'_>, root: ObjectId, path: &SecretPath) -> Result<ObjectId, InsertError> {
    let (directories, leaf) = split(path);
    let mut container = root;
    for name in directories {
        container = match txn.lookup(container, &name)? {
            Some(child) => child.id,
            None => {
                let id = ObjectId::make(txn.entropy());
                txn.insert(container, &name, Kind::Directory, id)?;
                id
            }
        };
    }
    // A directory that exists must still be there when the secret is entered.
    txn.fence_generation(container)?;
    let id = ObjectId::make(txn.entropy());
    txn.insert(container, leaf, Kind::Secret, id)?;
    Ok(id)
}

/// Removes a secret's name, and the directories that it leaves empty.
pub(super) fn leave(txn: &mut Txn<'_>, place: &Place) -> Result<(), DamagedRow> {
    let mut name = place.leaf.as_str();
    for (position, (container, own_name)) in place.chain.iter().enumerate().rev() {
        txn.remove(*container, name)?;
        txn.fence_scan(*container)?;
        let is_last_child = txn.container(*container)?.children == 1;
        if position == 0 || !is_last_child {
            break;
        }
        txn.write(Write::ForgetContainer(*container));
        name = own_name;
    }
    Ok(())
}

/// The names of the directories, each with its slash, and the name of the secret.
fn split(path: &SecretPath) -> (Vec<String>, &str) {
    let segments: Vec<&str> = path.segments().collect();
    let (leaf, directories) = segments
        .split_last()
        .map_or(("", &[][..]), |(leaf, rest)| (*leaf, rest));
    (directories.iter().map(|segment| format!("{segment}/")).collect(), leaf)
}
