//! The one key that an auditor trusts.

use std::path::PathBuf;

use aumbry_audit::export::Reason;
use aumbry_audit::{Checkpoint, CheckpointError, public_key};
use aumbry_crypto::signature::VerifyingKey;
use aumbry_types::hex;
use clap::Args;

use crate::files;
use crate::verdict::Failure;

/// The key that the log must be signed by
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Arguments {
    /// A file with the public key: 64 hexadecimal digits, or a verifier key of a signed note
    #[arg(long, value_name = "KEYFILE")]
    key: Option<PathBuf>,
    /// The key's fingerprint, as `aumbry operator init` printed it
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
}

/// What is trusted: a key, or its fingerprint, which the key in a file must then have.
pub(crate) struct Trust {
    pub(crate) fingerprint: [u8; 32],
    key: Option<VerifyingKey>,
}

impl Arguments {
    pub(crate) fn trust(&self) -> Result<Trust, Failure> {
        if let Some(path) = &self.key {
            let text = files::text(path, KEY_BYTES_MAX)?;
            let key = public_key(&text).ok_or_else(|| {
                Failure::Usage(format!(
                    "{} holds no public key: it should have 64 lower-case hexadecimal digits, or <name>+<id>+<base64>",
                    path.display()
                ))
            })?;
            return Ok(Trust {
                fingerprint: key.fingerprint(),
                key: Some(key),
            });
        }
        let text = self.fingerprint.as_deref().unwrap_or_default();
        let fingerprint = hex::decode(text)
            .ok_or_else(|| Failure::Usage("a fingerprint is 64 lower-case hexadecimal digits".to_owned()))?;
        Ok(Trust { fingerprint, key: None })
    }
}

impl Trust {
    /// Verifies a note with the key that stands beside it, if that is the trusted one, or with the trusted one.
    pub(crate) fn verify(&self, note: &str, beside: Option<VerifyingKey>) -> Result<Checkpoint, Failure> {
        let key = self.key(beside)?;
        Checkpoint::verify(note, &key).map_err(|error: CheckpointError| Reason::from(error).into())
    }

    /// The key that stands beside a note, if that is the trusted one; else the trusted one.
    pub(crate) fn key(&self, beside: Option<VerifyingKey>) -> Result<VerifyingKey, Failure> {
        let Some(key) = beside.or(self.key) else {
            return Err(Failure::Usage(
                "a note alone does not say its key, and a fingerprint cannot verify it: pass --key with the public key"
                    .to_owned(),
            ));
        };
        let fingerprint = key.fingerprint();
        if fingerprint != self.fingerprint {
            return Err(Reason::Key {
                found: hex::encode(&fingerprint),
            }
            .into());
        }
        Ok(key)
    }
}

/// A verifier key with a long name; a file that is longer is something else.
const KEY_BYTES_MAX: usize = 4 << 10;
