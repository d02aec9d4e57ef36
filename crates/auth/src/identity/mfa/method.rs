//! Methods of a second factor, and the secrets of entities.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_crypto::totp::{Algorithm, Settings};
use aumbry_state::{Counters, Slot, Write, key};
use aumbry_types::{ObjectId, SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use crate::places::{found_here, options_here};
use crate::{Place, Shelf};

/// What is stored of a method, under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Method {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) algorithm: Hash,
    pub(super) digits: u32,
    pub(super) period_s: u64,
    pub(super) skew: u64,
    pub(super) key_bytes: usize,
    pub(super) failures_max: u64,
}

/// As [`Algorithm`], as it is stored. Variants are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

impl Method {
    pub(super) fn read(txn: &mut Txn<'_>, id: ObjectId) -> Result<Option<Self>, DamagedRow> {
        let object = txn.read_object(id, Kind::MfaMethod)?;
        let object = found_here(txn, object);
        let decode = |object: aumbry_barrier::Object| record::decode(VERSION, object.plain.expose());
        object.map(|object| decode(object).map_err(|_| DamagedRow)).transpose()
    }

    /// The ids of all of them, in order.
    pub(super) fn all(txn: &mut Txn<'_>) -> Result<Vec<ObjectId>, DamagedRow> {
        let mut ids: Vec<ObjectId> = txn
            .list(Shelf::MfaMethods.here(txn))?
            .iter()
            .map(|child| child.id)
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    pub(super) fn write(&self, txn: &mut Txn<'_>, id: ObjectId) {
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::MfaMethod, plain.expose(), options_here(txn));
    }

    pub(super) const fn settings(&self) -> Settings {
        Settings {
            algorithm: match self.algorithm {
                Hash::Sha1 => Algorithm::Sha1,
                Hash::Sha256 => Algorithm::Sha256,
                Hash::Sha512 => Algorithm::Sha512,
            },
            digits: self.digits,
            period_s: self.period_s,
            skew: self.skew,
        }
    }
}

/// An entity's secret of a method. Its row's first counter is the period of the code that was used last, the second the present window of failures and their
/// number.
#[derive(Serialize, Deserialize)]
pub(super) struct Secret {
    #[serde(with = "exposed")]
    pub(super) key: SecretBytes,
}

/// A secret that stands in the store.
pub(super) struct Found {
    pub(super) id: ObjectId,
    secret: Secret,
    counters: [u64; 2],
}

/// What came of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Right,
    /// It was counted, though the plan is refused.
    Wrong,
    /// Too many were wrong: it was not looked at.
    Closed,
}

impl Found {
    pub(super) fn find(txn: &mut Txn<'_>, method: ObjectId, entity: ObjectId) -> Result<Option<Self>, DamagedRow> {
        let Some(child) = txn.lookup(Place::MfaSecrets.of(method), &entity.to_string())? else {
            return Ok(None);
        };
        let object = txn.read_object(child.id, Kind::MfaSecret)?.ok_or(DamagedRow)?;
        let secret = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
        Ok(Some(Self {
            id: child.id,
            secret,
            counters: object.counters,
        }))
    }

    /// Looks at a code. A right one is used up by it; a wrong one is counted.
    pub(super) fn try_code(&self, txn: &mut Txn<'_>, method: &Method, code: &[u8]) -> Tried {
        let now_ms = txn.now().0;
        let window = now_ms / WINDOW_MS;
        let [used, counted] = self.counters;
        let failures = if counted / WINDOW_SIZE == window {
            counted % WINDOW_SIZE
        } else {
            0
        };
        if failures >= method.failures_max.min(WINDOW_SIZE - 1) {
            return Tried::Closed;
        }
        if let Some(period) = method
            .settings()
            .find(self.secret.key.expose(), code, now_ms / 1_000, used)
        {
            let plain = record::encode(VERSION, &self.secret);
            let options = ObjectOptions {
                counters: Counters::Set([period, 0]),
                ..ObjectOptions::default()
            };
            txn.put_object(self.id, Kind::MfaSecret, plain.expose(), options);
            return Tried::Right;
        }
        let next = window * WINDOW_SIZE + failures + 1;
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        txn.fence_write(Write::CounterAdd {
            key: key::object(self.id),
            slot: Slot::Second,
            delta: signed(next).saturating_sub(signed(counted)),
            floor: 0,
        });
        Tried::Wrong
    }
}

impl Secret {
    /// Enters one for an entity that has none.
    pub(super) fn enter(&self, txn: &mut Txn<'_>, method: ObjectId, entity: ObjectId) -> Result<(), crate::Error> {
        let id = ObjectId::make(txn.entropy());
        txn.insert(Place::MfaSecrets.of(method), &entity.to_string(), Kind::MfaSecret, id)?;
        let options = ObjectOptions {
            counters: Counters::Set([0, 0]),
            ..ObjectOptions::default()
        };
        txn.put_object(id, Kind::MfaSecret, record::encode(VERSION, self).expose(), options);
        Ok(())
    }
}

/// Failures are counted for so long, by the time of the log.
const WINDOW_MS: u64 = 300_000;
/// The failures of a window are below it.
const WINDOW_SIZE: u64 = 256;
const VERSION: u8 = 1;
