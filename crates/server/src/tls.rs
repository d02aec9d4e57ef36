//! The client listener: TCP, TLS 1.2 or 1.3, bounded in connections and in time.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::config::ClientListener;

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

/// An accepted connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    _open: OwnedSemaphorePermit,
}

/// Who is at the other end, as far as TCP and TLS tell.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The address.
    pub(crate) address: SocketAddr,
    /// SHA-256 of the client's certificate in hexadecimal digits, if it showed one that its authority signed.
    pub(crate) certificate: Option<String>,
}

/// Connections whose handshake is done, accepted in the background until the stream is dropped.
pub(crate) fn accept(listener: TcpListener, config: Arc<ServerConfig>, connections_max: usize) -> Connections {
    let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
    let task = tokio::spawn(async move {
        let open = Arc::new(Semaphore::new(connections_max));
        let acceptor = TlsAcceptor::from(config);
        loop {
            let Ok(permit) = Arc::clone(&open).acquire_owned().await else {
                return;
            };
            // Out of file descriptors, or a client that left before it was accepted: the next one may do better.
            let Ok((tcp, address)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                // Small replies must not wait for more bytes; a socket that cannot say so still works.
                let _ = tcp.set_nodelay(true);
                let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await else {
                    return;
                };
                let certificate = stream
                    .get_ref()
                    .1
                    .peer_certificates()
                    .and_then(|chain| chain.first())
                    .map(fingerprint);
                let peer = Peer { address, certificate };
                let _ = sender
                    .send(Ok(Connection {
                        stream,
                        peer,
                        _open: permit,
                    }))
                    .await;
            });
        }
    });
    Connections { accepted, task }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = aumbry_crypto::sha256(&[certificate.as_ref()]);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The stream of accepted connections.
pub(crate) struct Connections {
    accepted: mpsc::Receiver<io::Result<Connection>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted.poll_recv(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
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

/// A handshake takes a few round trips; who takes longer holds a connection for nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes finished and not yet taken over by the server.
const ACCEPTED_MAX: usize = 64;
/// Not to spin while the system has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
