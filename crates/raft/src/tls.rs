//! TLS between nodes: version 1.3 only, both sides with certificates of the cluster's own authority, each name checked.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aumbry_net::{Bounds, Incoming, Memory, accept as accept_tls};
use aumbry_types::{ClusterId, NodeId};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::identity::Identity;
use crate::pki::{node_name, parse_node_name};

/// Why TLS was not set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A key or certificate cannot be read.
    #[error("the node's key or certificate cannot be read: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// They do not go together.
    #[error("the node's key or certificate cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
    /// The authority cannot be used.
    #[error("the cluster's authority cannot be used: {0}")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

/// Both sides of a node's TLS. They change only while a cluster is initialised anew.
pub(crate) struct PeerTls {
    sides: RwLock<Sides>,
    cluster: ClusterId,
}

#[derive(Clone)]
struct Sides {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

/// Who a certificate says a peer is: a node of this cluster, and SHA-256 of its public key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerIdentity {
    pub(crate) node: NodeId,
    pub(crate) pin: [u8; 32],
}

impl PeerTls {
    pub(crate) fn new(identity: &Identity) -> Result<Self, TlsError> {
        Ok(Self {
            sides: RwLock::new(Sides::new(identity)?),
            cluster: identity.cluster,
        })
    }

    /// Takes another certificate and authority into use, for connections from now on.
    pub(crate) fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        *self.sides.write().unwrap_or_else(PoisonError::into_inner) = Sides::new(identity)?;
        Ok(())
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        self.sides().connector
    }

    fn sides(&self) -> Sides {
        self.sides.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads who a verified certificate says the peer is.
    pub(crate) fn identify(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<PeerIdentity> {
        let certificate = webpki::EndEntityCert::try_from(chain?.first()?).ok()?;
        let node = certificate
            .valid_dns_names()
            .find_map(|name| parse_node_name(self.cluster, name))?;
        let spki = certificate.subject_public_key_info();
        Some(PeerIdentity {
            node,
            pin: aumbry_crypto::sha256(&[spki.as_ref()]),
        })
    }
}

impl Sides {
    fn new(identity: &Identity) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(identity.authority.as_bytes())?)?;
        let roots = Arc::new(roots);
        let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(identity.key.expose())?;
        let client = client_config(&provider, &roots, chain.clone(), key.clone_key())?;
        let server = server_config(&provider, roots, chain, key)?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(client)),
            acceptor: TlsAcceptor::from(Arc::new(server)),
        })
    }
}

/// Whether key, certificate and authority go together, and the certificate names this node of this cluster.
pub(crate) fn check_identity(identity: &Identity) -> Result<(), TlsError> {
    Sides::new(identity)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(identity.authority.as_bytes())?)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
    let name = ServerName::try_from(node_name(identity.cluster, identity.node))
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let time = UnixTime::since_unix_epoch(ANY_TIME);
    verifier.verify_server_cert(&certificate, &[], &name, &[], time)?;
    Ok(())
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider)).build()?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&[&TLS13])?;
    let mut config = builder
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).build()?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&[&TLS13])?;
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Connections of peers whose handshake is done.
pub(crate) fn accept(listener: TcpListener, tls: Arc<PeerTls>) -> Incoming<PeerIdentity> {
    let bounds = Bounds {
        connections: CONNECTIONS_MAX,
        connections_per_address: CONNECTIONS_MAX,
        // Peers are members: what they send is bounded by the messages.
        memory: Memory::new(0, 0),
    };
    let sides = Arc::clone(&tls);
    let acceptor = move || sides.sides().acceptor;
    // A certificate of the authority that names no node of this cluster is nobody.
    accept_tls(listener, bounds, acceptor, move |_, connection, _| {
        tls.identify(connection.peer_certificates())
    })
}

/// Certificates of nodes are valid at all times, so any will do, and no clock is asked.
const ANY_TIME: Duration = Duration::from_secs(2_000_000_000);
/// Who gets so far has a certificate of the cluster's authority: four connections of each member, and what is left of broken ones.
const CONNECTIONS_MAX: usize = 1_024;
