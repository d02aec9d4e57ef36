//! Plans a request: reads the state, checks, and writes what follows. Every change bumps the namespace's generation, which is the caller's to do.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_logical::Body;
use aumbry_types::ObjectId;
use serde_json::Value;

use super::alias::Alias;
use super::aliases::{owner_in, take_from, write_alias};
use super::entity::Entity;
use super::group::{Group, GroupAlias};
use super::groups::{group, with_alias, write_group, write_group_alias};
use super::request::{By, Page, Request, body_id, parse_id};
use super::who::Mounts;
use super::{merge, show};
use crate::answer::{Answer, Error, object, parse_name};
use crate::{Shelf, listing};

/// Plans a request.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan(txn: &mut Txn<'_>, mounts: Mounts<'_>, request: &Request) -> Result<Answer, Error> {
    let answer = answer(txn, mounts, request)?;
    Ok(answer.of_namespace(txn.namespace()))
}

fn answer(txn: &mut Txn<'_>, mounts: Mounts<'_>, request: &Request) -> Result<Answer, Error> {
    match request {
        Request::WriteEntity(by, body) => write_entity(txn, by, body),
        Request::ReadEntity(by) => {
            let (id, entity) = entity(txn, by)?.ok_or(Error::NotFound)?;
            show::entity(txn, mounts, id, &entity).map(Answer::of)
        }
        Request::DeleteEntity(by) => {
            if let Some((id, entity)) = entity(txn, by)? {
                delete_entities(txn, &[(id, entity)])?;
            }
            Ok(Answer::done())
        }
        Request::DeleteEntities(wanted) => {
            let mut found = Vec::new();
            for id in wanted {
                found.extend(entity(txn, &By::Id(*id))?);
            }
            delete_entities(txn, &found)?;
            Ok(Answer::done())
        }
        Request::ListEntities(page) => list(txn, Shelf::Entities.here(txn), page),
        Request::MergeEntities { from, to, is_forced } => {
            merge::merge(txn, from, *to, *is_forced)?;
            Ok(Answer::done())
        }
        Request::WriteAlias(id, body) => write_alias(txn, mounts, *id, body),
        Request::ReadAlias(id) => {
            let alias = Alias::read(txn, *id)?.ok_or(Error::NotFound)?;
            Ok(Answer::of(show::alias(mounts, *id, &alias)))
        }
        Request::DeleteAlias(id) => {
            if let Some(alias) = Alias::read(txn, *id)? {
                take_from(txn, alias.entity, *id)?;
                alias.remove(txn, *id)?;
            }
            Ok(Answer::done())
        }
        Request::ListAliases(page) => list(txn, Shelf::Aliases.here(txn), page),
        Request::WriteGroup(by, body) => write_group(txn, by, body),
        Request::ReadGroup(by) => {
            let (id, group) = group(txn, by)?.ok_or(Error::NotFound)?;
            show::group(txn, mounts, id, &group).map(Answer::of)
        }
        Request::DeleteGroup(by) => {
            if let Some((id, group)) = group(txn, by)? {
                group.delete(txn, id)?;
            }
            Ok(Answer::done())
        }
        Request::ListGroups(page) => list(txn, Shelf::Groups.here(txn), page),
        Request::WriteGroupAlias(id, body) => write_group_alias(txn, mounts, *id, body),
        Request::ReadGroupAlias(id) => {
            let (owner, group) = with_alias(txn, *id)?.ok_or(Error::NotFound)?;
            let alias = group.alias.as_ref().ok_or(Error::NotFound)?;
            Ok(Answer::of(show::group_alias(mounts, owner, alias)))
        }
        Request::DeleteGroupAlias(id) => {
            if let Some((owner, mut group)) = with_alias(txn, *id)? {
                group.alias = None;
                group.write(txn, owner);
            }
            Ok(Answer::done())
        }
        Request::ListGroupAliases(page) => {
            let mut names: Vec<String> = Group::all(txn)?
                .into_iter()
                .filter_map(|(_, group)| group.alias.map(|alias| alias.id.to_string()))
                .collect();
            names.sort_unstable();
            Answer::names(paged(names, page))
        }
        Request::LookupEntity(body) => match lookup_entity(txn, mounts, body)? {
            Some((id, entity)) => show::entity(txn, mounts, id, &entity).map(Answer::of),
            // As in Vault: nobody is no error.
            None => Ok(Answer::done()),
        },
        Request::LookupGroup(body) => match lookup_group(txn, mounts, body)? {
            Some((id, group)) => show::group(txn, mounts, id, &group).map(Answer::of),
            None => Ok(Answer::done()),
        },
    }
}

/// Whether what a request is about is there: a write where nothing is needs `create` instead of `update`.
///
/// # Errors
/// [`Error`]
pub fn exists(txn: &mut Txn<'_>, request: &Request) -> Result<bool, Error> {
    Ok(match request {
        Request::WriteEntity(by @ By::Name(_), _) => entity(txn, by)?.is_some(),
        Request::WriteGroup(by @ By::Name(_), _) => group(txn, by)?.is_some(),
        _ => true,
    })
}

/// The paths, beside its own, that whoever makes a request must be allowed to write: those of the entities and groups that it changes or gives away, however it
/// names them.
///
/// # Errors
/// [`Error`]
pub fn touched(txn: &mut Txn<'_>, request: &Request) -> Result<Vec<String>, Error> {
    let entities = |ids: Vec<ObjectId>| ids.into_iter().map(|id| format!("identity/entity/id/{id}")).collect();
    let groups = |id: Option<ObjectId>| id.into_iter().map(|id| format!("identity/group/id/{id}")).collect();
    Ok(match request {
        Request::MergeEntities { from, to, .. } => entities(from.iter().copied().chain([*to]).collect()),
        Request::DeleteEntities(ids) => entities(ids.clone()),
        Request::WriteAlias(id, body) => {
            let mut touched: Vec<ObjectId> = owner_in(body)?.into_iter().collect();
            let named = id.map_or_else(|| body_id(body), |id| Ok(Some(id)))?;
            if let Some(id) = named {
                touched.extend(Alias::read(txn, id)?.map(|alias| alias.entity));
            }
            entities(touched)
        }
        Request::DeleteAlias(id) => entities(Alias::read(txn, *id)?.map(|alias| alias.entity).into_iter().collect()),
        Request::WriteEntity(By::Body, body) => entities(in_body(txn, body)?.map(|(id, _)| id).into_iter().collect()),
        Request::WriteEntity(by @ By::Name(_), _) | Request::DeleteEntity(by @ By::Name(_)) => {
            entities(entity(txn, by)?.map(|(id, _)| id).into_iter().collect())
        }
        Request::WriteGroup(By::Body, body) => groups(match (body_id(body)?, name_in(body)?) {
            (Some(id), _) => Some(id),
            (None, Some(name)) => Group::named(txn, &name)?.map(|(id, _)| id),
            (None, None) => None,
        }),
        Request::WriteGroup(by @ By::Name(_), _) | Request::DeleteGroup(by @ By::Name(_)) => {
            groups(group(txn, by)?.map(|(id, _)| id))
        }
        Request::WriteGroupAlias(id, body) => {
            let owner = match (owner_in(body)?, id) {
                (None, Some(id)) => with_alias(txn, *id)?.map(|(owner, _)| owner),
                (owner, _) => owner,
            };
            groups(owner)
        }
        Request::DeleteGroupAlias(id) => groups(with_alias(txn, *id)?.map(|(owner, _)| owner)),
        _ => Vec::new(),
    })
}

fn entity(txn: &mut Txn<'_>, by: &By) -> Result<Option<(ObjectId, Entity)>, DamagedRow> {
    match by {
        By::Id(id) => {
            let found = Entity::read(txn, *id)?.filter(|entity| entity.merged_into.is_none());
            Ok(found.map(|entity| (*id, entity)))
        }
        By::Name(name) => Entity::named(txn, name),
        By::Body => Ok(None),
    }
}

/// The entity that a body names by its id or its name.
fn in_body(txn: &mut Txn<'_>, body: &Body) -> Result<Option<(ObjectId, Entity)>, Error> {
    if let Some(id) = body_id(body)? {
        return Ok(Some(entity(txn, &By::Id(id))?.ok_or(Error::NotFound)?));
    }
    match name_in(body)? {
        Some(name) => Ok(Entity::named(txn, &name)?),
        None => Ok(None),
    }
}

pub(super) fn name_in(body: &Body) -> Result<Option<aumbry_types::Name>, Error> {
    let text = body.text("name")?.filter(|text| !text.is_empty());
    text.map(|text| parse_name(&text.to_ascii_lowercase())).transpose()
}

fn write_entity(txn: &mut Txn<'_>, by: &By, body: &Body) -> Result<Answer, Error> {
    let found = match by {
        By::Body => in_body(txn, body)?,
        By::Id(_) => Some(entity(txn, by)?.ok_or(Error::NotFound)?),
        By::Name(_) => entity(txn, by)?,
    };
    let wanted = match by {
        By::Name(name) => Some(name.clone()),
        _ => name_in(body)?,
    };
    let id = match found {
        Some((id, mut entity)) => {
            if let Some(name) = wanted {
                entity.rename(txn, id, &name)?;
            }
            entity.merge(txn, body)?;
            entity.write(txn, id);
            id
        }
        None => {
            let (id, mut entity) = Entity::new(txn, wanted.as_ref());
            entity.merge(txn, body)?;
            entity.enter(txn, id)?;
            id
        }
    };
    Ok(Answer::of(object([
        ("id", id.to_string().into()),
        ("aliases", Value::Null),
    ])))
}

fn delete_entities(txn: &mut Txn<'_>, entities: &[(ObjectId, Entity)]) -> Result<(), Error> {
    let is_gone = |id: &ObjectId| entities.iter().any(|(gone, _)| gone == id);
    for (id, mut group) in Group::all(txn)? {
        if group.entities.iter().any(is_gone) {
            group.entities.retain(|member| !is_gone(member));
            group.write(txn, id);
        }
    }
    for (id, entity) in entities {
        entity.delete(txn, *id)?;
    }
    Ok(())
}

fn lookup_entity(txn: &mut Txn<'_>, mounts: Mounts<'_>, body: &Body) -> Result<Option<(ObjectId, Entity)>, Error> {
    if let Some(id) = body_id(body)? {
        return Ok(Entity::find(txn, id)?);
    }
    if let Some(name) = name_in(body)? {
        return Ok(Entity::named(txn, &name)?);
    }
    if let Some(text) = body.text("alias_id")?.filter(|text| !text.is_empty()) {
        return match Alias::read(txn, parse_id(&text)?)? {
            Some(alias) => Ok(Entity::find(txn, alias.entity)?),
            None => Ok(None),
        };
    }
    match alias_in(mounts, body)? {
        Some((mount, name)) => match Alias::find(txn, mount, &name)? {
            Some((_, alias)) => Ok(Entity::find(txn, alias.entity)?),
            None => Ok(None),
        },
        None => Err(Error::Invalid(LOOKUP)),
    }
}

fn lookup_group(txn: &mut Txn<'_>, mounts: Mounts<'_>, body: &Body) -> Result<Option<(ObjectId, Group)>, Error> {
    if let Some(id) = body_id(body)? {
        return Ok(group(txn, &By::Id(id))?);
    }
    if let Some(name) = name_in(body)? {
        return Ok(Group::named(txn, &name)?);
    }
    if let Some(text) = body.text("alias_id")?.filter(|text| !text.is_empty()) {
        return Ok(with_alias(txn, parse_id(&text)?)?);
    }
    let (mount, name) = alias_in(mounts, body)?.ok_or(Error::Invalid(LOOKUP))?;
    let has = |group: &Group| {
        let same = |alias: &GroupAlias| alias.mount == mount && alias.name == name;
        group.alias.as_ref().is_some_and(same)
    };
    Ok(Group::all(txn)?.into_iter().find(|(_, group)| has(group)))
}

fn alias_in(mounts: Mounts<'_>, body: &Body) -> Result<Option<(ObjectId, String)>, Error> {
    let Some(name) = body.text("alias_name")?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let accessor = body.required_text("alias_mount_accessor")?;
    Ok(mounts.by_accessor(&accessor).map(|mount| (mount.id, name)))
}

fn list(txn: &mut Txn<'_>, container: ObjectId, page: &Page) -> Result<Answer, Error> {
    if page.by_name || container == Shelf::Aliases.here(txn) {
        return Answer::names(listing::names(txn, container, &page.after, page.limit)?);
    }
    let mut ids: Vec<String> = txn.list(container)?.iter().map(|child| child.id.to_string()).collect();
    ids.sort_unstable();
    Answer::names(paged(ids, page))
}

/// A page of names that are in order.
fn paged(names: Vec<String>, page: &Page) -> (Vec<String>, bool) {
    let limit = if page.limit == 0 {
        listing::PAGE_MAX
    } else {
        page.limit.min(listing::PAGE_MAX)
    };
    let after = names.partition_point(|name| *name <= page.after);
    let more = names.len() - after > limit;
    (names.into_iter().skip(after).take(limit).collect(), more)
}

const LOOKUP: &str = "name one of id, name, alias_id, or alias_name with alias_mount_accessor";
