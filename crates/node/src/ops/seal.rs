//! Further seals: the root key, wrapped under keys of their own.
//!
//! The root key is in no node's memory: it opens the keyring and is wiped. So whoever adds a seal shows shares, and the leader has the
//! root key for as long as this plan takes. A token alone, even root's, cannot make a second way in.

use aumbry_barrier::{Kind, Txn};
use aumbry_crypto::envelope;
use aumbry_crypto::seal::{
    KeyId, KeySeal, OuterBinding, OuterKey, SealConfig, StaticKey, Submitted, Unseal, unwrap_keyring,
};
use aumbry_state::{Counters, Put, Row, Write, key};
use aumbry_types::{SecretBytes, SecretKey};

use crate::seal::{KEY_SEALS_MAX, SHARES};
use crate::{Class, Failure, Reply, SealInfo};

/// Wraps the root key under this key, which something outside may have wrapped.
pub(super) fn add(
    txn: &mut Txn<'_>,
    seal_key: &StaticKey,
    shares: &[SecretBytes],
    outer: Option<&(OuterKey, OuterBinding)>,
) -> Result<Reply, Failure> {
    let (_, config) = read_config(txn)?;
    let (storage_id, entropy) = (txn.barrier().storage_id(), txn.entropy());
    if config.storage_id != storage_id {
        // Initialised again since this node was unsealed: its keys open nothing any more.
        return Err(Failure::sealed());
    }
    let root = combine(config, shares)?;
    let keyring = txn.read_row(&key::keyring())?.ok_or_else(damaged)?.body;
    unwrap_keyring(&root, storage_id, &keyring).map_err(|_| damaged())?;
    let root_epoch = envelope::term(&keyring).map_err(|_| damaged())?;

    let seal = match outer {
        None => KeySeal::make_static(seal_key, storage_id, root_epoch, &root, entropy),
        Some((outer, bound)) => {
            if (bound.storage_id, bound.root_epoch, bound.key_id) != (storage_id, root_epoch, seal_key.id()) {
                let text = "the key was wrapped for another store, or for a root key that was replaced meanwhile; add the seal again";
                return Err(Failure::new(Class::FailedPrecondition, "SEAL_BINDING", text));
            }
            KeySeal::make_outer(seal_key, outer.clone(), bound, &root, entropy)
        }
    };
    let row_key = key::key_seal(*seal.key_id.as_bytes());
    txn.fence_scan(key::KEY_SEALS)?;
    let before = txn.read_row(&row_key)?;
    let is_current = |row: &Row| KeySeal::decode(&row.body).is_ok_and(|seal| seal.root_epoch == root_epoch);
    if before.as_ref().is_some_and(is_current) {
        let text = "this key opens a seal of the cluster already";
        return Err(Failure::new(Class::AlreadyExists, "SEAL_EXISTS", text));
    }
    if before.is_none() && txn.container(key::KEY_SEALS)?.children >= KEY_SEALS_MAX as u64 {
        let text = format!("there are {KEY_SEALS_MAX} such seals; remove one that is not needed");
        return Err(Failure::new(Class::ResourceExhausted, "TOO_MANY_SEALS", text));
    }
    txn.write(Write::Put(Put {
        key: row_key,
        kind: Kind::KeySeal as u8,
        expires_at: 0,
        counters: Counters::Set([0, 0]),
        key_term: 0,
        container: key::KEY_SEALS,
        body: seal.encode().into(),
    }));
    Ok(Reply::Seals(vec![info(&seal, txn.now().0, root_epoch)]))
}

/// Tells all seals, the shares first.
pub(super) fn list(txn: &mut Txn<'_>) -> Result<Reply, Failure> {
    let (row, config) = read_config(txn)?;
    let keyring = txn.read_row(&key::keyring())?.ok_or_else(damaged)?;
    let root_epoch = envelope::term(&keyring.body).map_err(|_| damaged())?;
    let mut seals = vec![SealInfo {
        kind: SHARES.to_owned(),
        key_id: String::new(),
        epoch: config.epoch,
        added: row.created,
        shares: (config.threshold, config.shares),
        current: true,
        name: String::new(),
    }];
    txn.fence_scan(key::KEY_SEALS)?;
    for (_, row) in txn.scan_rows(&key::key_seals_prefix(), None, KEY_SEALS_MAX) {
        let row = Row::decode(&row).map_err(|_| damaged())?;
        let seal = KeySeal::decode(&row.body).map_err(|_| damaged())?;
        seals.push(info(&seal, row.created, root_epoch));
    }
    Ok(Reply::Seals(seals))
}

/// Removes the seal of this key.
pub(super) fn remove(txn: &mut Txn<'_>, id: KeyId) -> Result<Reply, Failure> {
    let row_key = key::key_seal(*id.as_bytes());
    if txn.read_row(&row_key)?.is_none() {
        let text = "no seal is opened by this key; see `aumbry operator seals list`";
        return Err(Failure::new(Class::NotFound, "NO_SUCH_SEAL", text));
    }
    txn.write(Write::Delete(row_key));
    Ok(Reply::Done)
}

/// The committed configuration with its row, recorded: a rekey meanwhile is a conflict.
fn read_config(txn: &mut Txn<'_>) -> Result<(Row, SealConfig), Failure> {
    let row = txn.read_row(&key::seal_config())?.ok_or_else(Failure::uninitialised)?;
    let config = SealConfig::decode(&row.body).map_err(|_| damaged())?;
    Ok((row, config))
}

/// The root key, from shares that are shown at once. Shares beyond the threshold are not looked at.
fn combine(config: SealConfig, shares: &[SecretBytes]) -> Result<SecretKey, Failure> {
    let mut unseal = Unseal::new(config);
    for share in shares {
        match unseal.submit(share.expose()) {
            Ok(Submitted::Opened(root)) => return Ok(root),
            Ok(Submitted::Progress { .. }) => {}
            Err(error) => return Err(Failure::new(Class::InvalidArgument, "INVALID_SHARE", error.to_string())),
        }
    }
    let (have, need) = (unseal.have(), unseal.config().threshold);
    let text = format!("{have} of {need} key shares were shown; a seal is added with as many as open the cluster");
    Err(Failure::new(Class::InvalidArgument, "TOO_FEW_SHARES", text))
}

fn info(seal: &KeySeal, added: u64, root_epoch: u32) -> SealInfo {
    SealInfo {
        kind: seal.kind.name().to_owned(),
        key_id: seal.key_id.to_string(),
        epoch: seal.root_epoch,
        added,
        shares: (0, 0),
        current: seal.root_epoch == root_epoch,
        name: seal
            .outer
            .as_ref()
            .map_or_else(String::new, |outer| outer.name().to_owned()),
    }
}

fn damaged() -> Failure {
    Failure::new(Class::Internal, "DAMAGED_ROW", "a stored row of the seal is damaged")
}
