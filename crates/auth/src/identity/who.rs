//! From a token to its entity and groups, and the policies that come with them.

use std::collections::{BTreeMap, BTreeSet};

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_policy::identity::{self, Identity};
use aumbry_types::ObjectId;

use super::alias::Alias;
use super::entity::Entity;
use super::group::Group;
use crate::token;

/// A mount of an auth method, as aliases speak of it.
#[derive(Debug, Clone)]
pub struct NamedMount {
    /// Its own id.
    pub id: ObjectId,
    /// Its accessor.
    pub accessor: String,
    /// Where it is, without `auth/`.
    pub path: String,
    /// Its type.
    pub kind: String,
}

/// The mounts of auth methods.
#[derive(Debug, Clone, Copy)]
pub struct Mounts<'a>(pub &'a [NamedMount]);

impl Mounts<'_> {
    pub(super) fn by_id(&self, id: ObjectId) -> Option<&NamedMount> {
        self.0.iter().find(|mount| mount.id == id)
    }

    pub(super) fn by_accessor(&self, accessor: &str) -> Option<&NamedMount> {
        self.0.iter().find(|mount| mount.accessor == accessor)
    }
}

/// Whose a token is.
pub struct Who {
    /// For templates in policies.
    pub identity: Identity,
    /// The policies of the entity and of its groups, sorted.
    pub policies: Vec<String>,
}

/// Why nobody is behind a token that names an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhoError {
    /// The entity is disabled or was deleted.
    #[error("the entity of the token is disabled, or deleted")]
    Gone,
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

/// All groups, arranged to find those of an entity.
#[derive(Default)]
pub struct Groups {
    groups: BTreeMap<ObjectId, Group>,
    by_entity: BTreeMap<ObjectId, Vec<ObjectId>>,
    /// The groups that a group is in.
    parents: BTreeMap<ObjectId, Vec<ObjectId>>,
    by_alias: BTreeMap<(ObjectId, String), ObjectId>,
}

impl Groups {
    /// Reads them. What is read stands as long as the namespace's generation.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn read(txn: &mut Txn<'_>) -> Result<Self, DamagedRow> {
        let mut all = Self::default();
        for (id, group) in Group::all(txn)? {
            for entity in &group.entities {
                all.by_entity.entry(*entity).or_default().push(id);
            }
            for member in &group.groups {
                all.parents.entry(*member).or_default().push(id);
            }
            if let Some(alias) = &group.alias {
                all.by_alias.insert((alias.mount, alias.name.clone()), id);
            }
            all.groups.insert(id, group);
        }
        Ok(all)
    }

    /// The policies that an entity has by its groups.
    #[must_use]
    pub fn policies(&self, entity: ObjectId, login: Option<&token::Alias>) -> Vec<String> {
        let groups = self.of(entity, login);
        let groups = groups.iter().filter_map(|id| self.groups.get(id));
        let policies: BTreeSet<&String> = groups.flat_map(|group| &group.policies).collect();
        policies.into_iter().cloned().collect()
    }

    /// The ids of those that an entity is in.
    #[must_use]
    pub fn ids(&self, entity: ObjectId, login: &token::Alias) -> BTreeSet<ObjectId> {
        self.of(entity, Some(login))
    }

    /// Those that an entity is in, by itself, by what its auth method told, and by other groups.
    fn of(&self, entity: ObjectId, alias: Option<&token::Alias>) -> BTreeSet<ObjectId> {
        let mut next: Vec<ObjectId> = self.by_entity.get(&entity).into_iter().flatten().copied().collect();
        if let Some(alias) = alias {
            let told = alias.groups.iter().map(|name| (alias.mount, name.clone()));
            next.extend(told.filter_map(|key| self.by_alias.get(&key)));
        }
        let mut found = BTreeSet::new();
        while let Some(id) = next.pop() {
            // One that contains itself by others was found before.
            if found.insert(id) {
                next.extend(self.parents.get(&id).into_iter().flatten());
            }
        }
        found
    }
}

/// Finds out who is behind a token with this entity and login. Nothing that was read is fenced: all of it stands as long as the namespace's generation.
///
/// # Errors
/// [`WhoError`]
pub fn who(
    txn: &mut Txn<'_>,
    groups: &Groups,
    mounts: Mounts<'_>,
    entity: ObjectId,
    login: Option<&token::Alias>,
) -> Result<Who, WhoError> {
    let (id, standing) = Entity::find(txn, entity)?.ok_or(WhoError::Gone)?;
    if standing.is_disabled {
        return Err(WhoError::Gone);
    }
    let mut policies = standing.policies.clone();
    policies.extend(groups.policies(id, login));
    let mut named = Vec::new();
    for id in groups.of(id, login) {
        let Some(group) = groups.groups.get(&id) else { continue };
        named.push(identity::Group {
            id: id.to_string(),
            name: group.name.clone(),
            metadata: group.metadata.clone(),
        });
    }
    policies.sort_unstable();
    policies.dedup();
    let mut aliases = Vec::new();
    let mut used = None;
    for alias_id in &standing.aliases {
        let Some(alias) = Alias::peek(txn, *alias_id)? else {
            continue;
        };
        let Some(mount) = mounts.by_id(alias.mount) else {
            continue;
        };
        let of_login = login.filter(|login| login.mount == alias.mount && login.name == alias.name);
        if of_login.is_some() {
            used = Some((mount.accessor.clone(), alias_id.to_string()));
        }
        let told = identity::Alias {
            id: alias_id.to_string(),
            name: alias.name,
            // What another login was told is not this one's.
            metadata: of_login.map(|login| login.metadata.clone()).unwrap_or_default(),
            custom_metadata: alias.custom_metadata,
        };
        aliases.push((mount.accessor.clone(), told));
    }
    let used = used.as_ref().map(|(accessor, id)| (accessor.as_str(), id.as_str()));
    Ok(Who {
        identity: Identity {
            entity: Some(identity::Entity {
                id: id.to_string(),
                name: standing.name,
                metadata: standing.metadata,
                aliases: identity::of_login(aliases, used),
            }),
            groups: named,
        },
        policies,
    })
}
