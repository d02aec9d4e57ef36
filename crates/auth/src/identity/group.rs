//! Groups of entities.

use std::collections::BTreeMap;

use aumbry_barrier::{DamagedRow, Kind, Txn, record};
use aumbry_types::{Name, ObjectId};
use serde::{Deserialize, Serialize};

use crate::Shelf;
use crate::answer::Error;
use crate::places::{found_here, options_here};

/// What is stored of a group, under its id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) policies: Vec<String>,
    pub(super) metadata: BTreeMap<String, String>,
    /// Whether auth methods say who is in it. Then it has no members here.
    pub(super) is_external: bool,
    /// The entities in it, sorted. One that is not there was deleted.
    pub(super) entities: Vec<ObjectId>,
    /// The groups whose members are in it too, sorted.
    pub(super) groups: Vec<ObjectId>,
    /// As what an auth method knows it.
    pub(super) alias: Option<GroupAlias>,
    /// In log time (ms).
    pub(super) created: u64,
    /// In log time (ms).
    pub(super) updated: u64,
}

/// As what a mount knows a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupAlias {
    pub(super) id: ObjectId,
    pub(super) mount: ObjectId,
    pub(super) name: String,
    /// In log time (ms).
    pub(super) created: u64,
}

impl Group {
    pub(super) fn read(txn: &mut Txn<'_>, id: ObjectId) -> Result<Option<Self>, DamagedRow> {
        let object = txn.read_object(id, Kind::Group)?;
        let object = found_here(txn, object);
        object.map(|object| decode(object.plain.expose())).transpose()
    }

    /// The group with this name.
    pub(super) fn named(txn: &mut Txn<'_>, name: &Name) -> Result<Option<(ObjectId, Self)>, DamagedRow> {
        let Some(child) = txn.lookup(Shelf::Groups.here(txn), name.as_str())? else {
            return Ok(None);
        };
        let group = Self::read(txn, child.id)?.ok_or(DamagedRow)?;
        Ok(Some((child.id, group)))
    }

    /// All of them.
    pub(super) fn all(txn: &mut Txn<'_>) -> Result<Vec<(ObjectId, Self)>, DamagedRow> {
        let children = txn.list(Shelf::Groups.here(txn))?;
        let read = |child: &aumbry_barrier::Child| {
            let object = txn.peek_object(child.id, Kind::Group)?.ok_or(DamagedRow)?;
            Ok((child.id, decode(object.plain.expose())?))
        };
        children.iter().map(read).collect()
    }

    /// Enters a new one under its name.
    pub(super) fn enter(&self, txn: &mut Txn<'_>, id: ObjectId) -> Result<(), Error> {
        if txn.container(Shelf::Groups.here(txn))?.children >= GROUPS_MAX {
            return Err(Error::Invalid("there are 10,000 groups, which is the most"));
        }
        txn.insert(Shelf::Groups.here(txn), &self.name, Kind::Group, id)?;
        self.write(txn, id);
        Ok(())
    }

    /// Gives it another name, which no group may have.
    pub(super) fn rename(&mut self, txn: &mut Txn<'_>, id: ObjectId, name: &Name) -> Result<(), Error> {
        if self.name == name.as_str() {
            return Ok(());
        }
        if txn.lookup(Shelf::Groups.here(txn), name.as_str())?.is_some() {
            return Err(Error::Invalid("another group has this name"));
        }
        txn.remove(Shelf::Groups.here(txn), &self.name)?;
        txn.insert(Shelf::Groups.here(txn), name.as_str(), Kind::Group, id)?;
        name.as_str().clone_into(&mut self.name);
        Ok(())
    }

    /// Stores it whole.
    pub(super) fn write(&self, txn: &mut Txn<'_>, id: ObjectId) {
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::Group, plain.expose(), options_here(txn));
    }

    /// Removes it. Groups that it was in forget it.
    pub(super) fn delete(&self, txn: &mut Txn<'_>, id: ObjectId) -> Result<(), DamagedRow> {
        for (other, mut group) in Self::all(txn)? {
            if group.groups.contains(&id) {
                group.groups.retain(|member| *member != id);
                group.write(txn, other);
            }
        }
        txn.remove(Shelf::Groups.here(txn), &self.name)?;
        txn.delete_object(id);
        Ok(())
    }
}

fn decode(plain: &[u8]) -> Result<Group, DamagedRow> {
    record::decode(VERSION, plain).map_err(|_| DamagedRow)
}

const VERSION: u8 = 1;
/// All are read when one changes: so many take milliseconds.
const GROUPS_MAX: u64 = 10_000;
/// A row of 64 KiB.
pub(super) const MEMBERS_MAX: usize = 4_000;
