//! Users.

use aumbry_barrier::{DamagedRow, Kind, Object, ObjectOptions, Txn, record};
use aumbry_crypto::password::PasswordHash;
use aumbry_state::{Counters, Slot, Write, key};
use aumbry_types::{Name, ObjectId, SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use crate::answer::Error;
use crate::params::TokenParams;

/// What is stored of a user. Its row's first counter is the number of failed logins, the second the log time of the last (ms).
#[derive(Serialize, Deserialize)]
pub(super) struct User {
    #[serde(with = "exposed")]
    hash: SecretBytes,
    pub(super) params: TokenParams,
}

/// A user that stands in the store.
pub(super) struct Found {
    pub(super) id: ObjectId,
    pub(super) user: User,
    object: Object,
}

impl User {
    pub(super) fn new(hash: &PasswordHash, params: TokenParams) -> Self {
        Self {
            hash: hash.encode(),
            params,
        }
    }

    pub(super) fn set_hash(&mut self, hash: &PasswordHash) {
        self.hash = hash.encode();
    }

    pub(super) fn hash(&self) -> Result<PasswordHash, DamagedRow> {
        PasswordHash::decode(self.hash.expose()).ok_or(DamagedRow)
    }

    /// Enters a new user.
    pub(super) fn enter(&self, txn: &mut Txn<'_>, mount: ObjectId, name: &Name) -> Result<(), Error> {
        let id = ObjectId::make(txn.entropy());
        txn.insert(mount, name.as_str(), Kind::User, id)?;
        self.write(txn, id, Counters::Set([0, 0]));
        Ok(())
    }

    fn write(&self, txn: &mut Txn<'_>, id: ObjectId, counters: Counters) {
        let options = ObjectOptions {
            counters,
            ..ObjectOptions::default()
        };
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::User, plain.expose(), options);
    }
}

impl Found {
    /// The user with this name.
    pub(super) fn find(txn: &mut Txn<'_>, mount: ObjectId, name: &Name) -> Result<Option<Self>, DamagedRow> {
        let Some(child) = txn.lookup(mount, name.as_str())? else {
            return Ok(None);
        };
        let object = txn.read_object(child.id, Kind::User)?.ok_or(DamagedRow)?;
        let user = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
        Ok(Some(Self {
            id: child.id,
            user,
            object,
        }))
    }

    /// Writes the user as it is now. What was counted stays: a new password unlocks nobody.
    pub(super) fn write(&self, txn: &mut Txn<'_>) {
        self.user.write(txn, self.id, Counters::Keep);
    }

    /// How many logins failed, one after the other, and when the last one did (ms).
    pub(super) const fn failures(&self) -> (u64, u64) {
        let [failures, last_ms] = self.object.counters;
        (failures, last_ms)
    }

    /// Counts a failed login, though its plan is refused. `first` begins anew.
    pub(super) fn count_failure(&self, txn: &mut Txn<'_>, first: bool) {
        let (failures, last_ms) = self.failures();
        let row_key = key::object(self.id);
        let now_ms = txn.now().0;
        let mut add = |slot, from: u64, to: u64| {
            txn.fence_write(Write::CounterAdd {
                key: row_key.clone(),
                slot,
                delta: difference(from, to),
                floor: 0,
            });
        };
        add(
            Slot::First,
            failures,
            if first { 1 } else { failures.saturating_add(1) },
        );
        add(Slot::Second, last_ms, now_ms);
    }

    /// Forgets the failed logins.
    pub(super) fn forget_failures(&self, txn: &mut Txn<'_>) {
        if self.object.counters != [0, 0] {
            self.user.write(txn, self.id, Counters::Set([0, 0]));
        }
    }
}

/// What is to be added to a counter. Times and counts are far from the ends.
fn difference(from: u64, to: u64) -> i64 {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    signed(to).saturating_sub(signed(from))
}

const VERSION: u8 = 1;
