//! The state of a login that is under way: sealed, and carried by whoever logs in.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_crypto::sha256;
use aumbry_types::{LogTime, ObjectId, SecretBytes, exposed};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// What is known of a login that has begun.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// Random. The nonce, the verifier and the id are derived from it.
    #[serde(with = "exposed")]
    seed: SecretBytes,
    pub(super) role: String,
    pub(super) redirect_uri: String,
    /// Of what whoever asked must show again, if it showed anything.
    client_nonce: Option<[u8; 32]>,
    /// In log time (ms).
    expires_at: u64,
    /// What the configuration and the role were.
    pub(super) basis: [u8; 32],
}

impl State {
    /// Of a login that begins now.
    pub(super) fn make(
        txn: &Txn<'_>,
        role: &str,
        redirect_uri: &str,
        client_nonce: &SecretBytes,
        basis: [u8; 32],
    ) -> Self {
        let mut seed = vec![0; SEED_LEN];
        txn.entropy().fill(&mut seed);
        Self {
            seed: SecretBytes::new(seed),
            role: role.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            client_nonce: (!client_nonce.is_empty()).then(|| hash_nonce(client_nonce)),
            expires_at: txn.now().plus_ms(LIVES_MS).0,
            basis,
        }
    }

    /// As it stands in an address. Nobody but this cluster reads or makes one, and it is for this mount.
    pub(super) fn seal(&self, txn: &Txn<'_>, mount: ObjectId) -> String {
        let plain = record::encode(VERSION, self);
        let sealed = txn
            .barrier()
            .seal_browser_login(&place(txn, mount), plain.expose(), txn.entropy());
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// Reads one that was sealed here.
    pub(super) fn open(txn: &Txn<'_>, mount: ObjectId, text: &SecretBytes) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(text.expose()).ok()?;
        let plain = txn.barrier().open_browser_login(&place(txn, mount), &sealed)?;
        record::decode(VERSION, plain.expose()).ok()
    }

    /// Whether it is too late for it.
    pub(super) const fn is_expired(&self, now: LogTime) -> bool {
        self.expires_at <= now.0
    }

    /// Whether this is what was shown when the login began, if anything was.
    pub(super) fn is_of(&self, client_nonce: &SecretBytes) -> bool {
        self.client_nonce
            .is_none_or(|known| aumbry_crypto::equal(&known, &hash_nonce(client_nonce)))
    }

    /// What the ID token must repeat.
    pub(super) fn nonce(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.derive(b"nonce"))
    }

    /// What proves to the issuer that the code was asked for here (RFC 7636, section 4.1).
    pub(super) fn verifier(&self) -> SecretBytes {
        SecretBytes::from(URL_SAFE_NO_PAD.encode(self.derive(b"verifier")))
    }

    /// What the issuer is told of it before (RFC 7636, section 4.2).
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(sha256(&[self.verifier().expose()]))
    }

    /// Whether a login with it was finished, which the plan depends on from here on.
    pub(super) fn is_used(&self, txn: &mut Txn<'_>) -> Result<bool, DamagedRow> {
        Ok(txn.read_object(self.id(), Kind::BrowserLogin)?.is_some())
    }

    /// Finishes it: no other login does.
    pub(super) fn use_up(&self, txn: &mut Txn<'_>) {
        let options = ObjectOptions {
            expires_at: LogTime(self.expires_at).plus_ms(KEPT_LONGER_MS).0,
            ..ObjectOptions::default()
        };
        txn.put_object(self.id(), Kind::BrowserLogin, &[], options);
    }

    /// Names it. Nobody can choose one: seeds are random, and whoever could seal one needs no login.
    pub(super) fn id(&self) -> ObjectId {
        ObjectId::from_bytes(*self.derive(b"id").first_chunk().expect("a hash is longer than an id"))
    }

    fn derive(&self, what: &[u8]) -> [u8; 32] {
        sha256(&[b"aumbry/browser-login/1\0", self.seed.expose(), what])
    }
}

/// Where it is good.
fn place(txn: &Txn<'_>, mount: ObjectId) -> Vec<u8> {
    [&txn.namespace().as_bytes()[..], mount.as_bytes()].concat()
}

fn hash_nonce(client_nonce: &SecretBytes) -> [u8; 32] {
    sha256(&[b"aumbry/client-nonce/1\0", client_nonce.expose()])
}

/// As long as it takes to find a telephone.
const LIVES_MS: u64 = 300_000;
/// A row that goes with the state could go before an entry that was planned just before.
const KEPT_LONGER_MS: u64 = 60_000;
const SEED_LEN: usize = 32;
/// One with the longest role and address in it has 1,100.
const TEXT_BYTES_MAX: usize = 2_048;
const VERSION: u8 = 1;
