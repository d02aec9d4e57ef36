//! What is stored of a namespace, under its id.

use std::collections::BTreeMap;

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_logical::{Body, Object};
use aumbry_types::{NamespacePath, ObjectId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::{Error, object};

/// A namespace. Its path is its name in the directory of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    /// What operators noted.
    pub(super) custom_metadata: BTreeMap<String, String>,
    /// In log time (ms).
    pub(super) created: u64,
}

impl Row {
    pub(super) fn read(txn: &mut Txn<'_>, id: ObjectId) -> Result<Self, DamagedRow> {
        let object = txn.read_object(id, Kind::Namespace)?.ok_or(DamagedRow)?;
        record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)
    }

    /// Stores it whole.
    pub(super) fn write(&self, txn: &mut Txn<'_>, id: ObjectId) {
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::Namespace, plain.expose(), ObjectOptions::default());
    }

    /// Takes over the whole of what a body says, if it says anything.
    pub(super) fn replace(&mut self, body: &Body) -> Result<(), Error> {
        if let Some(pairs) = body.pairs(FIELD)? {
            self.custom_metadata = pairs;
        }
        self.check()
    }

    /// Takes over the pairs that a body names; one without a value goes.
    pub(super) fn merge(&mut self, body: &Body) -> Result<(), Error> {
        let Some(Value::Object(changes)) = body.get(FIELD) else {
            return Err(Error::Invalid("custom_metadata is required: an object of strings"));
        };
        let mut said = Object::new();
        for (key, value) in changes {
            if value.is_null() {
                self.custom_metadata.remove(key);
            } else {
                said.insert(key.clone(), value.clone());
            }
        }
        let said = Body::new(object([(FIELD, Value::Object(said))]));
        self.custom_metadata.extend(said.pairs(FIELD)?.unwrap_or_default());
        self.check()
    }

    /// What is told of it.
    pub(super) fn show(&self, id: ObjectId, path: &NamespacePath) -> Object {
        let pairs = self.custom_metadata.iter();
        let pairs = pairs.map(|(key, value)| (key.clone(), value.as_str().into()));
        object([
            ("id", id.to_string().into()),
            ("uuid", id.to_string().into()),
            // Nothing locks one, and what is going is gone.
            ("locked", false.into()),
            ("tainted", false.into()),
            ("path", format!("{path}/").into()),
            (FIELD, Value::Object(pairs.collect())),
        ])
    }

    fn check(&self) -> Result<(), Error> {
        let is_long = |(key, value): (&String, &String)| key.is_empty() || key.len() > 128 || value.len() > 512;
        if self.custom_metadata.len() > PAIRS_MAX || self.custom_metadata.iter().any(is_long) {
            return Err(Error::Invalid(
                "custom_metadata has at most 64 pairs, keys of 1 to 128 bytes, values of at most 512",
            ));
        }
        Ok(())
    }
}

const FIELD: &str = "custom_metadata";
const VERSION: u8 = 1;
/// As entities have it.
const PAIRS_MAX: usize = 64;
