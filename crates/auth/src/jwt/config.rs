//! How the method is set up: whose tokens are taken.

use aumbry_crypto::jws::Algorithm;
use aumbry_logical::{Body, Object};
use aumbry_types::{SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use super::keys::KeySet;
use crate::answer::{Error, object, texts};
use crate::{fields, kept};

/// How the method is set up.
#[derive(Serialize, Deserialize)]
pub(super) struct Config {
    jwks_url: String,
    jwks_ca_pem: String,
    pubkeys: Vec<String>,
    discovery_url: String,
    discovery_ca_pem: String,
    pub(super) bound_issuer: String,
    supported_algs: Vec<String>,
    pub(super) default_role: String,
    /// As whom the issuer knows this mount, for logins by a browser; nothing if there are none.
    pub(super) client_id: String,
    /// What proves it to the issuer; nothing for a client that has no secret.
    #[serde(with = "exposed")]
    pub(super) client_secret: SecretBytes,
}

/// Where the keys of an issuer come from.
pub enum KeySource {
    /// They are given.
    Given(KeySet),
    /// They are fetched from somewhere.
    Remote(Remote),
}

/// Where keys are fetched from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// The set of keys; or the issuer, which says where its keys are.
    pub url: String,
    /// Certificates in PEM, of which one must have signed the service's; nothing for those that the machine trusts.
    pub authority_pem: String,
    /// Whether it is an issuer that is asked.
    pub is_issuer: bool,
}

impl Config {
    /// Where the keys are.
    pub(super) fn source(&self) -> Option<KeySource> {
        let remote = |url: &String, authority_pem: &String, is_issuer| {
            KeySource::Remote(Remote {
                url: url.clone(),
                authority_pem: authority_pem.clone(),
                is_issuer,
            })
        };
        if !self.jwks_url.is_empty() {
            return Some(remote(&self.jwks_url, &self.jwks_ca_pem, false));
        }
        if !self.discovery_url.is_empty() {
            return Some(remote(&self.discovery_url, &self.discovery_ca_pem, true));
        }
        KeySet::of_pem(&self.pubkeys).map(KeySource::Given)
    }

    /// The issuer that sends browsers here, if logins by one are set up.
    pub(super) fn provider(&self) -> Option<Remote> {
        match self.source() {
            Some(KeySource::Remote(remote)) if remote.is_issuer && !self.client_id.is_empty() => Some(remote),
            _ => None,
        }
    }

    /// The algorithms that are taken; none named are all.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        self.supported_algs
            .iter()
            .filter_map(|name| Algorithm::parse(name))
            .collect()
    }

    /// Whether a token is of the issuer that is asked for its keys, and of the one that is demanded.
    pub(super) fn is_issuer(&self, issuer: Option<&str>) -> bool {
        let is_bound = self.bound_issuer.is_empty() || issuer == Some(&self.bound_issuer);
        let asked = self.discovery_url.trim_end_matches('/');
        let is_asked = asked.is_empty() || issuer.is_some_and(|issuer| issuer.trim_end_matches('/') == asked);
        is_bound && is_asked
    }
}

impl kept::Stored for Config {
    // No client id, no secret.
    const ADDED: &'static [u8] = &[0, 0];
}

impl kept::Config for Config {
    fn parse(body: &Body, before: Option<&Self>) -> Result<Self, Error> {
        check_modes(body)?;
        let mut config = Self {
            jwks_url: fields::url_with_query(body, "jwks_url")?,
            jwks_ca_pem: fields::certificates_pem(body, "jwks_ca_pem")?,
            pubkeys: pem_texts(body, "jwt_validation_pubkeys")?,
            discovery_url: fields::url(body, "oidc_discovery_url")?,
            discovery_ca_pem: fields::certificates_pem(body, "oidc_discovery_ca_pem")?,
            bound_issuer: fields::text(body, "bound_issuer")?.unwrap_or_default(),
            supported_algs: fields::texts(body, "jwt_supported_algs")?.unwrap_or_default(),
            default_role: fields::text(body, "default_role")?
                .unwrap_or_default()
                .to_ascii_lowercase(),
            client_id: fields::text(body, "oidc_client_id")?.unwrap_or_default(),
            client_secret: SecretBytes::default(),
        };
        config.client_secret = match body.secret("oidc_client_secret")? {
            // Files end in a line feed, which no secret does.
            Some(given) => SecretBytes::new(given.expose().trim_ascii_end().to_vec()),
            // It cannot be read, so it cannot be sent again with what is changed beside it. Another issuer never gets it.
            None => {
                let is_same = |before: &&Self| {
                    before.discovery_url == config.discovery_url && before.client_id == config.client_id
                };
                let same = before.filter(is_same);
                same.map(|before| before.client_secret.duplicate()).unwrap_or_default()
            }
        };
        config.check_client()?;
        let sources = [
            !config.jwks_url.is_empty(),
            !config.pubkeys.is_empty(),
            !config.discovery_url.is_empty(),
        ];
        if sources.into_iter().filter(|is_there| *is_there).count() != 1 {
            return Err(Error::Invalid(
                "exactly one of jwks_url, jwt_validation_pubkeys and oidc_discovery_url must be set",
            ));
        }
        if config
            .supported_algs
            .iter()
            .any(|name| Algorithm::parse(name).is_none())
        {
            return Err(Error::Invalid(
                "jwt_supported_algs are of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA",
            ));
        }
        if KeySet::of_pem(&config.pubkeys).is_none() {
            return Err(Error::Invalid(NOT_KEYS));
        }
        Ok(config)
    }

    fn render(&self) -> Object {
        object([
            ("bound_issuer", self.bound_issuer.clone().into()),
            ("default_role", self.default_role.clone().into()),
            ("jwks_ca_pem", self.jwks_ca_pem.clone().into()),
            ("jwks_url", self.jwks_url.clone().into()),
            ("jwt_supported_algs", texts(&self.supported_algs)),
            ("jwt_validation_pubkeys", texts(&self.pubkeys)),
            ("oidc_client_id", self.client_id.clone().into()),
            ("oidc_client_secret_set", (!self.client_secret.is_empty()).into()),
            ("oidc_discovery_ca_pem", self.discovery_ca_pem.clone().into()),
            ("oidc_discovery_url", self.discovery_url.clone().into()),
            ("oidc_response_mode", "".into()),
            ("oidc_response_types", texts::<String>(&[])),
        ])
    }
}

impl Config {
    fn check_client(&self) -> Result<(), Error> {
        if !self.client_id.is_empty() && self.discovery_url.is_empty() {
            return Err(Error::Invalid(
                "oidc_client_id needs oidc_discovery_url: the issuer says there where browsers are sent",
            ));
        }
        if self.client_id.is_empty() && !self.client_secret.is_empty() {
            return Err(Error::Invalid("oidc_client_secret needs oidc_client_id"));
        }
        if self.client_id.len() > CLIENT_ID_BYTES_MAX {
            return Err(Error::Invalid("oidc_client_id has at most 256 bytes"));
        }
        let is_printed = |text: &str| !text.chars().any(char::is_control);
        if self.client_secret.len() > CLIENT_SECRET_BYTES_MAX
            || !self.client_secret.expose_str().is_some_and(is_printed)
        {
            return Err(Error::Invalid(
                "oidc_client_secret is a text of at most 1 KiB, without line breaks",
            ));
        }
        Ok(())
    }
}

/// There is one way in which an issuer answers here: by a code, in the query of an address.
fn check_modes(body: &Body) -> Result<(), Error> {
    let mode = body.text("oidc_response_mode")?.unwrap_or_default();
    if !matches!(mode.as_str(), "" | "query") {
        return Err(Error::Invalid(
            "oidc_response_mode can be query alone; form_post is not offered: leave it out",
        ));
    }
    let types = body.texts("oidc_response_types")?.unwrap_or_default();
    if types.iter().any(|kind| kind != "code") {
        return Err(Error::Invalid(
            "oidc_response_types can be code alone: tokens never go by way of a browser; leave it out",
        ));
    }
    Ok(())
}

/// Keys in PEM: a list, or one text, of which a comma ends each.
pub(crate) fn pem_texts(body: &Body, field: &'static str) -> Result<Vec<String>, Error> {
    let texts = body.texts(field)?.unwrap_or_default();
    if texts.len() > KEYS_MAX {
        return Err(Error::Invalid(NOT_KEYS));
    }
    Ok(texts)
}

pub(crate) const NOT_KEYS: &str =
    "keys are at most 16 public keys or certificates in PEM: RSA of 2,048 bits or more, P-256, P-384, P-521 or Ed25519";
/// It stands in an address that browsers take.
const CLIENT_ID_BYTES_MAX: usize = 256;
/// Issuers give some forty.
const CLIENT_SECRET_BYTES_MAX: usize = 1 << 10;
/// More are a matter for a set of keys with names.
const KEYS_MAX: usize = 16;
