//! Certificate and key, as they lie in files: read, and checked as far as they can be by themselves.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aumbry_types::WallTime;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::any::AnyCertificate;
use crate::config::{ClientListener, HealthListener, HttpListener};

/// Why a listener's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or holds something else.
    #[error("cannot use {path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why, and what it must hold.
        message: String,
    },
    /// Others could read the key.
    #[error("cannot use {path}: its mode is {mode:04o}, so that others may read the key; run `chmod 600 {path}`")]
    Mode {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Certificate and key do not go together.
    #[error("the key in {key} is not that of the certificate in {certificate}; replace both by a pair made together")]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate's time is over.
    #[error("the certificate in {path} expired at {at}; renew it")]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// When.
        at: String,
    },
    /// Something else does not suit TLS.
    #[error("the certificate in {certificate} and the key in {key} cannot be used: {source}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The files of a listener's certificate.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The section of the configuration.
    pub(crate) listener: &'static str,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Authorities of certificates that clients may show.
    pub(crate) authorities: Option<PathBuf>,
    pub(super) protocol: &'static [u8],
}

impl Files {
    pub(crate) fn of_clients(listener: &ClientListener) -> Self {
        Self {
            listener: "client",
            certificate: listener.cert_file.clone(),
            key: listener.key_file.clone(),
            authorities: listener.ca_file.clone(),
            protocol: b"h2",
        }
    }

    /// None if the listener has no TLS.
    pub(crate) fn of_health(listener: &HealthListener) -> Option<Self> {
        Some(Self {
            listener: "health",
            certificate: listener.cert_file.clone()?,
            key: listener.key_file.clone()?,
            authorities: None,
            protocol: b"http/1.1",
        })
    }

    /// None if the listener has no TLS.
    pub(crate) fn of_http(listener: &HttpListener, clients: &ClientListener) -> Option<Self> {
        if listener.plain {
            return None;
        }
        Some(Self {
            listener: HTTP,
            certificate: listener.cert_file.clone().unwrap_or_else(|| clients.cert_file.clone()),
            key: listener.key_file.clone().unwrap_or_else(|| clients.key_file.clone()),
            authorities: clients.ca_file.clone(),
            protocol: b"http/1.1",
        })
    }

    /// Reads all of them, for one look.
    pub(super) fn read(&self) -> Result<Contents, CertificateError> {
        let certificate = Zeroizing::new(read(&self.certificate, Readers::Any)?);
        let key = Zeroizing::new(read(&self.key, Readers::Owner)?);
        let authorities = self.authorities.as_ref();
        let authorities = authorities.map(|path| read(path, Readers::Any)).transpose()?;
        Ok(Contents {
            certificate,
            key,
            authorities: authorities.unwrap_or_default(),
        })
    }

    /// Makes of them what TLS needs.
    pub(crate) fn load(&self) -> Result<Loaded, CertificateError> {
        self.load_contents(&self.read()?)
    }

    pub(super) fn load_contents(&self, contents: &Contents) -> Result<Loaded, CertificateError> {
        let chain = certificates(&self.certificate, &contents.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| file(&self.key, format!("{error}; it must hold a private key in PEM")))?;
        let (not_before, not_after) = validity(&self.certificate, &chain[0])?;
        let leaf = chain[0].clone();
        let unfit = |source: rustls::Error| match source {
            rustls::Error::InconsistentKeys(_) => CertificateError::KeyMismatch {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
            },
            source => CertificateError::Pair {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
                source,
            },
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unfit)?;
        let builder = match &self.authorities {
            None if self.listener == HTTP => builder.with_client_cert_verifier(Arc::new(AnyCertificate(provider))),
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path, &contents.authorities)? {
                    roots.add(certificate).map_err(|error| file(path, error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.allow_unauthenticated().build();
                builder.with_client_cert_verifier(verifier.map_err(|error| file(path, error.to_string()))?)
            }
        };
        let mut tls = builder.with_single_cert(chain, key).map_err(unfit)?;
        tls.alpn_protocols = vec![self.protocol.to_vec()];
        Ok(Loaded {
            tls: Arc::new(tls),
            leaf,
            not_before,
            not_after,
        })
    }
}

/// What the files held at one look.
pub(super) struct Contents {
    certificate: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    authorities: Vec<u8>,
}

impl Contents {
    pub(super) fn digest(&self) -> [u8; 32] {
        let parts = [&self.certificate[..], &self.key[..], &self.authorities[..]];
        let digests = parts.map(|part| aumbry_crypto::sha256(&[part]));
        aumbry_crypto::sha256(&[&digests[0], &digests[1], &digests[2]])
    }
}

/// A pair that TLS can use.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(super) tls: Arc<ServerConfig>,
    /// The listener's own certificate.
    pub(crate) leaf: CertificateDer<'static>,
    /// From when on it is valid, in seconds since 1970.
    pub(crate) not_before: i64,
    /// Until when it is valid.
    pub(crate) not_after: i64,
}

impl Loaded {
    pub(crate) fn has_expired(&self, now: WallTime) -> bool {
        self.not_after < seconds(now)
    }
}

/// Seconds since 1970.
pub(crate) fn seconds(time: WallTime) -> i64 {
    i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX)
}

/// A time for people.
pub(crate) fn utc(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    Any,
    Owner,
}

/// The content of a small file: a certificate, a key or a token.
pub(crate) fn read(path: &Path, readers: Readers) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |error: std::io::Error| file(path, format!("it cannot be read: {error}"));
    // Asked of the path first: opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(file(path, "it is no file".to_owned()));
    }
    let opened = File::open(path).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o7777;
    // What systemd passes is root's, and its group bits are the mask of the access list that lets the service's user in.
    let passed = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let is_passed = metadata.uid() == 0 && passed.is_some_and(|directory| path.starts_with(directory));
    let others = if is_passed { 0o037 } else { 0o077 };
    if readers == Readers::Owner && mode & others != 0 {
        return Err(CertificateError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    // All of its room at once: growing would leave copies of a key behind.
    let room = usize::try_from(metadata.len())
        .unwrap_or(FILE_BYTES_MAX)
        .min(FILE_BYTES_MAX);
    let mut bytes = Vec::with_capacity(room + 64);
    let read = opened.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(file(path, format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// The certificates of a file; at least one.
pub(crate) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| file(path, format!("{error}; it must hold certificates in PEM")))?;
    if certificates.is_empty() {
        return Err(file(
            path,
            "it holds no certificate; it must hold certificates in PEM".to_owned(),
        ));
    }
    Ok(certificates)
}

fn validity(path: &Path, leaf: &CertificateDer<'_>) -> Result<(i64, i64), CertificateError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| file(path, format!("its first certificate cannot be read: {error}")))?;
    let validity = parsed.validity();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

fn file(path: &Path, message: String) -> CertificateError {
    CertificateError::File {
        path: path.to_owned(),
        message,
    }
}

/// The listener whose clients may log in by certificates of any authority.
const HTTP: &str = "http";
/// A chain has some kilobytes; a bundle of all public authorities a quarter of a megabyte.
const FILE_BYTES_MAX: usize = 1 << 20;
