//! TLS between nodes: version 1.3 only, both sides with certificates of the cluster's own authority, each name checked.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use aumbry_types::{ClusterId, NodeId};
use futures::Stream;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::server::Connected;

use crate::identity::Identity;
use crate::pki::parse_node_name;

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
pub(crate) fn accept(listener: TcpListener, tls: Arc<PeerTls>) -> PeerConnections {
    let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
    let task = tokio::spawn(async move {
        let open = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let Ok(permit) = Arc::clone(&open).acquire_owned().await else {
                return;
            };
            let Ok((tcp, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (tls, sender) = (Arc::clone(&tls), sender.clone());
            tokio::spawn(async move {
                let _ = tcp.set_nodelay(true);
                let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.sides().acceptor.accept(tcp)).await;
                drop(permit);
                let Ok(Ok(stream)) = handshake else { return };
                // A certificate of the authority that names no node of this cluster is nobody.
                let Some(identity) = tls.identify(stream.get_ref().1.peer_certificates()) else {
                    return;
                };
                let _ = sender.send(Ok(PeerConnection { stream, identity })).await;
            });
        }
    });
    PeerConnections { accepted, task }
}

/// The stream of accepted connections.
pub(crate) struct PeerConnections {
    accepted: mpsc::Receiver<io::Result<PeerConnection>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for PeerConnections {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream for PeerConnections {
    type Item = io::Result<PeerConnection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted.poll_recv(context)
    }
}

/// A connection of a peer.
pub(crate) struct PeerConnection {
    stream: TlsStream<TcpStream>,
    identity: PeerIdentity,
}

impl Connected for PeerConnection {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        self.identity
    }
}

impl AsyncRead for PeerConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PeerConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A handshake between nodes takes two round trips, at most a second around the world.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at once. Connections themselves are bounded by the members, who open three each.
const HANDSHAKES_MAX: usize = 64;
const ACCEPTED_MAX: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
