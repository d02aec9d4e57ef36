//! Who asks, as far as templates in patterns can speak of it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The identity of a caller. Nobody in particular by default: then no template has a value.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Who it is.
    #[serde(default)]
    pub entity: Option<Entity>,
    /// The groups that the entity is in, by whatever way.
    #[serde(default)]
    pub groups: Vec<Group>,
}

/// A person or a program.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Entity {
    /// Its id, which is never another's.
    pub id: String,
    /// Its name, which can be given to another later.
    pub name: String,
    /// What operators noted of it.
    pub metadata: BTreeMap<String, String>,
    /// What auth methods call it, one for each mount; see [`of_login`].
    pub aliases: BTreeMap<String, Alias>,
}

/// What an auth method calls an entity.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alias {
    /// The alias's id.
    pub id: String,
    /// The name that the auth method knows.
    pub name: String,
    /// What the auth method told at the login.
    pub metadata: BTreeMap<String, String>,
    /// What operators noted of the alias.
    pub custom_metadata: BTreeMap<String, String>,
}

/// A group of entities.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    /// Its id, which is never another's.
    pub id: String,
    /// Its name, which can be given to another later.
    pub name: String,
    /// What operators noted of it.
    pub metadata: BTreeMap<String, String>,
}

/// The aliases that templates may speak of, by the accessor of their mount.
///
/// An entity that was merged can have several aliases on one mount. Of those only the one that this very login used counts; if the login
/// came by another mount, nobody can say which is meant, and the mount has none. `login` is the accessor of the mount and the id of the alias.
#[must_use]
pub fn of_login(
    all: impl IntoIterator<Item = (String, Alias)>,
    login: Option<(&str, &str)>,
) -> BTreeMap<String, Alias> {
    let mut by_mount: BTreeMap<String, Vec<Alias>> = BTreeMap::new();
    for (accessor, alias) in all {
        by_mount.entry(accessor).or_default().push(alias);
    }
    by_mount
        .into_iter()
        .filter_map(|(accessor, mut aliases)| {
            let used = login.filter(|(mount, _)| *mount == accessor).map(|(_, id)| id);
            if let Some(id) = used {
                aliases.retain(|alias| alias.id == id);
            }
            let alias = aliases.pop()?;
            aliases.is_empty().then_some((accessor, alias))
        })
        .collect()
}
