//! What is stored of a token, and what is told of it.

use std::collections::BTreeMap;

use aumbry_barrier::{DamagedRow, Kind, Object, Txn, record};
use aumbry_types::ObjectId;
use serde::{Deserialize, Serialize};

/// A stored token. Its row's expiry and first counter (uses left) stand in the clear header.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) accessor: ObjectId,
    pub(super) policies: Vec<String>,
    pub(super) display_name: String,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) issued: u64,
    pub(super) ttl_s: u64,
    pub(super) explicit_max_ttl_s: u64,
    pub(super) renewable: bool,
    pub(super) parent: Option<ObjectId>,
    pub(super) depth: u8,
    pub(super) num_uses: u64,
    pub(super) path: String,
}

impl Record {
    /// Reads and records a token's row.
    pub(super) fn read(txn: &mut Txn<'_>, id: ObjectId) -> Result<Option<(Self, Object)>, DamagedRow> {
        txn.read_object(id, Kind::Token)?.map(Self::open).transpose()
    }

    /// Reads a token's row without recording it.
    pub(super) fn peek(txn: &Txn<'_>, id: ObjectId) -> Result<Option<(Self, Object)>, DamagedRow> {
        txn.peek_object(id, Kind::Token)?.map(Self::open).transpose()
    }

    fn open(object: Object) -> Result<(Self, Object), DamagedRow> {
        let record = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
        Ok((record, object))
    }

    pub(super) fn encode(&self) -> aumbry_types::SecretBytes {
        record::encode(VERSION, self)
    }

    pub(super) fn info(&self, object: &Object, now_ms: u64) -> Info {
        Info {
            accessor: self.accessor.to_string(),
            policies: self.policies.clone(),
            display_name: self.display_name.clone(),
            metadata: self.metadata.clone(),
            issued: self.issued,
            expires_at: object.expires_at,
            ttl_s: object.expires_at.saturating_sub(now_ms).div_ceil(1_000),
            creation_ttl_s: self.ttl_s,
            explicit_max_ttl_s: self.explicit_max_ttl_s,
            renewable: self.renewable,
            orphan: self.parent.is_none(),
            num_uses: if self.num_uses == 0 { 0 } else { object.counters[0] },
            path: self.path.clone(),
        }
    }
}

/// What is told of a token; never the token itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Its accessor: names it, authenticates nothing.
    pub accessor: String,
    /// Its policies, sorted.
    pub policies: Vec<String>,
    /// Its name for people.
    pub display_name: String,
    /// The creator's own pairs.
    pub metadata: BTreeMap<String, String>,
    /// When it was issued, in log time (ms).
    pub issued: u64,
    /// When it expires, in log time (ms); 0 is never.
    pub expires_at: u64,
    /// How many seconds are left; 0 for a token that never expires.
    pub ttl_s: u64,
    /// How many seconds it was issued for.
    pub creation_ttl_s: u64,
    /// The most seconds it can live from its issue; 0 is no limit of its own.
    pub explicit_max_ttl_s: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Whether it has no parent.
    pub orphan: bool,
    /// How many uses are left; 0 for a token without a limit.
    pub num_uses: u64,
    /// The path of the request that created it.
    pub path: String,
}

const VERSION: u8 = 1;
/// 32 days, as Vault's default.
pub const TTL_S_DEFAULT: u64 = 768 * 3_600;
/// No token but root lives longer than this without a new login, however often it is renewed.
pub const TTL_S_MAX: u64 = 768 * 3_600;
