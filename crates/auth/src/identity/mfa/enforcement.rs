//! Who needs a second factor.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_types::{Name, ObjectId};
use serde::{Deserialize, Serialize};

use crate::Shelf;
use crate::answer::Error;
use crate::identity::{Groups, NamedMount};
use crate::token;

/// What is stored of an enforcement. It holds for whom any of the lists has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Enforcement {
    pub(super) methods: Vec<ObjectId>,
    pub(super) accessors: Vec<String>,
    pub(super) kinds: Vec<String>,
    pub(super) groups: Vec<ObjectId>,
    pub(super) entities: Vec<ObjectId>,
}

/// What a login must show beside what it showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The name of the enforcement.
    pub name: String,
    /// The methods of which one is enough.
    pub methods: Vec<ObjectId>,
}

/// All enforcements, as of one generation of the namespace.
#[derive(Default)]
pub struct Enforcements(pub(super) Vec<(String, Enforcement)>);

impl Enforcement {
    pub(super) fn write(&self, txn: &mut Txn<'_>, name: &Name) -> Result<(), Error> {
        let id = match txn.lookup(Shelf::MfaEnforcements.here(txn), name.as_str())? {
            Some(child) => child.id,
            None => {
                let id = ObjectId::make(txn.entropy());
                txn.insert(
                    Shelf::MfaEnforcements.here(txn),
                    name.as_str(),
                    Kind::MfaEnforcement,
                    id,
                )?;
                id
            }
        };
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::MfaEnforcement, plain.expose(), ObjectOptions::default());
        Ok(())
    }
}

impl Enforcements {
    /// Reads them.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn read(txn: &mut Txn<'_>) -> Result<Self, DamagedRow> {
        let children = txn.list(Shelf::MfaEnforcements.here(txn))?;
        let read = |child: &aumbry_barrier::Child| {
            let object = txn.peek_object(child.id, Kind::MfaEnforcement)?.ok_or(DamagedRow)?;
            let enforcement = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
            Ok((child.name.clone(), enforcement))
        };
        children.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a login at a mount needs.
    #[must_use]
    pub fn of(&self, mount: &NamedMount, groups: &Groups, entity: ObjectId, login: &token::Alias) -> Vec<Wanted> {
        let in_groups = groups.ids(entity, login);
        let holds = |enforcement: &Enforcement| {
            enforcement.accessors.contains(&mount.accessor)
                || enforcement.kinds.contains(&mount.kind)
                || enforcement.entities.contains(&entity)
                || enforcement.groups.iter().any(|group| in_groups.contains(group))
        };
        let all = self.0.iter().filter(|(_, enforcement)| holds(enforcement));
        let wanted = all.map(|(name, enforcement)| Wanted {
            name: name.clone(),
            methods: enforcement.methods.clone(),
        });
        wanted.collect()
    }
}

const VERSION: u8 = 1;
