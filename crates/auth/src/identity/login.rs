//! Whose a login is.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_types::ObjectId;

use super::alias::{Alias, check_name};
use super::entity::Entity;
use crate::Shelf;
use crate::answer::Error;

/// Whose a login is.
#[derive(Debug, PartialEq, Eq)]
pub enum LoggedIn {
    /// This entity's.
    Entity {
        /// Its id.
        entity: ObjectId,
        /// Whether it was made for this login, and so has nothing yet.
        is_new: bool,
    },
    /// Nobody's: there is no room for more entities, or a name that no alias can have.
    Nobody,
    /// Of an entity that is disabled.
    Disabled,
    /// Nobody's yet, and an operator's limit allows no more entities or aliases. A login without an entity would be one that no rule about people sees.
    Limited(&'static str),
}

/// Finds the entity of whoever logged in at a mount under a name, or makes one. Nobody's policies speak of a new entity yet, so the namespace's
/// generation stays.
///
/// # Errors
/// [`DamagedRow`]
pub fn log_in(txn: &mut Txn<'_>, mount: ObjectId, name: &str) -> Result<LoggedIn, DamagedRow> {
    if check_name(name).is_err() {
        return Ok(LoggedIn::Nobody);
    }
    if let Some((_, found)) = Alias::find(txn, mount, name)? {
        let Some((entity, standing)) = Entity::find(txn, found.entity)? else {
            return Err(DamagedRow);
        };
        return Ok(match standing.is_disabled {
            true => LoggedIn::Disabled,
            false => LoggedIn::Entity { entity, is_new: false },
        });
    }
    if is_full(txn)? {
        return Ok(LoggedIn::Nobody);
    }
    let (id, mut entity) = Entity::new(txn, None);
    let entered = Alias::new(txn, id, mount, name).enter(txn).and_then(|alias| {
        entity.aliases.push(alias);
        entity.enter(txn, id)
    });
    match entered {
        Ok(()) => Ok(LoggedIn::Entity {
            entity: id,
            is_new: true,
        }),
        Err(Error::Limited(text)) => Ok(LoggedIn::Limited(text)),
        // There was room before, and the rest is as it must be.
        Err(_) => Err(DamagedRow),
    }
}

/// Whether no more entities can be made by themselves. Some room is left to operators.
fn is_full(txn: &Txn<'_>) -> Result<bool, DamagedRow> {
    let entities = txn.container(Shelf::Entities.here(txn))?.children;
    let aliases = txn.container(Shelf::Aliases.here(txn))?.children;
    Ok(entities.max(aliases) >= MADE_MAX)
}

/// Nine tenths of what a directory holds.
const MADE_MAX: u64 = aumbry_barrier::CHILDREN_MAX / 10 * 9;
