//! Aliases: as whom a mount of an auth method knows an entity.

use std::collections::BTreeMap;

use aumbry_barrier::{DamagedRow, Kind, Txn, record};
use aumbry_types::ObjectId;
use serde::{Deserialize, Serialize};

use crate::answer::Error;
use crate::places::{found_here, options_here};
use crate::{Place, Shelf};

/// What is stored of an alias, under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alias {
    pub(super) entity: ObjectId,
    pub(super) mount: ObjectId,
    pub(super) name: String,
    /// What operators noted.
    pub(super) custom_metadata: BTreeMap<String, String>,
    /// In log time (ms).
    pub(super) created: u64,
    /// In log time (ms).
    pub(super) updated: u64,
}

impl Alias {
    /// A new one, not stored yet.
    pub(super) fn new(txn: &Txn<'_>, entity: ObjectId, mount: ObjectId, name: &str) -> Self {
        let now = txn.now().0;
        Self {
            entity,
            mount,
            name: name.to_owned(),
            custom_metadata: BTreeMap::new(),
            created: now,
            updated: now,
        }
    }

    /// The alias with this id.
    pub(super) fn read(txn: &mut Txn<'_>, id: ObjectId) -> Result<Option<Self>, DamagedRow> {
        let object = txn.read_object(id, Kind::Alias)?;
        let object = found_here(txn, object);
        object.map(|object| decode(object.plain.expose())).transpose()
    }

    /// The same, without recording that it was read.
    pub(super) fn peek(txn: &Txn<'_>, id: ObjectId) -> Result<Option<Self>, DamagedRow> {
        let object = found_here(txn, txn.peek_object(id, Kind::Alias)?);
        object.map(|object| decode(object.plain.expose())).transpose()
    }

    /// The alias of this name on a mount.
    pub(super) fn find(txn: &mut Txn<'_>, mount: ObjectId, name: &str) -> Result<Option<(ObjectId, Self)>, DamagedRow> {
        let Some(child) = txn.lookup(Place::Aliases.of(mount), name)? else {
            return Ok(None);
        };
        let alias = Self::read(txn, child.id)?.ok_or(DamagedRow)?;
        Ok(Some((child.id, alias)))
    }

    /// Enters a new one. Gives its id, which stands in its entity.
    pub(super) fn enter(&self, txn: &mut Txn<'_>) -> Result<ObjectId, Error> {
        let id = ObjectId::make(txn.entropy());
        txn.insert(Place::Aliases.of(self.mount), &self.name, Kind::Alias, id)?;
        txn.insert(Shelf::Aliases.here(txn), &id.to_string(), Kind::Alias, id)?;
        self.write(txn, id);
        Ok(id)
    }

    /// Stores it whole.
    pub(super) fn write(&self, txn: &mut Txn<'_>, id: ObjectId) {
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::Alias, plain.expose(), options_here(txn));
    }

    /// Removes it. Its entity's list is the caller's.
    pub(super) fn remove(&self, txn: &mut Txn<'_>, id: ObjectId) -> Result<(), DamagedRow> {
        txn.remove(Place::Aliases.of(self.mount), &self.name)?;
        txn.remove(Shelf::Aliases.here(txn), &id.to_string())?;
        txn.delete_object(id);
        Ok(())
    }
}

fn decode(plain: &[u8]) -> Result<Alias, DamagedRow> {
    record::decode(VERSION, plain).map_err(|_| DamagedRow)
}

/// What can be the name of an alias: what auth methods give, as it is.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Error::Invalid(
            "the name of an alias has 1 to 512 bytes and no control characters",
        ));
    }
    Ok(())
}

const VERSION: u8 = 1;
/// Subjects of tokens that others issue are long.
const NAME_BYTES_MAX: usize = 512;
