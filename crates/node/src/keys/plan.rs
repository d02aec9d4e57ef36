//! Plans requests about keys.

use aumbry_auth::{Answer, Error, timestamp};
use aumbry_barrier::{DamagedRow, Kind, Txn};
use aumbry_crypto::keyring::{Keyring, RotationError, Series};
use aumbry_logical::{Body, Object};
use aumbry_state::{Counters, Put, Row, Write, key};
use aumbry_types::{LogIndex, ObjectId};
use bytes::Bytes;
use serde_json::{Value, json};

use super::care::{Care, USES_MAX};
use super::request::Request;
use crate::Failure;
use crate::method::failure;

/// Plans a request.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub(crate) fn plan(txn: &mut Txn<'_>, request: &Request) -> Result<Answer, Error> {
    match request {
        Request::Status => {
            let (row, care) = (keyring_row(txn)?, Care::read(txn)?);
            let install_ms = if care.rotated_ms == 0 {
                row.created
            } else {
                care.rotated_ms
            };
            Ok(Answer::of(object(json!({
                "term": txn.barrier().keyring().term(),
                "install_time": timestamp(install_ms),
                "encryptions": row.counters[0],
            }))))
        }
        Request::Rotate => rotate(txn).map(|()| Answer::done()),
        Request::ReadConfig => {
            let care = Care::read(txn)?;
            Ok(Answer::of(object(json!({
                "enabled": care.is_automatic,
                "max_operations": care.uses_max,
                "interval": care.interval_ms / 1_000,
            }))))
        }
        Request::WriteConfig(body) => configure(txn, body),
        Request::Progress => progress(txn),
        Request::Retire(body) => {
            let is_forced = body.flag("force")?.unwrap_or(false);
            retire(txn, is_forced).and_then(|gone| {
                if gone.is_empty() {
                    return Err(Error::Invalid(
                        "the current term is the only one; make a new one first with sys/rotate",
                    ));
                }
                Ok(Answer::of(object(json!({ "retired": gone }))))
            })
        }
    }
}

/// Makes a new term, which seals whatever is written from then on.
///
/// # Errors
/// [`Error`] if the keyring is full or damaged.
fn rotate(txn: &mut Txn<'_>) -> Result<(), Error> {
    let row = keyring_row(txn)?;
    let entropy = txn.entropy();
    let at = LogIndex(row.rev.index);
    let body = txn.barrier().change_keyring(&row.body, entropy, |keyring| {
        keyring.rotate(Series::Data, at, entropy).map_err(refused).map(drop)
    })?;
    write_keyring(txn, body, Counters::Set([0, 0]));
    let mut care = Care::read(txn)?;
    care.rotated_ms = txn.now().0;
    care.write(txn);
    Ok(())
}

/// As [`rotate`], for the leader's round: whether there is anything to do, once it is looked at again.
///
/// # Errors
/// [`Failure`]
pub(crate) fn rotate_now(txn: &mut Txn<'_>) -> Result<bool, Failure> {
    if is_due(txn)? != Some(Due::Rotation) {
        return Ok(false);
    }
    rotate(txn).map(|()| true).map_err(failure)
}

/// As [`retire`], for the leader's round.
///
/// # Errors
/// [`Failure`]
pub(crate) fn retire_now(txn: &mut Txn<'_>) -> Result<bool, Failure> {
    if is_due(txn)? != Some(Due::Retirement) {
        return Ok(false);
    }
    retire(txn, false).map(|gone| !gone.is_empty()).map_err(failure)
}

/// Takes away what hands over the key of a new root key: who was not there for so long is opened with the shares.
///
/// # Errors
/// [`Failure`]
pub(crate) fn end_handover(txn: &mut Txn<'_>) -> Result<bool, Failure> {
    if is_due(txn)? != Some(Due::HandoverEnd) {
        return Ok(false);
    }
    txn.read_row(&key::keyring_handover())?;
    txn.write(Write::Delete(key::keyring_handover()));
    Ok(true)
}

/// Takes out the terms that nothing uses. Gives their numbers.
///
/// # Errors
/// [`Error`] says what still uses them.
fn retire(txn: &mut Txn<'_>, is_forced: bool) -> Result<Vec<u32>, Error> {
    let row = keyring_row(txn)?;
    let care = Care::read(txn)?;
    let keyring = txn.barrier().keyring();
    let term = keyring.term();
    let old: Vec<u32> = old_terms(keyring).collect();
    if old.is_empty() {
        return Ok(old);
    }
    if !care.is_done(term) {
        return Err(Error::Invalid(
            "what older terms seal is being sealed anew; sys/rotate/progress tells how far: try again when it has ended",
        ));
    }
    if care.pass.as_ref().is_some_and(|pass| pass.damaged > 0) {
        return Err(Error::Invalid(
            "there are rows that do not open and so were not sealed anew; compare `aumbry operator status` of the nodes before a term goes",
        ));
    }
    if !is_forced && txn.now().0 < care.rotated_ms.saturating_add(BATCH_TOKEN_MS) {
        return Err(Error::Invalid(
            "batch tokens of older terms may live for 32 days after the last rotation; force=true ends them now",
        ));
    }
    let body = txn.barrier().change_keyring(&row.body, txn.entropy(), |keyring| {
        let gone = old.iter().try_for_each(|number| keyring.retire(Series::Data, *number));
        gone.map_err(refused)
    })?;
    write_keyring(txn, body, Counters::Keep);
    Ok(old)
}

/// What the keys need by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A new term.
    Rotation,
    /// Terms taken out.
    Retirement,
    /// What hands over the key of a new root key taken away.
    HandoverEnd,
}

/// Whether something is due now.
///
/// # Errors
/// [`DamagedRow`]
pub(super) fn is_due(txn: &mut Txn<'_>) -> Result<Option<Due>, DamagedRow> {
    let row = txn.peek_row(&key::keyring())?.ok_or(DamagedRow)?;
    let handover = txn.peek_row(&key::keyring_handover())?;
    if handover.is_some_and(|given| txn.now().0 >= given.created.saturating_add(HANDOVER_MS)) {
        return Ok(Some(Due::HandoverEnd));
    }
    let care = Care::read(txn)?;
    if !care.is_automatic {
        return Ok(None);
    }
    let now = txn.now().0;
    let since_ms = if care.rotated_ms == 0 {
        row.created
    } else {
        care.rotated_ms
    };
    let is_old = care.interval_ms > 0 && now.saturating_sub(since_ms) >= care.interval_ms;
    let keyring = txn.barrier().keyring();
    if is_old || row.counters[0] >= care.uses_max {
        return Ok(Some(Due::Rotation));
    }
    let is_whole = care.pass.as_ref().is_some_and(|pass| pass.damaged == 0);
    let is_past = now >= care.rotated_ms.saturating_add(BATCH_TOKEN_MS);
    let is_unused = care.is_done(keyring.term()) && is_whole && is_past;
    Ok((is_unused && old_terms(keyring).next().is_some()).then_some(Due::Retirement))
}

fn configure(txn: &mut Txn<'_>, body: &Body) -> Result<Answer, Error> {
    let mut care = Care::read(txn)?;
    if let Some(enabled) = body.flag("enabled")? {
        care.is_automatic = enabled;
    }
    if let Some(uses) = body.count("max_operations")? {
        if !(USES_MIN..=USES_MAX).contains(&uses) {
            return Err(Error::Invalid("max_operations is 1,048,576 to 3,865,470,566"));
        }
        care.uses_max = uses;
    }
    if let Some(interval_s) = body.seconds("interval")? {
        if interval_s != 0 && !(INTERVAL_S_MIN..=INTERVAL_S_MAX).contains(&interval_s) {
            return Err(Error::Invalid("interval is an hour to ten years, or 0 for never"));
        }
        care.interval_ms = interval_s * 1_000;
    }
    care.write(txn);
    Ok(Answer::done())
}

fn progress(txn: &mut Txn<'_>) -> Result<Answer, Error> {
    let care = Care::read(txn)?;
    let keyring = txn.barrier().keyring();
    let terms: Vec<u32> = keyring.generations(Series::Data).map(|(number, _)| number).collect();
    let pass = care.pass.filter(|pass| pass.term == keyring.term());
    let state = match &pass {
        _ if terms.len() == 1 => "none",
        Some(pass) if pass.ended_ms > 0 => "done",
        _ => "running",
    };
    Ok(Answer::of(object(json!({
        "state": state,
        "term": keyring.term(),
        "terms": terms,
        "rows": pass.as_ref().map_or(0, |pass| pass.rows),
        "damaged": pass.as_ref().map_or(0, |pass| pass.damaged),
        "started": pass.as_ref().map(|pass| timestamp(pass.began_ms)),
        "finished": pass.as_ref().filter(|pass| pass.ended_ms > 0).map(|pass| timestamp(pass.ended_ms)),
    }))))
}

fn old_terms(keyring: &Keyring) -> impl Iterator<Item = u32> {
    let term = keyring.term();
    keyring
        .generations(Series::Data)
        .map(|(number, _)| number)
        .filter(move |number| *number != term)
}

/// The stored keyring, recorded: a change meanwhile is a conflict.
fn keyring_row(txn: &mut Txn<'_>) -> Result<Row, DamagedRow> {
    txn.read_row(&key::keyring())?.ok_or(DamagedRow)
}

/// Replaces the wrapped keyring.
pub(crate) fn write_keyring(txn: &mut Txn<'_>, body: Bytes, counters: Counters) {
    txn.write(Write::Put(Put {
        key: key::keyring(),
        kind: Kind::Cluster as u8,
        expires_at: 0,
        counters,
        key_term: 0,
        container: ObjectId::well_known(0),
        body,
    }));
}

const fn refused(error: RotationError) -> Error {
    Error::Invalid(match error {
        RotationError::Full => {
            "the keyring holds 1,024 terms, which is the most: take old ones out with sys/rotate/retire"
        }
        RotationError::Current => "the current term cannot be taken out",
        RotationError::Unknown => "there is no such term any more",
    })
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// An hour: a node that is open and cut off for longer is opened with the new shares.
const HANDOVER_MS: u64 = 3_600_000;
/// The longest life of a token: 32 days.
const BATCH_TOKEN_MS: u64 = 32 * 24 * 3_600 * 1_000;
/// A block of reserved uses: less would make a new term with every leader.
const USES_MIN: u64 = 1 << 20;
const INTERVAL_S_MIN: u64 = 3_600;
const INTERVAL_S_MAX: u64 = 10 * 365 * 24 * 3_600;
