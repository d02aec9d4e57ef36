//! How the method is set up: whose tokens are taken.

use aumbry_crypto::jws::Algorithm;
use aumbry_logical::{Body, Object};
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

impl kept::Config for Config {
    fn parse(body: &Body, _before: Option<&Self>) -> Result<Self, Error> {
        for field in ["oidc_client_id", "oidc_client_secret"] {
            if body.text(field)?.is_some_and(|text| !text.is_empty()) {
                return Err(Error::Invalid(
                    "logins by a browser are not there yet: leave out oidc_client_id and oidc_client_secret",
                ));
            }
        }
        let config = Self {
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
        };
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
            ("oidc_client_id", "".into()),
            ("oidc_discovery_ca_pem", self.discovery_ca_pem.clone().into()),
            ("oidc_discovery_url", self.discovery_url.clone().into()),
        ])
    }
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
/// More are a matter for a set of keys with names.
const KEYS_MAX: usize = 16;
