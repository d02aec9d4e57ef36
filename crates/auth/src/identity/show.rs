//! What is told of entities, aliases and groups.

use std::collections::{BTreeMap, BTreeSet};

use aumbry_barrier::Txn;
use aumbry_logical::Object;
use aumbry_types::ObjectId;
use serde_json::{Value, json};

use super::alias::Alias;
use super::entity::Entity;
use super::group::{Group, GroupAlias};
use super::who::Mounts;
use crate::answer::{Error, object, texts, timestamp};

pub(super) fn entity(txn: &mut Txn<'_>, mounts: Mounts<'_>, id: ObjectId, entity: &Entity) -> Result<Object, Error> {
    let mut aliases = Vec::new();
    for alias_id in &entity.aliases {
        if let Some(found) = Alias::read(txn, *alias_id)? {
            aliases.push(Value::Object(alias(mounts, *alias_id, &found)));
        }
    }
    let mut direct = Vec::new();
    let mut all = BTreeSet::new();
    let groups = Group::all(txn)?;
    for (group_id, group) in &groups {
        if group.entities.contains(&id) {
            direct.push(group_id.to_string());
            all.insert(*group_id);
        }
    }
    let mut next: Vec<ObjectId> = all.iter().copied().collect();
    while let Some(member) = next.pop() {
        for (group_id, group) in &groups {
            if group.groups.contains(&member) && all.insert(*group_id) {
                next.push(*group_id);
            }
        }
    }
    let inherited: Vec<String> = all
        .iter()
        .map(ToString::to_string)
        .filter(|id| !direct.contains(id))
        .collect();
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    let merged = match entity.merged.is_empty() {
        true => Value::Null,
        false => texts(&entity.merged),
    };
    Ok(object([
        ("id", id.to_string().into()),
        ("name", entity.name.as_str().into()),
        ("policies", texts(&entity.policies)),
        ("metadata", pairs(&entity.metadata)),
        ("disabled", entity.is_disabled.into()),
        ("aliases", Value::Array(aliases)),
        ("direct_group_ids", json!(direct)),
        ("group_ids", json!(all)),
        ("inherited_group_ids", json!(inherited)),
        ("creation_time", timestamp(entity.created).into()),
        ("last_update_time", timestamp(entity.updated).into()),
        ("merged_entity_ids", merged),
        ("namespace_id", "root".into()),
    ]))
}

pub(super) fn alias(mounts: Mounts<'_>, id: ObjectId, alias: &Alias) -> Object {
    let mut shown = object([
        ("id", id.to_string().into()),
        ("canonical_id", alias.entity.to_string().into()),
        ("name", alias.name.as_str().into()),
        ("custom_metadata", pairs(&alias.custom_metadata)),
        ("metadata", Value::Null),
        ("creation_time", timestamp(alias.created).into()),
        ("last_update_time", timestamp(alias.updated).into()),
        ("local", false.into()),
        ("namespace_id", "root".into()),
    ]);
    shown.extend(mount(mounts, alias.mount));
    shown
}

pub(super) fn group(txn: &mut Txn<'_>, mounts: Mounts<'_>, id: ObjectId, group: &Group) -> Result<Object, Error> {
    let parents: Vec<String> = Group::all(txn)?
        .iter()
        .filter(|(_, other)| other.groups.contains(&id))
        .map(|(other, _)| other.to_string())
        .collect();
    let alias = group.alias.as_ref().map(|alias| group_alias(mounts, id, alias));
    Ok(object([
        ("id", id.to_string().into()),
        ("name", group.name.as_str().into()),
        ("type", if group.is_external { "external" } else { "internal" }.into()),
        ("policies", texts(&group.policies)),
        ("metadata", pairs(&group.metadata)),
        ("member_entity_ids", texts(&group.entities)),
        ("member_group_ids", texts(&group.groups)),
        ("parent_group_ids", json!(parents)),
        ("alias", Value::Object(alias.unwrap_or_default())),
        ("creation_time", timestamp(group.created).into()),
        ("last_update_time", timestamp(group.updated).into()),
        ("namespace_id", "root".into()),
    ]))
}

pub(super) fn group_alias(mounts: Mounts<'_>, owner: ObjectId, alias: &GroupAlias) -> Object {
    let mut shown = object([
        ("id", alias.id.to_string().into()),
        ("canonical_id", owner.to_string().into()),
        ("name", alias.name.as_str().into()),
        ("creation_time", timestamp(alias.created).into()),
        ("namespace_id", "root".into()),
    ]);
    shown.extend(mount(mounts, alias.mount));
    shown
}

fn mount(mounts: Mounts<'_>, id: ObjectId) -> Object {
    let mount = mounts.by_id(id);
    object([
        ("mount_accessor", mount.map_or("", |mount| &mount.accessor).into()),
        (
            "mount_path",
            mount
                .map_or_else(String::new, |mount| format!("auth/{}/", mount.path))
                .into(),
        ),
        ("mount_type", mount.map_or("", |mount| &mount.kind).into()),
    ])
}

fn pairs(metadata: &BTreeMap<String, String>) -> Value {
    match metadata.is_empty() {
        true => Value::Null,
        false => json!(metadata),
    }
}
