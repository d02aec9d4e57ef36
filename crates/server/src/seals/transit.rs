//! The transit engine of another cluster, as Vault and OpenBao have it: it wraps the key of a seal.
//!
//! What it guarantees: the other side has a certificate of the authority that was configured, and of no other; the token is read anew each time; a try
//! ends within [`TRIES`] questions; a cluster that answers with our own id is never asked.
//!
//! What it does not do: see that the other cluster is opened by this one. Two that wait for each other stay sealed until somebody shows shares to one.

use std::path::PathBuf;
use std::time::Duration;

use aumbry_node::{WebAnswer, WebBody, WebCredential, WebError, WebRequest};
use aumbry_types::SecretBytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::config::TransitSeal;
use crate::key_file::{self, KeyFileError};
use crate::web;

/// The other cluster.
pub(super) struct Transit {
    seal: TransitSeal,
}

/// Why the other cluster did not help. Nothing that it answered is told but its code.
#[derive(Debug, thiserror::Error)]
pub enum TransitError {
    /// The token, or the authority.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The authority.
    #[error(
        "cannot read {path}: {source}; name the authority of the other cluster's certificate in seal.transit.ca_file"
    )]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be reached.
    #[error(
        "the transit cluster {address} does not answer: {source}; see that it runs, and that its certificate is of {ca_file}"
    )]
    Unreachable {
        /// Its address.
        address: String,
        /// The authority.
        ca_file: PathBuf,
        /// Why.
        source: WebError,
    },
    /// It cannot serve.
    #[error(
        "the transit cluster {address} cannot serve now (status {code}): it may be sealed, or have no leader; unseal it first"
    )]
    Unready {
        /// Its address.
        address: String,
        /// What it answered.
        code: u16,
    },
    /// It does not let us.
    #[error(
        "the transit cluster {address} refuses the token in {token_file}: it has ended, or may not use {name}; put another into the file"
    )]
    Forbidden {
        /// Its address.
        address: String,
        /// The token.
        token_file: PathBuf,
        /// Mount and key.
        name: String,
    },
    /// There is no such key.
    #[error(
        "the transit cluster {address} has no key {name}; make it there, or correct seal.transit.mount and seal.transit.key"
    )]
    NoKey {
        /// Its address.
        address: String,
        /// Mount and key.
        name: String,
    },
    /// It does not open this.
    #[error(
        "the transit key {name} does not open the seal: the seal was altered or is of another cluster, or the key was replaced; open the node with key shares, remove the seal and add it again"
    )]
    Refused {
        /// Mount and key.
        name: String,
    },
    /// Its answer cannot be used.
    #[error(
        "the transit cluster {address} answered what cannot be used (status {code}); see that it is Vault's interface that is there"
    )]
    Answer {
        /// Its address.
        address: String,
        /// What it answered.
        code: u16,
    },
    /// It is this cluster.
    #[error(
        "{address} is this cluster itself: a sealed cluster cannot open itself; name another cluster in seal.transit.address"
    )]
    Circular {
        /// Its address.
        address: String,
    },
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: String,
}

#[derive(Deserialize)]
struct Health {
    #[serde(default)]
    cluster_id: String,
}

/// Nothing would stand for the authorities that the machine trusts.
fn not_blank(authority: String) -> std::io::Result<String> {
    match authority.trim().is_empty() {
        true => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is empty")),
        false => Ok(authority),
    }
}

impl Transit {
    pub(super) const fn new(seal: TransitSeal) -> Self {
        Self { seal }
    }

    /// Mount and key.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.seal.mount, self.seal.key)
    }

    pub(super) fn place(&self) -> String {
        format!("{} {}", self.seal.address, self.name())
    }

    pub(super) fn check_files(&self) -> Result<(), TransitError> {
        key_file::read_secret(&self.seal.token_file, "token file")?;
        let path = &self.seal.ca_file;
        let authority = std::fs::read_to_string(path).and_then(not_blank);
        authority.map(drop).map_err(|source| TransitError::Authority {
            path: path.clone(),
            source,
        })
    }

    /// Wraps.
    pub(super) async fn encrypt(
        &self,
        plain: &SecretBytes,
        context: &[u8],
        cluster: &str,
    ) -> Result<Vec<u8>, TransitError> {
        let plain = Zeroizing::new(STANDARD.encode(plain.expose()));
        let body = json!({ "plaintext": &*plain, "context": STANDARD.encode(context), "associated_data": STANDARD.encode(context) });
        let answer = self.ask("encrypt", body, cluster).await?;
        let told: Answer<Encrypted> = self.told(&answer)?;
        Ok(told.data.ciphertext.into_bytes())
    }

    /// Unwraps.
    pub(super) async fn decrypt(
        &self,
        wrapped: &[u8],
        context: &[u8],
        cluster: &str,
    ) -> Result<SecretBytes, TransitError> {
        let text = core::str::from_utf8(wrapped).map_err(|_| TransitError::Refused { name: self.name() })?;
        let body = json!({ "ciphertext": text, "context": STANDARD.encode(context), "associated_data": STANDARD.encode(context) });
        let answer = self.ask("decrypt", body, cluster).await?;
        let told: Answer<Decrypted> = self.told(&answer)?;
        let plain = SecretBytes::from(told.data.plaintext);
        let plain = STANDARD.decode(plain.expose());
        plain.map(SecretBytes::new).map_err(|_| self.unusable(&answer))
    }

    async fn ask(&self, action: &str, body: serde_json::Value, cluster: &str) -> Result<WebAnswer, TransitError> {
        let seal = &self.seal;
        let token = key_file::read_secret(&seal.token_file, "token file")?;
        let authority = tokio::fs::read_to_string(&seal.ca_file).await;
        let authority = authority
            .and_then(not_blank)
            .map_err(|source| TransitError::Authority {
                path: seal.ca_file.clone(),
                source,
            })?;
        let body = SecretBytes::from(body.to_string());
        self.refuse_own(&authority, cluster).await?;
        let url = format!("{}/v1/{}/{action}/{}", seal.address, seal.mount, seal.key);
        let mut pause = PAUSE;
        let mut tries = 1;
        loop {
            let request = WebRequest {
                url: url.clone(),
                authority_pem: authority.clone(),
                credential: Some(WebCredential::Bearer(token.duplicate())),
                body: Some(WebBody::Json(body.duplicate())),
            };
            let failed = match self.read(web::ask(request).await) {
                Err(error @ (TransitError::Unreachable { .. } | TransitError::Unready { .. })) => error,
                answered => return answered,
            };
            if tries == TRIES {
                return Err(failed);
            }
            tokio::time::sleep(pause).await;
            (tries, pause) = (tries + 1, pause * 2);
        }
    }

    /// A cluster that tells our own id is this one, however it was reached. One that tells none is asked all the same: a sealed one does not know it.
    async fn refuse_own(&self, authority: &str, cluster: &str) -> Result<(), TransitError> {
        let url = format!("{}{HEALTH}", self.seal.address);
        let Ok(answer) = web::ask(WebRequest::get(url, authority.to_owned())).await else {
            return Ok(());
        };
        let told: Option<Health> = serde_json::from_slice(&answer.body).ok();
        match told.is_some_and(|told| !cluster.is_empty() && told.cluster_id == cluster) {
            true => Err(TransitError::Circular {
                address: self.seal.address.clone(),
            }),
            false => Ok(()),
        }
    }

    fn read(&self, answer: Result<WebAnswer, WebError>) -> Result<WebAnswer, TransitError> {
        let address = self.seal.address.clone();
        let answer = answer.map_err(|source| TransitError::Unreachable {
            address: address.clone(),
            ca_file: self.seal.ca_file.clone(),
            source,
        })?;
        let (code, name) = (answer.code, self.name());
        match code {
            200 => Ok(answer),
            400 => Err(TransitError::Refused { name }),
            401 | 403 => Err(TransitError::Forbidden {
                address,
                token_file: self.seal.token_file.clone(),
                name,
            }),
            404 => Err(TransitError::NoKey { address, name }),
            429 | 472 | 473 | 500..=599 => Err(TransitError::Unready { address, code }),
            _ => Err(self.unusable(&answer)),
        }
    }

    fn told<T: for<'de> Deserialize<'de>>(&self, answer: &WebAnswer) -> Result<T, TransitError> {
        serde_json::from_slice(&answer.body).map_err(|_| self.unusable(answer))
    }

    fn unusable(&self, answer: &WebAnswer) -> TransitError {
        TransitError::Answer {
            address: self.seal.address.clone(),
            code: answer.code,
        }
    }
}

/// With the pauses between them, and as each takes 5 s at most, within 20 s.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(250);
/// Answered with 200 by every node that knows its cluster.
const HEALTH: &str = "/v1/sys/health?standbyok=true&perfstandbyok=true&sealedcode=200&uninitcode=200";
