//! What stands for TLS in a simulation: each side says who it is, and is believed. What TLS is for is tested with real processes; here it would bring
//! chance from outside of the simulated world.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use aumbry_types::{ClusterId, NodeId};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::identity::Identity;
use crate::pki::node_name;

/// Why TLS was not set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A key or certificate cannot be read.
    #[error("the node's key or certificate cannot be read")]
    Unreadable,
}

/// Who a node says that it is.
pub(crate) struct PeerTls {
    hello: RwLock<Hello>,
}

type Hello = [u8; 56];

/// Who a peer is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerIdentity {
    pub(crate) node: NodeId,
    pub(crate) pin: [u8; 32],
}

impl PeerTls {
    pub(crate) fn new(identity: &Identity) -> Result<Self, TlsError> {
        Ok(Self {
            hello: RwLock::new(hello(identity)),
        })
    }

    pub(crate) fn replace(&self, identity: &Identity) -> Result<(), TlsError> {
        *self.hello.write().unwrap_or_else(PoisonError::into_inner) = hello(identity);
        Ok(())
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector { own: self.own() }
    }

    fn own(&self) -> Hello {
        *self.hello.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn identify(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<PeerIdentity> {
        identity_in(chain?.first()?)
    }
}

fn identity_in(hello: &[u8]) -> Option<PeerIdentity> {
    let node = hello.get(16..24)?.try_into().ok()?;
    let pin = hello.get(24..56)?.try_into().ok()?;
    Some(PeerIdentity {
        node: NodeId(u64::from_be_bytes(node)),
        pin,
    })
}

/// The key is its public key here.
fn hello(identity: &Identity) -> Hello {
    let mut hello = [0; 56];
    hello[..16].copy_from_slice(identity.cluster.as_bytes());
    hello[16..24].copy_from_slice(&identity.node.0.to_be_bytes());
    hello[24..].copy_from_slice(&aumbry_crypto::sha256(&[identity.key.expose()]));
    hello
}

pub(crate) fn check_identity(identity: &Identity) -> Result<(), TlsError> {
    (!identity.key.expose().is_empty())
        .then_some(())
        .ok_or(TlsError::Unreadable)
}

pub(crate) struct Connector {
    own: Hello,
}

impl Connector {
    pub(crate) async fn connect(&self, name: ServerName<'static>, mut tcp: TcpStream) -> io::Result<PeerStream> {
        tcp.write_all(&self.own).await?;
        let mut theirs: Hello = [0; 56];
        tcp.read_exact(&mut theirs).await?;
        let node = identity_in(&theirs).map_or(0, |identity| identity.node.0);
        let cluster = theirs[..16].try_into().map(ClusterId::from_bytes);
        let cluster = cluster.map_err(|_| io::ErrorKind::InvalidData)?;
        if name.to_str() != node_name(cluster, NodeId(node)) {
            return Err(io::Error::other("the peer's certificate is not of this name"));
        }
        Ok(PeerStream {
            tcp,
            session: Session {
                chain: vec![CertificateDer::from(theirs.to_vec())],
            },
        })
    }
}

/// A connection to a peer that has said who it is.
pub(crate) struct PeerStream {
    tcp: TcpStream,
    session: Session,
}

pub(crate) struct Session {
    chain: Vec<CertificateDer<'static>>,
}

impl Session {
    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        Some(&self.chain)
    }
}

impl PeerStream {
    pub(crate) const fn get_ref(&self) -> (&TcpStream, &Session) {
        (&self.tcp, &self.session)
    }
}

impl Connected for PeerStream {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        let identity = self.session.chain.first().and_then(|hello| identity_in(hello));
        identity.expect("it was read when the connection was accepted")
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Connections of peers that have said who they are.
pub(crate) fn accept(listener: TcpListener, tls: Arc<PeerTls>) -> ReceiverStream<io::Result<PeerStream>> {
    let (accepted, connections) = mpsc::channel(CONNECTIONS_WAITING);
    tokio::spawn(async move {
        loop {
            let tcp = listener.accept().await;
            let (own, accepted) = (tls.own(), accepted.clone());
            tokio::spawn(async move {
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, welcome(tcp, own)).await {
                    // Nobody serves any more otherwise.
                    let _ = accepted.send(Ok(stream)).await;
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

async fn welcome(mut tcp: TcpStream, own: Hello) -> io::Result<PeerStream> {
    let mut theirs: Hello = [0; 56];
    tcp.read_exact(&mut theirs).await?;
    if theirs[..16] != own[..16] {
        return Err(io::Error::other("the caller is of another cluster"));
    }
    tcp.write_all(&own).await?;
    Ok(PeerStream {
        tcp,
        session: Session {
            chain: vec![CertificateDer::from(theirs.to_vec())],
        },
    })
}

const CONNECTIONS_WAITING: usize = 64;
const HANDSHAKE: Duration = Duration::from_secs(10);
