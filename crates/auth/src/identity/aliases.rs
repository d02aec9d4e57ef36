//! Requests about aliases.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_logical::Body;
use aumbry_types::ObjectId;

use super::alias::{Alias, check_name};
use super::entity::{self, Entity};
use super::request::{body_id, parse_id};
use super::who::Mounts;
use crate::answer::{Answer, Error, object};

/// The entity that an alias is to belong to.
pub(super) fn owner_in(body: &Body) -> Result<Option<ObjectId>, Error> {
    for field in ["canonical_id", "entity_id"] {
        if let Some(text) = body.text(field)?.filter(|text| !text.is_empty()) {
            return parse_id(&text).map(Some);
        }
    }
    Ok(None)
}

pub(super) fn write_alias(
    txn: &mut Txn<'_>,
    mounts: Mounts<'_>,
    id: Option<ObjectId>,
    body: &Body,
) -> Result<Answer, Error> {
    let owner = owner_in(body)?;
    let custom = entity::metadata(body, "custom_metadata")?;
    let name = body.text("name")?.filter(|text| !text.is_empty());
    let accessor = body.text("mount_accessor")?.filter(|text| !text.is_empty());
    let mount = match &accessor {
        Some(accessor) => {
            let mount = mounts.by_accessor(accessor);
            Some(
                mount
                    .ok_or(Error::Invalid("mount_accessor is that of no auth method; see sys/auth"))?
                    .id,
            )
        }
        None => None,
    };
    let existing = match (id, mount, &name) {
        (Some(id), _, _) => Some((id, Alias::read(txn, id)?.ok_or(Error::NotFound)?)),
        (None, Some(mount), Some(name)) => Alias::find(txn, mount, name)?,
        _ => return Err(Error::Invalid("name, canonical_id and mount_accessor are required")),
    };
    let (id, owner) = match existing {
        Some((id, mut alias)) => {
            let moved = owner.filter(|owner| *owner != alias.entity);
            if moved.is_some() && !is_named(body)? {
                // Not unasked: somebody else would get what its logins are good for.
                return Err(Error::Invalid(
                    "the alias belongs to another entity; name its id to move it, or merge the entities",
                ));
            }
            if mount.is_some_and(|mount| mount != alias.mount) || name.is_some_and(|name| name != alias.name) {
                return Err(Error::Invalid(
                    "an alias keeps its name and its mount; make another one",
                ));
            }
            if let Some(owner) = moved {
                give_to(txn, owner, id, alias.mount)?;
                take_from(txn, alias.entity, id)?;
                alias.entity = owner;
            }
            alias.custom_metadata = custom.unwrap_or(alias.custom_metadata);
            alias.updated = txn.now().0;
            alias.write(txn, id);
            (id, alias.entity)
        }
        None => {
            let (Some(mount), Some(name)) = (mount, name) else {
                return Err(Error::NotFound);
            };
            check_name(&name)?;
            let owner = owner.ok_or(Error::Invalid(
                "canonical_id is required: the entity that the alias belongs to",
            ))?;
            let mut alias = Alias::new(txn, owner, mount, &name);
            alias.custom_metadata = custom.unwrap_or_default();
            let id = alias.enter(txn)?;
            give_to(txn, owner, id, mount)?;
            (id, owner)
        }
    };
    Ok(Answer::of(object([
        ("id", id.to_string().into()),
        ("canonical_id", owner.to_string().into()),
    ])))
}

/// Whether the body names the alias by its id.
fn is_named(body: &Body) -> Result<bool, Error> {
    Ok(body_id(body)?.is_some() || body.get("name").is_none())
}

fn give_to(txn: &mut Txn<'_>, owner: ObjectId, alias: ObjectId, mount: ObjectId) -> Result<(), Error> {
    let mut entity = Entity::read(txn, owner)?
        .filter(|entity| entity.merged_into.is_none())
        .ok_or(Error::Invalid("canonical_id is no entity"))?;
    for other in &entity.aliases {
        if Alias::read(txn, *other)?.is_some_and(|other| other.mount == mount) {
            return Err(Error::Invalid("the entity has an alias on this mount already"));
        }
    }
    entity.aliases.push(alias);
    entity.updated = txn.now().0;
    entity.write(txn, owner);
    Ok(())
}

pub(super) fn take_from(txn: &mut Txn<'_>, owner: ObjectId, alias: ObjectId) -> Result<(), DamagedRow> {
    if let Some(mut entity) = Entity::read(txn, owner)? {
        entity.aliases.retain(|other| *other != alias);
        entity.updated = txn.now().0;
        entity.write(txn, owner);
    }
    Ok(())
}
