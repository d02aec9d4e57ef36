//! Renewal: a later expiry, within the limits set at creation.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn};
use aumbry_state::Counters;
use aumbry_types::ObjectId;

use super::record::{Info, Record, TTL_S_MAX};

/// Why a token was not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// No such token.
    #[error("no such token")]
    NotFound,
    /// It was created not to be renewed, or never expires.
    #[error("the token is not renewable")]
    NotRenewable,
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

/// Renews a token for so many seconds from now (0: for as long as it was issued for), never past its limits.
///
/// # Errors
/// [`RenewError`]
pub fn renew(txn: &mut Txn<'_>, id: ObjectId, increment_s: u64) -> Result<Info, RenewError> {
    let (record, mut object) = live(txn, id)?;
    if !record.renewable || object.expires_at == 0 {
        return Err(RenewError::NotRenewable);
    }
    let now = txn.now();
    let seconds = match increment_s {
        0 => record.ttl_s,
        seconds => seconds,
    };
    let limit_s = match record.explicit_max_ttl_s {
        0 => TTL_S_MAX,
        seconds => seconds.min(TTL_S_MAX),
    };
    let limit = record.issued.saturating_add(limit_s.saturating_mul(1_000));
    let wanted = now.plus_ms(seconds.saturating_mul(1_000)).0;
    // Zero would mean "never"; a token that is alive has an expiry above zero, and the limit is not below its issue.
    object.expires_at = wanted.min(limit).max(1);
    let options = ObjectOptions {
        expires_at: object.expires_at,
        counters: Counters::Keep,
        container: object.container,
    };
    txn.put_object(id, Kind::Token, record.encode().expose(), options);
    Ok(record.info(&object, now.0))
}

/// What is told of a token.
///
/// # Errors
/// [`RenewError::NotFound`] or [`RenewError::Damaged`].
pub fn info(txn: &mut Txn<'_>, id: ObjectId) -> Result<Info, RenewError> {
    let (record, object) = live(txn, id)?;
    Ok(record.info(&object, txn.now().0))
}

fn live(txn: &mut Txn<'_>, id: ObjectId) -> Result<(Record, aumbry_barrier::Object), RenewError> {
    let (record, object) = Record::read(txn, id)?.ok_or(RenewError::NotFound)?;
    if object.expires_at != 0 && object.expires_at <= txn.now().0 {
        return Err(RenewError::NotFound);
    }
    // A token below a revoked one is only waiting for the sweep.
    let mut next = record.parent;
    for _ in 0..=record.depth {
        let Some(parent) = next else {
            return Ok((record, object));
        };
        let (parent, parent_object) = Record::peek(txn, parent)?.ok_or(RenewError::NotFound)?;
        if parent_object.expires_at != 0 && parent_object.expires_at <= txn.now().0 {
            return Err(RenewError::NotFound);
        }
        next = parent.parent;
    }
    Err(RenewError::NotFound)
}
