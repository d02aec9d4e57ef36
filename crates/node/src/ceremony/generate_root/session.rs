//! An attempt under way: one row.

use aumbry_barrier::Kind;
use aumbry_types::{ObjectId, SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use super::super::given::Given;
use super::super::session;

/// An attempt under way.
#[derive(Serialize, Deserialize)]
pub(super) struct Session {
    /// What shares are shown to it by.
    pub(super) nonce: String,
    /// The accessor of the token that began it; empty if a share did.
    pub(super) began_by: String,
    /// When, in log time (ms).
    pub(super) began_ms: u64,
    /// The epoch of the shares that count.
    pub(super) epoch: u32,
    /// What hides the token: as long as it.
    #[serde(with = "exposed")]
    pub(super) pad: SecretBytes,
    /// The shares that were shown.
    pub(super) given: Given,
}

impl session::Session for Session {
    const ROW: ObjectId = ObjectId::well_known(45);
    const KIND: Kind = Kind::RootAttempt;
    const NOT_THIS: &'static str =
        "the nonce is not that of this attempt, and nothing was counted; ask whoever began it";

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
