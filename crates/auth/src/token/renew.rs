//! Renewal: a later expiry, within the limits set at creation.

use aumbry_barrier::{DamagedRow, Kind, Object, ObjectOptions, Txn};
use aumbry_state::{Counters, key};
use aumbry_types::ObjectId;

use super::lifetime::Lifetime;
use super::record::{Alias, Info, Record};

/// Why a token was not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// No such token.
    #[error("no such token")]
    NotFound,
    /// It was created not to be renewed, or never expires.
    #[error("the token is not renewable")]
    NotRenewable,
    /// What it comes from is gone.
    #[error("the role or user that the token comes from is gone; log in again")]
    SourceGone,
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

/// Renews a token for so many seconds from now (0: for as long as it was issued for), never past its limits. A periodic token is
/// renewed for its period, whatever is asked.
///
/// # Errors
/// [`RenewError`]
pub fn renew(txn: &mut Txn<'_>, id: ObjectId, increment_s: u64) -> Result<Info, RenewError> {
    let (record, mut object) = live(txn, id)?;
    if !record.renewable || object.expires_at == 0 {
        return Err(RenewError::NotRenewable);
    }
    if let Some(source) = record.source
        && txn.read_row(&key::object(source))?.is_none()
    {
        return Err(RenewError::SourceGone);
    }
    let now = txn.now();
    let lifetime = Lifetime {
        wanted_s: if increment_s == 0 { record.ttl_s } else { increment_s },
        max_s: record.max_ttl_s,
        explicit_max_s: record.explicit_max_ttl_s,
        period_s: record.period_s,
    };
    object.expires_at = lifetime.end(record.issued, now.0);
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

/// What decides what a token may do.
pub struct Holder {
    /// Where the policies are.
    pub namespace: ObjectId,
    /// The token's own policies, sorted.
    pub policies: Vec<String>,
    /// Whose it is, and the login that it comes from.
    pub who: Option<(ObjectId, Option<Alias>)>,
}

/// What decides what a token may do, whether or not it still can.
///
/// # Errors
/// [`DamagedRow`]
pub fn holder(txn: &Txn<'_>, id: ObjectId) -> Result<Option<Holder>, DamagedRow> {
    let found = Record::peek(txn, id)?;
    Ok(found.map(|(record, _)| Holder {
        namespace: record.namespace,
        policies: record.policies,
        who: record.entity.map(|entity| (entity, record.alias)),
    }))
}

/// The login that a token was given to, if it was given to one itself. What was made with it later has no part in that.
///
/// # Errors
/// [`DamagedRow`]
pub fn login_of(txn: &Txn<'_>, id: ObjectId) -> Result<Option<Alias>, DamagedRow> {
    let found = Record::peek(txn, id)?;
    Ok(found.and_then(|(record, _)| record.home.and(record.alias)))
}

fn live(txn: &mut Txn<'_>, id: ObjectId) -> Result<(Record, Object), RenewError> {
    let (record, object) = Record::read(txn, id)?.ok_or(RenewError::NotFound)?;
    check_standing(txn, &record, &object)?;
    // A token below a revoked one is only waiting for the sweep.
    let mut next = record.parent;
    for _ in 0..=record.depth {
        let Some(parent) = next else {
            return Ok((record, object));
        };
        let (parent, parent_object) = Record::peek(txn, parent)?.ok_or(RenewError::NotFound)?;
        check_standing(txn, &parent, &parent_object)?;
        next = parent.parent;
    }
    Err(RenewError::NotFound)
}

/// Neither expired nor, if it was given to a login, of a mount that is gone.
fn check_standing(txn: &Txn<'_>, record: &Record, object: &Object) -> Result<(), RenewError> {
    let is_expired = object.expires_at != 0 && object.expires_at <= txn.now().0;
    let is_homeless = match record.home {
        Some(home) => txn.container(home)?.revoked,
        None => false,
    };
    if is_expired || is_homeless {
        return Err(RenewError::NotFound);
    }
    Ok(())
}
