//! Secret ids.

use std::collections::BTreeMap;

use aumbry_barrier::{DamagedRow, Kind, Object, ObjectOptions, Txn, record};
use aumbry_crypto::mac16;
use aumbry_logical::Object as Values;
use aumbry_state::{Counters, Precondition, Slot, Write, key};
use aumbry_types::{Entropy, ObjectId};
use serde::{Deserialize, Serialize};

use crate::answer::{Error, object, texts, timestamp};
use crate::cidr::Cidr;

/// What is stored of a secret id. Its row's expiry and first counter (uses left) stand in the clear header; the row's container is the
/// role's object.
#[derive(Serialize, Deserialize)]
pub(super) struct SecretId {
    pub(super) accessor: String,
    pub(super) metadata: BTreeMap<String, String>,
    /// From where it can be used.
    pub(super) cidrs: Vec<Cidr>,
    /// Where its tokens can be used from; nothing is as the role says.
    pub(super) token_cidrs: Vec<Cidr>,
    pub(super) ttl_s: u64,
    pub(super) num_uses: u64,
    pub(super) created: u64,
}

impl SecretId {
    /// The secret id with this text, which is expired if its time is over.
    pub(super) fn find(txn: &mut Txn<'_>, role: ObjectId, text: &[u8]) -> Result<Option<Found>, DamagedRow> {
        let id = object_id(txn, role, text);
        Found::read(txn, id)
    }

    /// The secret id of a role with this accessor.
    pub(super) fn find_by_accessor(
        txn: &mut Txn<'_>,
        role: ObjectId,
        accessor: &str,
    ) -> Result<Option<Found>, DamagedRow> {
        match txn.lookup(role, accessor)? {
            Some(child) => Found::read(txn, child.id),
            None => Ok(None),
        }
    }

    /// Enters a new one with this text.
    pub(super) fn enter(&self, txn: &mut Txn<'_>, role: ObjectId, text: &[u8]) -> Result<(), Error> {
        let id = object_id(txn, role, text);
        if txn.read_row(&key::object(id))?.is_some() {
            return Err(Error::Invalid("the secret_id is registered already"));
        }
        txn.insert(role, &self.accessor, Kind::SecretId, id)?;
        let expires_at = match self.ttl_s {
            0 => 0,
            seconds => txn.now().plus_ms(seconds.saturating_mul(1_000)).0,
        };
        let options = ObjectOptions {
            expires_at,
            counters: Counters::Set([self.num_uses, 0]),
            container: role,
        };
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::SecretId, plain.expose(), options);
        Ok(())
    }
}

/// A secret id that stands in the store.
pub(super) struct Found {
    pub(super) id: ObjectId,
    pub(super) secret_id: SecretId,
    pub(super) object: Object,
}

impl Found {
    fn read(txn: &mut Txn<'_>, id: ObjectId) -> Result<Option<Self>, DamagedRow> {
        let Some(object) = txn.read_object(id, Kind::SecretId)? else {
            return Ok(None);
        };
        let secret_id = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
        Ok(Some(Self { id, secret_id, object }))
    }

    /// Whether it gives a login now, as far as its time and uses go.
    pub(super) fn stands(&self, now_ms: u64) -> bool {
        let is_expired = self.object.expires_at != 0 && self.object.expires_at <= now_ms;
        !is_expired && (self.secret_id.num_uses == 0 || self.object.counters[0] > 0)
    }

    /// Takes one use. The plan is refused if the last one is gone, or its time is over, before it is applied.
    pub(super) fn take_use(&self, txn: &mut Txn<'_>) -> Result<(), DamagedRow> {
        let row_key = key::object(self.id);
        // That it is still there comes first: one that was destroyed meanwhile has not expired.
        if let Some(row) = txn.peek_row(&row_key)? {
            txn.fence(Precondition::RowIs(row_key.clone(), row.writer));
        }
        if self.object.expires_at != 0 {
            txn.fence(Precondition::NotExpired(row_key.clone()));
        }
        if self.secret_id.num_uses == 0 {
            return Ok(());
        }
        if self.object.counters[0] == 1 {
            // It waits for the sweep, as a token does: what is in flight may come to nothing.
            txn.put_row(key::work(self.id), Kind::Work, b"used up", ObjectOptions::default());
        }
        txn.write(Write::CounterAdd {
            key: row_key,
            slot: Slot::First,
            delta: -1,
            floor: 0,
        });
        Ok(())
    }

    /// Removes it.
    pub(super) fn remove(&self, txn: &mut Txn<'_>) -> Result<(), DamagedRow> {
        txn.remove(self.object.container, &self.secret_id.accessor)?;
        txn.delete_object(self.id);
        Ok(())
    }

    /// What is told of it; never the secret id itself.
    pub(super) fn render(&self) -> Values {
        let secret_id = &self.secret_id;
        let num_uses = match secret_id.num_uses {
            0 => 0,
            _ => self.object.counters[0],
        };
        let expiration_time = match self.object.expires_at {
            0 => NO_TIME.to_owned(),
            ms => timestamp(ms),
        };
        let pairs = secret_id.metadata.iter();
        object([
            ("cidr_list", texts(&secret_id.cidrs)),
            ("creation_time", timestamp(secret_id.created).into()),
            ("expiration_time", expiration_time.into()),
            ("last_updated_time", timestamp(secret_id.created).into()),
            (
                "metadata",
                pairs.map(|(key, value)| (key.clone(), value.as_str())).collect(),
            ),
            ("secret_id_accessor", secret_id.accessor.as_str().into()),
            ("secret_id_num_uses", num_uses.into()),
            ("secret_id_ttl", secret_id.ttl_s.into()),
            ("token_bound_cidrs", texts(&secret_id.token_cidrs)),
        ])
    }
}

/// What a secret id of a role is known by. Without the text nobody can tell, and a look-up compares nothing that a clock could tell.
pub(super) fn object_id(txn: &Txn<'_>, role: ObjectId, text: &[u8]) -> ObjectId {
    let key = txn.barrier().keyring().tokens();
    ObjectId::from_bytes(mac16(key, &[b"aumbry/secret-id/1", role.as_bytes(), text]))
}

/// A random UUID, version 4: the form in which clients expect ids and secret ids.
pub(super) fn make_uuid(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = aumbry_types::hex::encode(&bytes);
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

/// Whether a secret id that waits for the sweep is used up: a use may be left, if one that was counted in flight came to nothing.
pub(crate) fn is_used_up(txn: &Txn<'_>, id: ObjectId) -> bool {
    let Ok(Some(object)) = txn.peek_object(id, Kind::SecretId) else {
        return true;
    };
    let decoded: Result<SecretId, _> = record::decode(VERSION, object.plain.expose());
    object.counters[0] == 0 && decoded.is_ok_and(|secret_id| secret_id.num_uses > 0)
}

/// Removes a secret id whose time or uses are over. False if a row of it is damaged; then its accessor may be left.
pub(crate) fn expire(txn: &mut Txn<'_>, id: ObjectId) -> bool {
    let removed = match Found::read(txn, id) {
        Ok(Some(found)) => found.remove(txn).is_ok(),
        Ok(None) => true,
        Err(_) => false,
    };
    if !removed {
        txn.delete_object(id);
    }
    removed
}

/// Removes what belongs to a role, after its names.
pub(crate) fn remove(txn: &mut Txn<'_>, role: ObjectId) -> Result<(), DamagedRow> {
    super::role::remove_rows(txn, role)
}

/// What clients take for "never".
const NO_TIME: &str = "0001-01-01T00:00:00Z";
const VERSION: u8 = 1;
