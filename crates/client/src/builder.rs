//! How a client is set up.

use std::sync::Arc;
use std::time::Duration;

use aumbry_types::{NamespacePath, SecretBytes};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::connection::Connections;
use crate::{Client, Error};

/// Settings of a client.
pub struct Builder {
    endpoints: Vec<String>,
    ca_pem: Vec<u8>,
    token: SecretBytes,
    timeout: Duration,
    retries: bool,
    idempotency_key: Option<String>,
    namespace: String,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            ca_pem: Vec::new(),
            token: SecretBytes::default(),
            timeout: TIMEOUT_DEFAULT,
            retries: true,
            idempotency_key: None,
            namespace: String::new(),
        }
    }
}

impl Builder {
    /// Where the nodes are, `host:port`. One is enough; with several the client goes on when one is gone.
    #[must_use]
    pub fn endpoints(mut self, endpoints: impl IntoIterator<Item = String>) -> Self {
        self.endpoints = endpoints.into_iter().collect();
        self
    }

    /// The authority that signed the nodes' certificates, PEM.
    #[must_use]
    pub fn ca_pem(mut self, pem: Vec<u8>) -> Self {
        self.ca_pem = pem;
        self
    }

    /// The token to show.
    #[must_use]
    pub fn token(mut self, token: SecretBytes) -> Self {
        self.token = token;
        self
    }

    /// How long a request may take, all tries together. 10 seconds by default.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether requests are tried again where that is safe. On by default; off, no idempotency key is made either.
    #[must_use]
    pub const fn retries(mut self, retries: bool) -> Self {
        self.retries = retries;
        self
    }

    /// One idempotency key for the writes of this client, instead of a new one for each.
    #[must_use]
    pub fn idempotency_key(mut self, key: String) -> Self {
        self.idempotency_key = Some(key);
        self
    }

    /// The namespace that requests are made in, such as `team/app`: paths are relative to it. Nothing is the root.
    #[must_use]
    pub fn namespace(mut self, path: impl Into<String>) -> Self {
        self.namespace = path.into();
        self
    }

    /// Makes the client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Configuration`] says what to set.
    pub fn build(self) -> Result<Client, Error> {
        let wrong = |message: &str| Err(Error::Configuration(message.to_owned()));
        if self.endpoints.is_empty() || self.endpoints.len() > ENDPOINTS_MAX {
            return wrong("name 1 to 64 endpoints, host:port (AUMBRY_ADDR)");
        }
        if self
            .endpoints
            .iter()
            .any(|endpoint| !endpoint.contains(':') || endpoint.contains('/'))
        {
            return wrong("an endpoint is host:port, without https://");
        }
        let namespace = NamespacePath::parse(&self.namespace).map_err(|error| {
            Error::Configuration(format!("the namespace cannot be one: {error} (AUMBRY_NAMESPACE)"))
        })?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.ca_pem) {
            let added = certificate
                .map_err(|_| ())
                .and_then(|certificate| roots.add(certificate).map_err(|_| ()));
            if added.is_err() {
                return wrong("the CA certificate is not PEM (AUMBRY_CACERT)");
            }
        }
        if roots.is_empty() {
            return wrong("name the authority of the nodes' certificates (AUMBRY_CACERT)");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Error::Configuration(error.to_string()))?;
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let connections = Connections::new(self.endpoints, Arc::new(tls), &self.token)?;
        Ok(Client::new(
            connections,
            self.timeout,
            self.retries,
            self.idempotency_key,
            namespace,
        ))
    }
}

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const ENDPOINTS_MAX: usize = 64;
