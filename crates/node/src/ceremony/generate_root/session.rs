//! An attempt under way: one row.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_crypto::seal::SealConfig;
use aumbry_types::{ObjectId, SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use super::super::given::{Given, SESSION_MS};

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

impl Session {
    /// The attempt under way, recorded. One that is too old, or whose shares were replaced meanwhile, is none.
    pub(super) fn read(txn: &mut Txn<'_>, config: &SealConfig) -> Result<Option<Self>, DamagedRow> {
        let Some(object) = txn.read_object(ATTEMPT, Kind::RootAttempt)? else {
            return Ok(None);
        };
        if object.expires_at <= txn.now().0 {
            return Ok(None);
        }
        let session: Self = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
        Ok((session.epoch == config.epoch).then_some(session))
    }

    /// Writes it. It ends an hour after it began, whatever is done meanwhile.
    pub(super) fn write(&self, txn: &mut Txn<'_>) {
        let plain = record::encode(VERSION, self);
        let options = ObjectOptions {
            expires_at: self.began_ms.saturating_add(SESSION_MS),
            ..ObjectOptions::default()
        };
        txn.put_object(ATTEMPT, Kind::RootAttempt, plain.expose(), options);
    }

    /// Removes it with all that was shown.
    pub(super) fn remove(txn: &mut Txn<'_>) {
        txn.delete_object(ATTEMPT);
    }
}

const ATTEMPT: ObjectId = ObjectId::well_known(45);
const VERSION: u8 = 1;
