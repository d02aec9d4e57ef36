//! A rekey under way: one row, and what a step does to it.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_crypto::equal;
use aumbry_crypto::seal::{SealConfig, ShareError, Submitted, Unseal};
use aumbry_types::{Entropy, ObjectId, SecretBytes, SecretKey, exposed, hex};
use serde::{Deserialize, Serialize};

/// A rekey under way.
#[derive(Serialize, Deserialize)]
pub(super) struct Session {
    /// What shares are shown to it by.
    pub(super) nonce: String,
    /// The accessor of the token that began it.
    pub(super) began_by: String,
    /// When, in log time (ms).
    pub(super) began_ms: u64,
    /// The epoch of the shares that are replaced.
    pub(super) epoch: u32,
    /// How many shares there will be.
    pub(super) shares: u8,
    /// How many will open the seal.
    pub(super) threshold: u8,
    /// Whether the new shares must be tried before they count.
    pub(super) verifies: bool,
    /// The old shares that were shown. Invariant: each is right and shown once, fewer than open the seal.
    pub(super) given: Given,
    /// The seal of the new shares, once they are made.
    pub(super) pending: Option<Pending>,
}

/// A seal that waits until its shares were tried.
#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    /// What new shares are shown by.
    pub(super) nonce: String,
    /// The configuration that will hold.
    config: Vec<u8>,
    /// The new shares that were tried. Invariant: as for the old ones.
    pub(super) given: Given,
}

/// Shares that count.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Given(Vec<Share>);

#[derive(Serialize, Deserialize)]
struct Share(#[serde(with = "exposed")] SecretBytes);

impl Session {
    /// The session under way, recorded. One that is too old, or whose shares were replaced meanwhile, is none.
    pub(super) fn read(txn: &mut Txn<'_>, config: &SealConfig) -> Result<Option<Self>, DamagedRow> {
        let Some(object) = txn.read_object(REKEY, Kind::Rekey)? else {
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
        txn.put_object(REKEY, Kind::Rekey, plain.expose(), options);
    }

    /// Removes it with all that was shown.
    pub(super) fn remove(txn: &mut Txn<'_>) {
        txn.delete_object(REKEY);
    }
}

impl Pending {
    pub(super) fn new(config: &SealConfig, entropy: &dyn Entropy) -> Self {
        Self {
            nonce: make_nonce(entropy),
            config: config.encode(),
            given: Given::default(),
        }
    }

    /// The configuration that will hold.
    pub(super) fn config(&self) -> Result<SealConfig, DamagedRow> {
        SealConfig::decode(&self.config).map_err(|_| DamagedRow)
    }
}

impl Given {
    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }

    /// Takes one more share of this seal. Gives the root key with the last one that is needed; the others are forgotten then.
    pub(super) fn take(&mut self, config: SealConfig, share: &SecretBytes) -> Result<Option<SecretKey>, ShareError> {
        let mut unseal = Unseal::new(config);
        for Share(before) in &self.0 {
            unseal.submit(before.expose())?;
        }
        match unseal.submit(share.expose())? {
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

const REKEY: ObjectId = ObjectId::well_known(33);
const VERSION: u8 = 1;
/// As long as a meeting of the custodians takes; shares that were shown do not lie around for longer.
const SESSION_MS: u64 = 3_600_000;
