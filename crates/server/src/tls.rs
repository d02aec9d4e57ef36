//! The client listener: TCP, TLS 1.2 or 1.3, bounded in connections and in time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aumbry_net::{Bounds, Incoming, Memory, Share, accept as accept_tls};
use aumbry_types::hex;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::config::{ClientListener, Limits};

/// Why the listener's TLS was not set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds something else.
    #[error("cannot use {path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why, and what it must hold.
        message: String,
    },
    /// Certificate and key do not go together.
    #[error("the certificate and key of the client listener cannot be used: {0}")]
    Config(#[from] rustls::Error),
    /// The authorities for client certificates cannot be used.
    #[error("client.ca_file cannot be used: {0}")]
    Authorities(#[from] rustls::server::VerifierBuilderError),
}

/// The TLS configuration of the client listener.
///
/// # Errors
/// [`TlsError`] names the file.
pub(crate) fn client_config(listener: &ClientListener) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read_certificates(&listener.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&listener.key_file).map_err(|error| TlsError::File {
        path: listener.key_file.clone(),
        message: format!("{error}; it must hold a private key in PEM"),
    })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match &listener.ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in read_certificates(file)? {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Who is at the other end, as far as TCP and TLS tell.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The address.
    pub(crate) address: SocketAddr,
    /// SHA-256 of the client's certificate in hexadecimal digits, if it showed one that its authority signed.
    pub(crate) certificate: Option<String>,
    /// What the address may make this node hold.
    pub(crate) share: Arc<Share>,
}

/// Connections of clients whose handshake is done.
pub(crate) fn accept(listener: TcpListener, config: Arc<ServerConfig>, limits: &Limits) -> Incoming<Peer> {
    let bounds = Bounds {
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
        memory: Memory::new(limits.memory_bytes, limits.memory_bytes / ADDRESS_PART),
    };
    let acceptor = TlsAcceptor::from(config);
    accept_tls(
        listener,
        bounds,
        move || acceptor.clone(),
        |address, connection, share| {
            let certificate = connection.peer_certificates().and_then(|chain| chain.first());
            Some(Peer {
                address,
                certificate: certificate
                    .map(|certificate| hex::encode(&aumbry_crypto::sha256(&[certificate.as_ref()]))),
                share: Arc::clone(share),
            })
        },
    )
}

/// What one address may hold of the memory for all: one that fills its part leaves the others theirs.
const ADDRESS_PART: usize = 4;

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |message: String| TlsError::File {
        path: path.to_owned(),
        message,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(format!("{error}; it must hold certificates in PEM")))?;
    if certificates.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}
