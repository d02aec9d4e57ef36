//! Operators' limits on numbers, as plans see them: how many children some containers may have.
//!
//! Apply counts the children of every container anyway, in the entry that enters or removes them, so a limit costs no row and cannot drift. A plan that
//! takes a place rests on the count that it saw: of two that see the same last place the second one in the log has no effect.

use std::collections::BTreeMap;

use aumbry_types::ObjectId;

use crate::directory::InsertError;
use crate::{DamagedRow, Kind, Txn};

/// What is limited where a plan is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Limits {
    most: BTreeMap<ObjectId, u64>,
    most_of_each: BTreeMap<ObjectId, u64>,
    counted: Vec<Counted>,
}

/// A container that counts what no container counts by itself: the tokens that are made by way of a path, or of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// It.
    pub container: ObjectId,
    /// The path of the request that makes a token; what begins so, if it ends in `*`.
    pub path: String,
    /// The role alone that a token is made with; empty for all.
    pub role: String,
}

impl Limits {
    /// Limits a container. The least of several limits holds.
    pub fn limit(&mut self, container: ObjectId, max: u64) {
        let most = self.most.entry(container).or_insert(max);
        *most = max.min(*most);
    }

    /// Limits each of the containers that belong to one thing.
    pub fn limit_each(&mut self, owner: ObjectId, max: u64) {
        let most = self.most_of_each.entry(owner).or_insert(max);
        *most = max.min(*most);
    }

    /// Adds a container that counts.
    pub fn count(&mut self, counted: Counted) {
        self.counted.push(counted);
    }

    /// Those that count.
    #[must_use]
    pub fn counted(&self) -> &[Counted] {
        &self.counted
    }

    /// How many children the containers of this owner may have each.
    #[must_use]
    pub fn of_each(&self, owner: ObjectId) -> Option<u64> {
        self.most_of_each.get(&owner).copied()
    }

    fn of(&self, container: ObjectId) -> Option<u64> {
        self.most.get(&container).copied()
    }
}

impl InsertError {
    /// The refusal of one more of this kind.
    #[must_use]
    pub const fn limited(kind: Kind) -> Self {
        Self::Limited(text_of(kind))
    }
}

impl Txn<'_> {
    /// Takes a place for a new child of this kind, if the container is limited to so many.
    ///
    /// # Errors
    /// [`InsertError::Limited`]; then nothing is entered.
    pub fn take_place(&mut self, container: ObjectId, max: u64, kind: Kind) -> Result<(), InsertError> {
        // A refusal is not told, and a place not taken, by a count that rests on a child in flight that is lost.
        self.fence_scan(container)?;
        let planned = self.planned_children(container)?;
        if planned >= max {
            return Err(InsertError::limited(kind));
        }
        self.note_child(container, 1);
        Ok(())
    }

    /// Whether a container that may be limited has a place left. Nothing is taken: for what comes later, by a plan of its own.
    ///
    /// # Errors
    /// [`InsertError::Limited`]
    pub fn check_place(&mut self, container: ObjectId, kind: Kind) -> Result<(), InsertError> {
        let Some(max) = self.most_of(container) else {
            return Ok(());
        };
        self.fence_scan(container)?;
        match self.planned_children(container)? >= max {
            true => Err(InsertError::limited(kind)),
            false => Ok(()),
        }
    }

    /// As [`Self::take_place`], if an operator limited the container.
    pub(crate) fn take_limited_place(&mut self, container: ObjectId, kind: Kind) -> Result<(), InsertError> {
        match self.most_of(container) {
            Some(max) => self.take_place(container, max, kind),
            None => Ok(()),
        }
    }

    /// Gives a place back, for what the same plan enters after it.
    pub(crate) fn free_place(&mut self, container: ObjectId) {
        if self.limits().is_some() {
            self.note_child(container, -1);
        }
    }

    fn most_of(&self, container: ObjectId) -> Option<u64> {
        self.limits().and_then(|limits| limits.of(container))
    }

    fn planned_children(&self, container: ObjectId) -> Result<u64, DamagedRow> {
        let children = self.container(container)?.children;
        Ok(children.saturating_add_signed(self.noted_children(container)))
    }
}

/// What a client is told, which is Vault's text where Vault has one.
const fn text_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Token | Kind::Counted => {
            "lease count quota exceeded; revoke tokens, wait until some expire, or ask an operator for more (sys/quotas/lease-count)"
        }
        _ => "object count quota exceeded; delete some of them, or ask an operator for more (sys/quotas/object-count)",
    }
}
