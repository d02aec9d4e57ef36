//! Several entities become one.

use std::collections::BTreeSet;

use aumbry_barrier::Txn;
use aumbry_types::ObjectId;

use super::alias::Alias;
use super::entity::Entity;
use crate::Shelf;
use crate::answer::Error;

/// Merges. The one that stays gets the aliases of the others, and neither their policies nor their groups: whoever may merge has not so been allowed to
/// give those. Their tokens are its own from then on.
pub(super) fn merge(txn: &mut Txn<'_>, from: &[ObjectId], to: ObjectId, is_forced: bool) -> Result<(), Error> {
    if from.is_empty() || from.len() > FROM_MAX {
        return Err(Error::Invalid("name 1 to 64 entities in from_entity_ids"));
    }
    if from.contains(&to) {
        return Err(Error::Invalid("to_entity_id is among from_entity_ids"));
    }
    let mut target = Entity::read(txn, to)?
        .filter(|entity| entity.merged_into.is_none())
        .ok_or(Error::Invalid("to_entity_id is no entity"))?;
    let mut mounts = BTreeSet::new();
    for id in &target.aliases {
        mounts.extend(Alias::read(txn, *id)?.map(|alias| alias.mount));
    }
    for id in from {
        let entity = Entity::read(txn, *id)?
            .filter(|entity| entity.merged_into.is_none())
            .ok_or(Error::Invalid("one of from_entity_ids is no entity"))?;
        for alias_id in &entity.aliases {
            let Some(mut alias) = Alias::read(txn, *alias_id)? else {
                continue;
            };
            if !mounts.insert(alias.mount) && !is_forced {
                return Err(Error::Invalid(
                    "two of the entities have aliases on one mount: delete one, or say force = true to keep both",
                ));
            }
            alias.entity = to;
            alias.updated = txn.now().0;
            alias.write(txn, *alias_id);
            target.aliases.push(*alias_id);
        }
        txn.remove(Shelf::Entities.here(txn), &entity.name)?;
        let left = Entity {
            merged_into: Some(to),
            merged: Vec::new(),
            aliases: Vec::new(),
            policies: Vec::new(),
            metadata: std::collections::BTreeMap::new(),
            ..entity.clone()
        };
        left.write(txn, *id);
        target.merged.push(*id);
        for earlier in entity.merged {
            // One step leads there, however often it was merged.
            if let Some(mut earlier_entity) = Entity::read(txn, earlier)? {
                earlier_entity.merged_into = Some(to);
                earlier_entity.write(txn, earlier);
                target.merged.push(earlier);
            }
        }
    }
    if target.merged.len() > MERGED_MAX {
        return Err(Error::Invalid("an entity is merged of at most 1,000 others"));
    }
    target.updated = txn.now().0;
    target.write(txn, to);
    Ok(())
}

/// Each has rows of its own in one entry.
const FROM_MAX: usize = 64;
/// All are written anew when it is merged in its turn.
const MERGED_MAX: usize = 1_000;
