//! When keys are made anew, and how far what older ones seal is sealed anew: one row.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_types::ObjectId;
use serde::{Deserialize, Serialize};

/// What is kept of the care for keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Care {
    /// Whether keys are made anew without being asked for.
    pub(crate) is_automatic: bool,
    /// After so many uses.
    pub(crate) uses_max: u64,
    /// After so long, in milliseconds; 0 is never.
    pub(crate) interval_ms: u64,
    /// When the current term was made, in log time (ms); 0 with the cluster.
    pub(crate) rotated_ms: u64,
    /// How far everything is sealed anew; nothing before there was a second term.
    pub(crate) pass: Option<Pass>,
}

/// A pass over all rows, which seals anew what an older term than this one seals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pass {
    pub(crate) term: u32,
    pub(crate) began_ms: u64,
    /// When it ended; 0 is not yet.
    pub(crate) ended_ms: u64,
    /// All rows up to this one are done; empty before the first.
    pub(crate) after: Vec<u8>,
    /// Rows that were sealed anew.
    pub(crate) rows: u64,
    /// Rows that do not open, and so stay as they are.
    pub(crate) damaged: u64,
}

impl Default for Care {
    fn default() -> Self {
        Self {
            is_automatic: true,
            uses_max: USES_MAX,
            interval_ms: 0,
            rotated_ms: 0,
            pass: None,
        }
    }
}

impl Care {
    /// Reads it, recorded.
    pub(crate) fn read(txn: &mut Txn<'_>) -> Result<Self, DamagedRow> {
        let object = txn.read_object(KEYS, Kind::KeyCare)?;
        object.map_or_else(
            || Ok(Self::default()),
            |object| record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow),
        )
    }

    /// Writes it.
    pub(crate) fn write(&self, txn: &mut Txn<'_>) {
        let plain = record::encode(VERSION, self);
        txn.put_object(KEYS, Kind::KeyCare, plain.expose(), ObjectOptions::default());
    }

    /// Whether nothing that is stored is sealed by an older term than this one, but for what is damaged.
    pub(crate) fn is_done(&self, term: u32) -> bool {
        self.pass
            .as_ref()
            .is_some_and(|pass| pass.term == term && pass.ended_ms > 0)
    }
}

const KEYS: ObjectId = ObjectId::well_known(9);
const VERSION: u8 = 1;
/// Nine tenths of 2^32, which is how often NIST lets AES-GCM with random nonces use one key. Aumbry derives a key for each message, and could use a term far more often (`docs/keys.md`).
pub(super) const USES_MAX: u64 = 3_865_470_566;
