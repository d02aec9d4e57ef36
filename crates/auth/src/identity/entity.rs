//! Entities.

use std::collections::BTreeMap;

use aumbry_barrier::{DamagedRow, Kind, Txn, record};
use aumbry_logical::Body;
use aumbry_types::{Name, ObjectId};
use serde::{Deserialize, Serialize};

use super::alias::Alias;
use crate::Shelf;
use crate::answer::{Error, policy_names};
use crate::places::{found_here, options_here};
use crate::token::check_policies;

/// What is stored of an entity, under its id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entity {
    pub(super) name: String,
    pub(super) policies: Vec<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) is_disabled: bool,
    /// The aliases, by their ids. One that is not there went with its mount.
    pub(super) aliases: Vec<ObjectId>,
    /// In log time (ms).
    pub(super) created: u64,
    /// In log time (ms).
    pub(super) updated: u64,
    /// The entity that this one is now. Then it has nothing of its own.
    pub(super) merged_into: Option<ObjectId>,
    /// Those that were merged into this one.
    pub(super) merged: Vec<ObjectId>,
}

impl Entity {
    /// A new one, not stored yet. Without a name it is given one.
    pub(super) fn new(txn: &Txn<'_>, name: Option<&Name>) -> (ObjectId, Self) {
        let id = ObjectId::make(txn.entropy());
        let now = txn.now().0;
        let name = match name {
            Some(name) => name.as_str().to_owned(),
            None => format!("entity_{}", &id.to_string()[..GIVEN_DIGITS]),
        };
        let entity = Self {
            name,
            created: now,
            updated: now,
            ..Self::default()
        };
        (id, entity)
    }

    /// The entity with this id, as it stands: one that was merged is another now.
    pub(super) fn read(txn: &mut Txn<'_>, id: ObjectId) -> Result<Option<Self>, DamagedRow> {
        let object = txn.read_object(id, Kind::Entity)?;
        let object = found_here(txn, object);
        object.map(|object| decode(object.plain.expose())).transpose()
    }

    /// The same, without recording that it was read.
    pub(super) fn peek(txn: &Txn<'_>, id: ObjectId) -> Result<Option<Self>, DamagedRow> {
        let object = found_here(txn, txn.peek_object(id, Kind::Entity)?);
        object.map(|object| decode(object.plain.expose())).transpose()
    }

    /// The entity that has this id or that this id was merged into. Not recorded: every change of an entity bumps the namespace's generation.
    pub(super) fn find(txn: &Txn<'_>, id: ObjectId) -> Result<Option<(ObjectId, Self)>, DamagedRow> {
        let mut next = id;
        for _ in 0..MERGES_MAX {
            let Some(entity) = Self::peek(txn, next)? else {
                return Ok(None);
            };
            match entity.merged_into {
                Some(into) => next = into,
                None => return Ok(Some((next, entity))),
            }
        }
        Ok(None)
    }

    /// The entity with this name.
    pub(super) fn named(txn: &mut Txn<'_>, name: &Name) -> Result<Option<(ObjectId, Self)>, DamagedRow> {
        let Some(child) = txn.lookup(Shelf::Entities.here(txn), name.as_str())? else {
            return Ok(None);
        };
        let entity = Self::read(txn, child.id)?.ok_or(DamagedRow)?;
        Ok(Some((child.id, entity)))
    }

    /// Enters a new one under its name.
    pub(super) fn enter(&self, txn: &mut Txn<'_>, id: ObjectId) -> Result<(), Error> {
        txn.insert(Shelf::Entities.here(txn), &self.name, Kind::Entity, id)?;
        self.write(txn, id);
        Ok(())
    }

    /// Gives it another name, which nobody may have.
    pub(super) fn rename(&mut self, txn: &mut Txn<'_>, id: ObjectId, name: &Name) -> Result<(), Error> {
        if self.name == name.as_str() {
            return Ok(());
        }
        if txn.lookup(Shelf::Entities.here(txn), name.as_str())?.is_some() {
            return Err(Error::Invalid("another entity has this name"));
        }
        txn.remove(Shelf::Entities.here(txn), &self.name)?;
        txn.insert(Shelf::Entities.here(txn), name.as_str(), Kind::Entity, id)?;
        name.as_str().clone_into(&mut self.name);
        Ok(())
    }

    /// Stores it whole.
    pub(super) fn write(&self, txn: &mut Txn<'_>, id: ObjectId) {
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::Entity, plain.expose(), options_here(txn));
    }

    /// Takes over what a body says.
    pub(super) fn merge(&mut self, txn: &Txn<'_>, body: &Body) -> Result<(), Error> {
        if let Some(policies) = policies(body)? {
            self.policies = policies;
        }
        if let Some(metadata) = metadata(body, "metadata")? {
            self.metadata = metadata;
        }
        self.is_disabled = body.flag("disabled")?.unwrap_or(self.is_disabled);
        self.updated = txn.now().0;
        Ok(())
    }

    /// Removes it with its aliases. Its tokens are good for nothing from then on.
    pub(super) fn delete(&self, txn: &mut Txn<'_>, id: ObjectId) -> Result<(), DamagedRow> {
        for alias in &self.aliases {
            if let Some(found) = Alias::read(txn, *alias)? {
                found.remove(txn, *alias)?;
            }
        }
        for merged in &self.merged {
            txn.delete_object(*merged);
        }
        txn.remove(Shelf::Entities.here(txn), &self.name)?;
        txn.delete_object(id);
        Ok(())
    }
}

/// Removes one whose namespace is gone, with those that were merged into it. Its aliases go by their own names.
pub(crate) fn remove(txn: &mut Txn<'_>, id: ObjectId) -> Result<(), DamagedRow> {
    let object = txn.read_object(id, Kind::Entity);
    // Damaged or not, it goes.
    txn.delete_object(id);
    let Some(object) = object? else { return Ok(()) };
    for merged in decode(object.plain.expose())?.merged {
        txn.delete_object(merged);
    }
    Ok(())
}

fn decode(plain: &[u8]) -> Result<Entity, DamagedRow> {
    record::decode(VERSION, plain).map_err(|_| DamagedRow)
}

/// Policies that an entity or a group is given.
pub(super) fn policies(body: &Body) -> Result<Option<Vec<String>>, Error> {
    let Some(mut policies) = policy_names(body, "policies")? else {
        return Ok(None);
    };
    check_policies(&policies).map_err(Error::Invalid)?;
    if policies.iter().any(|policy| policy == "root") {
        return Err(Error::Invalid("no entity and no group has the policy `root`"));
    }
    policies.sort_unstable();
    policies.dedup();
    Ok(Some(policies))
}

/// Pairs for people and for templates.
pub(super) fn metadata(body: &Body, field: &'static str) -> Result<Option<BTreeMap<String, String>>, Error> {
    let Some(pairs) = body.pairs(field)? else {
        return Ok(None);
    };
    let is_long = |(key, value): (&String, &String)| key.is_empty() || key.len() > 128 || value.len() > 512;
    if pairs.len() > PAIRS_MAX || pairs.iter().any(is_long) {
        return Err(Error::Invalid(
            "metadata has at most 64 pairs, keys of 1 to 128 bytes, values of at most 512",
        ));
    }
    Ok(Some(pairs))
}

const VERSION: u8 = 1;
/// Enough that names that are given do not meet, and few enough to be read.
const GIVEN_DIGITS: usize = 16;
/// As Vault has it.
const PAIRS_MAX: usize = 64;
/// Each merge of a merged entity costs a row to read.
const MERGES_MAX: usize = 16;
