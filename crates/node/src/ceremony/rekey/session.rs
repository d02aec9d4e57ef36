//! A rekey under way: one row, and what a step does to it.

use aumbry_barrier::{DamagedRow, Kind};
use aumbry_crypto::seal::SealConfig;
use aumbry_types::{Entropy, ObjectId};
use serde::{Deserialize, Serialize};

use super::super::given::{Given, make_nonce};
use super::super::session;

/// A rekey under way.
#[derive(Serialize, Deserialize)]
pub(super) struct Session {
    /// What shares are shown to it by.
    pub(super) nonce: String,
    /// The accessor of the token that began it.
    pub(super) began_by: String,
    /// When, in log time (ms).
    pub(super) began_ms: u64,
    /// The epoch of the shares that are replaced.
    pub(super) epoch: u32,
    /// How many shares there will be.
    pub(super) shares: u8,
    /// How many will open the seal.
    pub(super) threshold: u8,
    /// Whether the new shares must be tried before they count.
    pub(super) verifies: bool,
    /// Whether there will be a new root key as well.
    pub(super) rotates_root: bool,
    /// Whom the new shares are encrypted to: as many as there are, or none.
    pub(super) recipients: Vec<String>,
    /// The old shares that were shown.
    pub(super) given: Given,
    /// The seal of the new shares, once they are made.
    pub(super) pending: Option<Pending>,
}

/// A seal that waits until its shares were tried.
#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    /// What new shares are shown by.
    pub(super) nonce: String,
    /// The configuration that will hold.
    config: Vec<u8>,
    /// The new shares that were tried.
    pub(super) given: Given,
}

impl session::Session for Session {
    const ROW: ObjectId = ObjectId::well_known(33);
    const KIND: Kind = Kind::Rekey;
    const NOT_THIS: &'static str =
        "the nonce is not that of this session, and nothing was counted; see sys/rekey/init for the one under way";

    fn nonce(&self) -> &str {
        &self.nonce
    }

    fn began_ms(&self) -> u64 {
        self.began_ms
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }
}

impl Pending {
    pub(super) fn new(config: &SealConfig, entropy: &dyn Entropy) -> Self {
        Self {
            nonce: make_nonce(entropy),
            config: config.encode(),
            given: Given::default(),
        }
    }

    /// The configuration that will hold.
    pub(super) fn config(&self) -> Result<SealConfig, DamagedRow> {
        SealConfig::decode(&self.config).map_err(|_| DamagedRow)
    }
}
