//! How the method is set up: which cluster vouches.

use aumbry_logical::{Body, Object};
use aumbry_types::{SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use crate::answer::{Error, object, texts};
use crate::jwt::{KeySet, NOT_KEYS, pem_texts};
use crate::{fields, kept};

/// How the method is set up.
#[derive(Serialize, Deserialize)]
pub(super) struct Config {
    /// The API server; nothing if it is not asked.
    pub(super) host: String,
    pub(super) ca_cert: String,
    /// What the API server is asked with; nothing for the token that is shown.
    #[serde(with = "exposed")]
    pub(super) reviewer: SecretBytes,
    pub(super) pem_keys: Vec<String>,
    pub(super) issuer: String,
}

impl kept::Stored for Config {}

impl kept::Config for Config {
    fn parse(body: &Body, before: Option<&Self>) -> Result<Self, Error> {
        let host = fields::url(body, "kubernetes_host")?;
        let reviewer = match body.secret("token_reviewer_jwt")? {
            Some(given) => given,
            // It cannot be read, so it cannot be sent again with what is changed beside it. Another server never gets it.
            None => {
                let same = before.filter(|before| before.host == host);
                same.map(|before| before.reviewer.duplicate()).unwrap_or_default()
            }
        };
        if reviewer.len() > REVIEWER_BYTES_MAX || reviewer.expose().iter().any(|byte| !byte.is_ascii_graphic()) {
            return Err(Error::Invalid(
                "token_reviewer_jwt is a token of at most 32 KiB, without line breaks",
            ));
        }
        let config = Self {
            host,
            ca_cert: fields::certificates_pem(body, "kubernetes_ca_cert")?,
            reviewer,
            pem_keys: pem_texts(body, "pem_keys")?,
            issuer: fields::text(body, "issuer")?.unwrap_or_default(),
        };
        if config.host.is_empty() && config.pem_keys.is_empty() {
            return Err(Error::Invalid(
                "set kubernetes_host, whose API server reviews tokens, or pem_keys, which verify them here",
            ));
        }
        if KeySet::of_pem(&config.pem_keys).is_none() {
            return Err(Error::Invalid(NOT_KEYS));
        }
        Ok(config)
    }

    fn render(&self) -> Object {
        object([
            ("disable_iss_validation", self.issuer.is_empty().into()),
            ("disable_local_ca_jwt", true.into()),
            ("issuer", self.issuer.clone().into()),
            ("kubernetes_ca_cert", self.ca_cert.clone().into()),
            ("kubernetes_host", self.host.clone().into()),
            ("pem_keys", texts(&self.pem_keys)),
            ("token_reviewer_jwt_set", (!self.reviewer.is_empty()).into()),
        ])
    }
}

/// As long as a token that is shown.
const REVIEWER_BYTES_MAX: usize = 32 << 10;
