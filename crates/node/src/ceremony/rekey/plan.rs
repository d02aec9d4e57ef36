//! Plans requests about new shares.

use aumbry_auth::{Answer, Caller};
use aumbry_barrier::Txn;
use aumbry_crypto::recipient::Recipients;
use aumbry_crypto::seal::{SealConfig, make_seal};
use aumbry_crypto::share::Share;
use aumbry_state::{Counters, key};
use aumbry_types::SecretKey;
use serde_json::{Value, json};

use super::super::given::{Given, check_root, damaged, make_nonce, read_config, refused, told};
use super::super::session::{Session as _, cancel, check};
use super::super::share_text;
use super::request::{Request, Shown, Start};
use super::session::{Pending, Session};
use crate::genesis::clear_row;
use crate::{Failure, keys};

/// Plans a request.
///
/// # Errors
/// [`Failure`]; what was written to the transaction until then must be abandoned.
pub(crate) fn plan(txn: &mut Txn<'_>, caller: &Caller, request: &Request) -> Result<Answer, Failure> {
    let config = read_config(txn)?;
    let session = Session::read(txn, &config)?;
    match request {
        Request::Status => Ok(told(status(&config, session.as_ref()))),
        Request::Start(asked) => start(txn, caller, &config, session.as_ref(), asked),
        Request::Cancel(nonce) => cancel(txn, session.as_ref(), nonce),
        Request::Update(shown) => update(txn, config, session.ok_or_else(no_session)?, shown),
        Request::VerifyStatus => trial(&session.ok_or_else(no_session)?),
        Request::Verify(shown) => verify(txn, session.ok_or_else(no_session)?, shown),
        Request::VerifyReset(nonce) => {
            let mut session = session.ok_or_else(no_session)?;
            let pending = session.pending.as_mut().ok_or_else(not_made)?;
            if !nonce.is_empty() {
                check::<Session>(&pending.nonce, nonce)?;
            }
            pending.nonce = make_nonce(txn.entropy());
            pending.given = Given::default();
            session.write(txn);
            trial(&session)
        }
    }
}

fn start(
    txn: &mut Txn<'_>,
    caller: &Caller,
    config: &SealConfig,
    before: Option<&Session>,
    asked: &Start,
) -> Result<Answer, Failure> {
    if before.is_some() {
        return Err(refused(
            "REKEY_IN_PROGRESS",
            "a rekey is under way; end it first with DELETE sys/rekey/init or `aumbry operator rekey --cancel`",
        ));
    }
    read_recipients(&asked.recipients, asked.shares)?;
    let session = Session {
        nonce: make_nonce(txn.entropy()),
        began_by: caller.accessor.to_string(),
        began_ms: txn.now().0,
        epoch: config.epoch,
        shares: asked.shares,
        threshold: asked.threshold,
        verifies: asked.verifies,
        rotates_root: asked.rotates_root,
        recipients: asked.recipients.clone(),
        given: Given::default(),
        pending: None,
    };
    session.write(txn);
    Ok(told(status(config, Some(&session))))
}

/// Takes an old share. With the last one the new ones are made.
fn update(txn: &mut Txn<'_>, config: SealConfig, mut session: Session, shown: &Shown) -> Result<Answer, Failure> {
    session.check(&shown.nonce)?;
    if session.pending.is_some() {
        return Err(refused(
            "REKEY_SHARES_MADE",
            "the new shares were made and told; try them with sys/rekey/verify, or begin again if they were lost",
        ));
    }
    let root = session.given.take(&config, &shown.share)?;
    let Some(root) = root else {
        session.write(txn);
        return Ok(told(status(&config, Some(&session))));
    };
    check_root(txn, &root)?;
    let epoch = config.epoch.checked_add(1).ok_or_else(damaged)?;
    let entropy = txn.entropy();
    let next = session.rotates_root.then(|| SecretKey::make(entropy));
    let made = make_seal(
        config.storage_id,
        epoch,
        session.shares,
        session.threshold,
        next.as_ref().unwrap_or(&root),
        entropy,
    );
    let (made, shares) = made.map_err(|error| Failure::invalid(error.to_string()))?;
    let mut texts: Vec<_> = shares.iter().map(Share::expose_text).collect();
    if let Some(recipients) = read_recipients(&session.recipients, session.shares)? {
        texts = recipients.encrypt(&texts, entropy);
    }
    let texts = texts.iter().map(share_text::write);
    let (keys, keys_base64): (Vec<_>, Vec<_>) = texts.unzip();
    let mut answer = json!({
        "nonce": session.nonce,
        "complete": true,
        "keys": keys,
        "keys_base64": keys_base64,
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": session.verifies,
    });
    if session.verifies {
        let pending = Pending::new(&made, entropy);
        answer["verification_nonce"] = json!(pending.nonce);
        session.pending = Some(pending);
        session.write(txn);
    } else {
        replace(txn, made, next.as_ref())?;
    }
    Ok(told(answer))
}

/// Takes a new share. With the last one they replace the old ones.
fn verify(txn: &mut Txn<'_>, mut session: Session, shown: &Shown) -> Result<Answer, Failure> {
    let pending = session.pending.as_mut().ok_or_else(not_made)?;
    check::<Session>(&pending.nonce, &shown.nonce)?;
    let made = pending.config()?;
    let root = pending.given.take(&made, &shown.share)?;
    let Some(root) = root else {
        session.write(txn);
        return trial(&session);
    };
    let next = session.rotates_root.then_some(&root);
    if next.is_none() {
        check_root(txn, &root)?;
    }
    let nonce = pending.nonce.clone();
    replace(txn, made, next)?;
    Ok(told(json!({ "nonce": nonce, "complete": true })))
}

/// The one entry in which the new shares take the place of the old ones, and a new root key that of the old one.
fn replace(txn: &mut Txn<'_>, mut made: SealConfig, next: Option<&SecretKey>) -> Result<(), Failure> {
    made.confirmed = true;
    if let Some(root) = next {
        let row = txn.read_row(&key::keyring())?.ok_or_else(damaged)?;
        let (keyring, handover) = txn.barrier().change_root(&row.body, root, txn.entropy())?;
        keys::write_keyring(txn, keyring, Counters::Keep);
        txn.write(clear_row(key::keyring_handover(), handover, [0, 0]));
    }
    txn.write(clear_row(key::seal_config(), made.encode().into(), [0, 0]));
    Session::remove(txn);
    Ok(())
}

fn read_recipients(texts: &[String], shares: u8) -> Result<Option<Recipients>, Failure> {
    Recipients::parse(texts, shares).map_err(|error| refused("INVALID_RECIPIENT", &format!("age_recipients: {error}")))
}

fn status(config: &SealConfig, session: Option<&Session>) -> Value {
    let pending = session.and_then(|session| session.pending.as_ref());
    let mut told = json!({
        "started": session.is_some(),
        "nonce": session.map_or("", |session| session.nonce.as_str()),
        "t": session.map_or(0, |session| session.threshold),
        "n": session.map_or(0, |session| session.shares),
        "progress": session.map_or(0, |session| session.given.count()),
        "required": config.threshold,
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": session.is_some_and(|session| session.verifies),
        "rotate_root": session.is_some_and(|session| session.rotates_root),
    });
    if let Some(session) = session {
        // Who shows a share sees whom the new ones are for.
        told["age_recipients"] = json!(session.recipients);
        told["started_by"] = json!(session.began_by);
        told["started_at"] = json!(aumbry_auth::timestamp(session.began_ms));
    }
    if let Some(pending) = pending {
        told["verification_nonce"] = json!(pending.nonce);
    }
    told
}

/// How far the new shares are tried.
fn trial(session: &Session) -> Result<Answer, Failure> {
    let pending = session.pending.as_ref().ok_or_else(not_made)?;
    Ok(told(json!({
        "started": true,
        "nonce": pending.nonce,
        "t": session.threshold,
        "n": session.shares,
        "progress": pending.given.count(),
        "complete": false,
    })))
}

fn no_session() -> Failure {
    refused(
        "NO_REKEY",
        "no rekey is under way, or it ended an hour after it began; begin with sys/rekey/init or `aumbry operator rekey`",
    )
}

fn not_made() -> Failure {
    refused(
        "NO_NEW_SHARES",
        "there are no new shares to be tried yet; show old ones with sys/rekey/update",
    )
}
