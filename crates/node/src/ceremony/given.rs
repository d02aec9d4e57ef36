//! Shares that were shown, and what every session has.

use aumbry_auth::Answer;
use aumbry_barrier::{DamagedRow, Txn};
use aumbry_crypto::equal;
use aumbry_crypto::seal::{SealConfig, ShareError, Submitted, Unseal, unwrap_keyring};
use aumbry_logical::{Body, Object};
use aumbry_state::key;
use aumbry_types::{Entropy, SecretBytes, SecretKey, exposed, hex};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::share_text;
use crate::{Class, Failure};

/// Shares that count. Invariant: each is right and there once, fewer than open the seal.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Given(Vec<Share>);

#[derive(Serialize, Deserialize)]
struct Share(#[serde(with = "exposed")] SecretBytes);

impl Given {
    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }

    /// Takes one more share of this seal. Gives the root key with the last one that is needed; the others are forgotten then.
    ///
    /// # Errors
    /// [`Failure`] if the share is none of this seal, or counts already.
    pub(super) fn take(&mut self, config: &SealConfig, share: &SecretBytes) -> Result<Option<SecretKey>, Failure> {
        let mut unseal = Unseal::new(config.clone());
        for Share(before) in &self.0 {
            unseal.submit(before.expose()).map_err(wrong_share)?;
        }
        match unseal.submit(share.expose()).map_err(wrong_share)? {
            Submitted::Progress { .. } => {
                self.0.push(Share(share.duplicate()));
                Ok(None)
            }
            Submitted::Opened(root) => {
                self.0.clear();
                Ok(Some(root))
            }
        }
    }
}

/// The share of a body.
pub(super) fn read_key(body: &Body) -> Result<Option<SecretBytes>, aumbry_auth::Error> {
    let share = body.secret("key")?.filter(|share| !share.is_empty());
    Ok(share.map(|share| share_text::read(share.expose())))
}

/// The nonce of a body.
pub(super) fn read_nonce(body: &Body) -> Result<String, aumbry_auth::Error> {
    Ok(body.text("nonce")?.unwrap_or_default())
}

/// What a session, or the trial of its shares, is known by: in the form that clients check.
pub(super) fn make_nonce(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    let text = hex::encode(&bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// Whether this is the nonce.
pub(super) fn is_nonce(nonce: &str, shown: &str) -> bool {
    equal(nonce.as_bytes(), shown.as_bytes())
}

/// The committed configuration, recorded: shares that are replaced meanwhile are a conflict.
pub(super) fn read_config(txn: &mut Txn<'_>) -> Result<SealConfig, Failure> {
    let row = txn.read_row(&key::seal_config())?.ok_or_else(Failure::uninitialised)?;
    let config = SealConfig::decode(&row.body).map_err(|_| DamagedRow)?;
    if config.storage_id != txn.barrier().storage_id() {
        // Initialised again since this node was unsealed: its keys open nothing any more.
        return Err(Failure::sealed());
    }
    Ok(config)
}

/// Shares that open another key than that of the stored keys must never be the ones that count.
pub(super) fn check_root(txn: &mut Txn<'_>, root: &SecretKey) -> Result<(), Failure> {
    let keyring = txn.read_row(&key::keyring())?.ok_or(DamagedRow)?;
    let opened = unwrap_keyring(root, txn.barrier().storage_id(), &keyring.body);
    opened.map(drop).map_err(|_| damaged())
}

pub(super) fn damaged() -> Failure {
    Failure::new(
        Class::Internal,
        "DAMAGED_ROW",
        "the shares are right, but the stored keys do not open with them; nothing was changed",
    )
}

fn wrong_share(error: ShareError) -> Failure {
    Failure::new(Class::InvalidArgument, "INVALID_SHARE", error.to_string())
}

pub(super) fn refused(reason: &'static str, text: &str) -> Failure {
    Failure::new(Class::InvalidArgument, reason, text)
}

pub(super) fn told(value: Value) -> Answer {
    match value {
        Value::Object(object) => Answer::of(object),
        _ => Answer::of(Object::new()),
    }
}
