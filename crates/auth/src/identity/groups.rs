//! Requests about groups and their aliases.

use std::collections::BTreeSet;

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_logical::Body;
use aumbry_types::ObjectId;

use super::alias::check_name;
use super::aliases::owner_in;
use super::entity::{self, Entity};
use super::group::{Group, GroupAlias, MEMBERS_MAX};
use super::plan::name_in;
use super::request::{By, body_id, ids};
use super::who::Mounts;
use crate::answer::{Answer, Error, object};

pub(super) fn group(txn: &mut Txn<'_>, by: &By) -> Result<Option<(ObjectId, Group)>, DamagedRow> {
    match by {
        By::Id(id) => Ok(Group::read(txn, *id)?.map(|group| (*id, group))),
        By::Name(name) => Group::named(txn, name),
        By::Body => Ok(None),
    }
}

pub(super) fn write_group(txn: &mut Txn<'_>, by: &By, body: &Body) -> Result<Answer, Error> {
    let wanted = match by {
        By::Name(name) => Some(name.clone()),
        _ => name_in(body)?,
    };
    let found = match by {
        By::Body => match (body_id(body)?, &wanted) {
            (Some(id), _) => Some(group(txn, &By::Id(id))?.ok_or(Error::NotFound)?),
            (None, Some(name)) => Group::named(txn, name)?,
            (None, None) => None,
        },
        By::Id(_) => Some(group(txn, by)?.ok_or(Error::NotFound)?),
        By::Name(_) => group(txn, by)?,
    };
    let now = txn.now().0;
    let is_new = found.is_none();
    let (id, mut group) = found.unwrap_or_else(|| {
        let id = ObjectId::make(txn.entropy());
        let name = wanted.as_ref().map_or_else(
            || format!("group_{}", &id.to_string()[..16]),
            |name| name.as_str().to_owned(),
        );
        (
            id,
            Group {
                name,
                created: now,
                ..Group::default()
            },
        )
    });
    merge_group(txn, id, &mut group, body, is_new)?;
    group.updated = now;
    if is_new {
        group.enter(txn, id)?;
    } else {
        if let Some(name) = wanted {
            group.rename(txn, id, &name)?;
        }
        group.write(txn, id);
    }
    Ok(Answer::of(object([
        ("id", id.to_string().into()),
        ("name", group.name.as_str().into()),
    ])))
}

fn merge_group(txn: &mut Txn<'_>, id: ObjectId, group: &mut Group, body: &Body, is_new: bool) -> Result<(), Error> {
    if let Some(kind) = body.text("type")?.filter(|text| !text.is_empty()) {
        let is_external = match kind.as_str() {
            "internal" => false,
            "external" => true,
            _ => return Err(Error::Invalid("type is internal or external")),
        };
        if !is_new && is_external != group.is_external {
            return Err(Error::Invalid("the type of a group stays what it is"));
        }
        group.is_external = is_external;
    }
    if let Some(policies) = entity::policies(body)? {
        group.policies = policies;
    }
    if let Some(metadata) = entity::metadata(body, "metadata")? {
        group.metadata = metadata;
    }
    if body.get("member_entity_ids").is_some() {
        let members = ids(body, "member_entity_ids")?;
        if group.is_external && !members.is_empty() {
            return Err(Error::Invalid("who is in an external group is told by its auth method"));
        }
        for member in &members {
            if Entity::read(txn, *member)?.is_none_or(|entity| entity.merged_into.is_some()) {
                return Err(Error::Invalid("one of member_entity_ids is no entity"));
            }
        }
        group.entities = members;
    }
    if body.get("member_group_ids").is_some() {
        let members = ids(body, "member_group_ids")?;
        if group.is_external && !members.is_empty() {
            return Err(Error::Invalid("an external group has no groups in it"));
        }
        check_tree(txn, id, &members)?;
        group.groups = members;
    }
    if group.entities.len() + group.groups.len() > MEMBERS_MAX {
        return Err(Error::Invalid("a group has at most 4,000 members; put groups into it"));
    }
    Ok(())
}

/// Members must be groups, and must not contain this one in their turn.
fn check_tree(txn: &mut Txn<'_>, id: ObjectId, members: &[ObjectId]) -> Result<(), Error> {
    let mut next = members.to_vec();
    let mut seen = BTreeSet::new();
    while let Some(member) = next.pop() {
        if member == id {
            return Err(Error::Invalid("a group cannot contain itself, by itself or by others"));
        }
        if seen.insert(member) {
            let group = Group::read(txn, member)?.ok_or(Error::Invalid("one of member_group_ids is no group"))?;
            next.extend(group.groups);
        }
    }
    Ok(())
}

pub(super) fn with_alias(txn: &mut Txn<'_>, id: ObjectId) -> Result<Option<(ObjectId, Group)>, DamagedRow> {
    let has = |group: &Group| group.alias.as_ref().is_some_and(|alias| alias.id == id);
    Ok(Group::all(txn)?.into_iter().find(|(_, group)| has(group)))
}

pub(super) fn write_group_alias(
    txn: &mut Txn<'_>,
    mounts: Mounts<'_>,
    id: Option<ObjectId>,
    body: &Body,
) -> Result<Answer, Error> {
    let mount = mounts
        .by_accessor(&body.required_text("mount_accessor")?)
        .ok_or(Error::Invalid("mount_accessor is that of no auth method; see sys/auth"))?
        .id;
    let name = body.required_text("name")?;
    check_name(&name)?;
    let owner = match (owner_in(body)?, id) {
        (Some(owner), _) => owner,
        (None, Some(id)) => with_alias(txn, id)?.ok_or(Error::NotFound)?.0,
        (None, None) => {
            return Err(Error::Invalid(
                "canonical_id is required: the group that the alias belongs to",
            ));
        }
    };
    let mut group = Group::read(txn, owner)?.ok_or(Error::Invalid("canonical_id is no group"))?;
    if !group.is_external {
        return Err(Error::Invalid("only an external group has an alias"));
    }
    let is_taken = |(other, group): &(ObjectId, Group)| {
        let same = |alias: &GroupAlias| alias.mount == mount && alias.name == name;
        *other != owner && group.alias.as_ref().is_some_and(same)
    };
    if Group::all(txn)?.iter().any(is_taken) {
        return Err(Error::Invalid("another group has this alias"));
    }
    if let Some(id) = id
        && group.alias.as_ref().is_none_or(|alias| alias.id != id)
    {
        return Err(Error::Invalid("the alias belongs to another group"));
    }
    let now = txn.now().0;
    let kept = group.alias.take().map(|alias| (alias.id, alias.created));
    let (id, created) = kept.unwrap_or_else(|| (ObjectId::make(txn.entropy()), now));
    group.alias = Some(GroupAlias {
        id,
        mount,
        name,
        created,
    });
    group.updated = now;
    group.write(txn, owner);
    Ok(Answer::of(object([
        ("id", id.to_string().into()),
        ("canonical_id", owner.to_string().into()),
    ])))
}
