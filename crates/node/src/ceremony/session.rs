//! What every ceremony under way is: one row, which ends an hour after it began, and with the shares that it was begun for.

use aumbry_auth::Answer;
use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_crypto::seal::SealConfig;
use aumbry_types::ObjectId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::given::{is_nonce, refused};
use crate::Failure;

/// A ceremony under way.
pub(super) trait Session: Serialize + DeserializeOwned {
    /// Where it is kept: one at a time.
    const ROW: ObjectId;
    /// What the row is.
    const KIND: Kind;
    /// What is said to whoever shows another nonce.
    const NOT_THIS: &'static str;

    /// What shares are shown to it by.
    fn nonce(&self) -> &str;

    /// When it began, in log time (ms).
    fn began_ms(&self) -> u64;

    /// The epoch of the shares that it was begun for.
    fn epoch(&self) -> u32;

    /// The session under way, recorded. One that is too old, or whose shares were replaced meanwhile, is none.
    fn read(txn: &mut Txn<'_>, config: &SealConfig) -> Result<Option<Self>, DamagedRow> {
        let Some(object) = txn.read_object(Self::ROW, Self::KIND)? else {
            return Ok(None);
        };
        if object.expires_at <= txn.now().0 {
            return Ok(None);
        }
        let session: Self = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
        Ok((session.epoch() == config.epoch).then_some(session))
    }

    /// Writes it. It ends an hour after it began, whatever is done meanwhile.
    fn write(&self, txn: &mut Txn<'_>) {
        let plain = record::encode(VERSION, self);
        let options = ObjectOptions {
            expires_at: self.began_ms().saturating_add(SESSION_MS),
            ..ObjectOptions::default()
        };
        txn.put_object(Self::ROW, Self::KIND, plain.expose(), options);
    }

    /// Removes it with all that was shown.
    fn remove(txn: &mut Txn<'_>) {
        txn.delete_object(Self::ROW);
    }

    /// Whether what is shown with this nonce is meant for it.
    ///
    /// # Errors
    /// [`Failure`] if not.
    fn check(&self, shown: &str) -> Result<(), Failure> {
        check::<Self>(self.nonce(), shown)
    }
}

/// Whether what is shown with this nonce is meant for that one, of a session or of a part of it.
///
/// # Errors
/// [`Failure`] if not.
pub(super) fn check<S: Session>(nonce: &str, shown: &str) -> Result<(), Failure> {
    match is_nonce(nonce, shown) {
        true => Ok(()),
        false => Err(refused("WRONG_NONCE", S::NOT_THIS)),
    }
}

/// Ends it; with a nonce only the one that has it. Without one under way there is nothing left to end.
///
/// # Errors
/// [`Failure`] if another one is under way.
pub(super) fn cancel<S: Session>(txn: &mut Txn<'_>, session: Option<&S>, nonce: &str) -> Result<Answer, Failure> {
    if let Some(session) = session {
        if !nonce.is_empty() {
            session.check(nonce)?;
        }
        S::remove(txn);
    }
    Ok(Answer::done())
}

const VERSION: u8 = 1;
/// As long as a meeting of the custodians takes; shares that were shown do not lie around for longer.
pub(super) const SESSION_MS: u64 = 3_600_000;
