//! The seal: key shares open a seed, the seed opens the root key, the root key opens the keyring.
//!
//! ```text
//! shares -> S;  KEK = derive_key(S, label, storage_id | epoch);  KEK wraps the root key;  derive_key(root) wraps the keyring
//! ```
//!
//! Further seals, each opened by one key, wrap the same root key ([`KeySeal`]). Any one seal opens the keyring.
//!
//! What it guarantees: the root key is neither shared nor derived from the shares, so that a rekey changes one wrap of 32
//! bytes and the keyring stays as it is. Every share is checked alone, by a digest in the committed configuration, and a
//! wrong one is named at once. All wraps are bound to the storage and the epoch.
//!
//! What it does not do: protect the custodians against who made the shares. The node that splits the seed knows the root
//! key anyway, so verifiable sharing (Feldman, Pedersen) would defend nothing.

mod config;
mod key_seal;
mod keyring_key;
mod outer_key;
mod static_key;
mod unseal;

pub use config::{MalformedSealConfig, SealConfig};
pub use key_seal::{KeyKind, KeySeal, WRAPPED_BYTES_MAX};
pub use keyring_key::KeyringKey;
pub use outer_key::{OuterBinding, OuterKey, OuterKeyError};
pub use static_key::{KeyId, KeyIdError, MalformedStaticKey, StaticKey};
pub use unseal::{Submitted, Unseal};

pub use crate::share::{Share, ShareError};

use aumbry_types::{Entropy, SecretBytes, SecretKey, StorageId};
use zeroize::Zeroizing;

use crate::envelope::{self, OpenError};
use crate::keyring::{Keyring, MalformedKeyring};
use crate::{derive_key, shamir};

/// The numbers of shares do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("choose 1 of 1 share, or a threshold from 2 to the number of shares, which is at most 255")]
pub struct ThresholdError;

/// Why a wrapped keyring did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// The root key is another one, or the bytes are damaged or of another storage.
    #[error("the wrapped keyring does not open with this root key")]
    Envelope(#[source] OpenError),
    /// It opened, and this version cannot read it.
    #[error("the wrapped keyring cannot be read")]
    Keyring(#[source] MalformedKeyring),
}

/// Makes a new seal around a root key: the configuration to replicate, not confirmed yet, and the shares to hand out.
///
/// # Errors
/// [`ThresholdError`] unless `threshold` is 2 to `shares`, or both are 1.
pub fn make_seal(
    storage_id: StorageId,
    epoch: u32,
    shares: u8,
    threshold: u8,
    root: &SecretKey,
    entropy: &dyn Entropy,
) -> Result<(SealConfig, Vec<Share>), ThresholdError> {
    if !is_threshold(threshold, shares) {
        return Err(ThresholdError);
    }
    let seed = SecretKey::make(entropy);
    let made: Vec<Share> = (1..=shares)
        .zip(shamir::split(&seed, threshold, shares, entropy))
        .map(|(index, value)| Share::new(storage_id, epoch, threshold, index, value))
        .collect();
    let key = key_encryption_key(&seed, storage_id, epoch);
    let aad = root_aad(storage_id, epoch, threshold, shares);
    let config = SealConfig {
        storage_id,
        epoch,
        threshold,
        shares,
        share_digests: made.iter().map(|share| share.digest(storage_id)).collect(),
        wrapped_root: envelope::seal(&key, epoch, &aad, root.expose(), entropy),
        confirmed: false,
    };
    Ok((config, made))
}

/// Wraps the keyring under the root key. `epoch` is that of the root key.
#[must_use]
pub fn wrap_keyring(
    root: &SecretKey,
    storage_id: StorageId,
    keyring: &Keyring,
    epoch: u32,
    entropy: &dyn Entropy,
) -> Vec<u8> {
    KeyringKey::of_root(root, storage_id).wrap(keyring, epoch, entropy)
}

/// Opens what [`wrap_keyring`] wrapped. The epoch that it was wrapped in is [`envelope::term`] of the bytes.
///
/// # Errors
/// [`UnwrapError`] if the root key is another one, or the bytes are no keyring of this storage.
pub fn unwrap_keyring(root: &SecretKey, storage_id: StorageId, wrapped: &[u8]) -> Result<Keyring, UnwrapError> {
    KeyringKey::of_root(root, storage_id).unwrap(wrapped)
}

/// The root key in a configuration, given the seed that the shares combine to.
fn unwrap_root(config: &SealConfig, seed: &SecretKey) -> Option<SecretKey> {
    let key = key_encryption_key(seed, config.storage_id, config.epoch);
    let aad = root_aad(config.storage_id, config.epoch, config.threshold, config.shares);
    root_key(&envelope::open(&key, &aad, &config.wrapped_root).ok()?)
}

/// A root key that was unwrapped, if it has the length of one.
fn root_key(opened: &SecretBytes) -> Option<SecretKey> {
    let mut root = Zeroizing::new([0; 32]);
    (opened.len() == root.len()).then(|| root.copy_from_slice(opened.expose()))?;
    Some(SecretKey::take(&mut root))
}

fn key_encryption_key(seed: &SecretKey, storage_id: StorageId, epoch: u32) -> SecretKey {
    derive_key(
        seed,
        ROOT_LABEL,
        &[storage_id.as_bytes(), &epoch.to_be_bytes()[..]].concat(),
    )
}

fn root_aad(storage_id: StorageId, epoch: u32, threshold: u8, shares: u8) -> Vec<u8> {
    let numbers = [threshold, shares];
    [
        ROOT_LABEL.as_bytes(),
        storage_id.as_bytes(),
        &epoch.to_be_bytes(),
        &numbers,
    ]
    .concat()
}

/// Whether a seal can be made of so many shares. One share of several would be a root password with copies, so that 1 goes with 1 only.
#[must_use]
pub const fn is_threshold(threshold: u8, shares: u8) -> bool {
    match threshold {
        0 => false,
        1 => shares == 1,
        _ => threshold <= shares,
    }
}

const ROOT_LABEL: &str = "aumbry/seal/root/1";

#[cfg(test)]
mod tests;
