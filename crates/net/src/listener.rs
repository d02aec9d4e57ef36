//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use rustls::ServerConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Connection;
use crate::share::{Memory, Place, Share, Shares};

/// How much a listener takes on.
#[derive(Clone)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Connections of one address at once.
    pub connections_per_address: usize,
    /// The memory of what clients send and are sent.
    pub memory: Memory,
}

/// Accepts connections in the background until the stream is dropped. `acceptor` gives the TLS of the moment; `identify` tells who the other
/// end is, or that it is nobody.
pub fn accept<I: Send + 'static>(
    listener: TcpListener,
    bounds: Bounds,
    acceptor: impl Fn() -> TlsAcceptor + Send + Sync + 'static,
    identify: impl Fn(SocketAddr, &ServerConnection, &Arc<Share>) -> Option<I> + Send + Sync + 'static,
) -> Incoming<I> {
    let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
    let listening = Listening {
        listener,
        open: Arc::new(Semaphore::new(bounds.connections)),
        handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        shares: Shares::new(bounds.memory.clone()),
        bounds,
        acceptor,
        identify: Arc::new(identify),
        sender,
    };
    Incoming {
        accepted,
        task: tokio::spawn(listening.run()),
    }
}

/// Accepts connections without TLS, for what everybody may know. Each knows the address of its other end.
pub fn accept_plain(listener: TcpListener, bounds: Bounds) -> Incoming<SocketAddr, TcpStream> {
    accept_plain_as(listener, bounds, |address, _| address)
}

/// As [`accept_plain`], with what `identify` makes of the other end.
pub fn accept_plain_as<I: Send + 'static>(
    listener: TcpListener,
    bounds: Bounds,
    identify: impl Fn(SocketAddr, &Arc<Share>) -> I + Send + Sync + 'static,
) -> Incoming<I, TcpStream> {
    let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
    let task = tokio::spawn(async move {
        let open = Arc::new(Semaphore::new(bounds.connections));
        let shares = Shares::new(bounds.memory);
        loop {
            let Ok(permit) = Arc::clone(&open).acquire_owned().await else {
                return;
            };
            let Ok((stream, address)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let share = shares.of(address.ip());
            let Some(place) = Place::take(&share, |share| &share.connections, bounds.connections_per_address) else {
                continue;
            };
            // Small replies must not wait for more bytes; a socket that cannot say so still works.
            let _ = stream.set_nodelay(true);
            let connection = Connection {
                stream,
                info: identify(address, &share),
                _places: (permit, place),
            };
            if sender.send(Ok(connection)).await.is_err() {
                return;
            }
        }
    });
    Incoming { accepted, task }
}

struct Listening<A, F, I> {
    listener: TcpListener,
    bounds: Bounds,
    open: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    shares: Shares,
    acceptor: A,
    identify: Arc<F>,
    sender: mpsc::Sender<io::Result<Connection<I>>>,
}

impl<A, F, I> Listening<A, F, I>
where
    A: Fn() -> TlsAcceptor,
    F: Fn(SocketAddr, &ServerConnection, &Arc<Share>) -> Option<I> + Send + Sync + 'static,
    I: Send + 'static,
{
    async fn run(self) {
        loop {
            // Connections beyond the bounds wait in the system's queue.
            let open = Arc::clone(&self.open).acquire_owned().await;
            let handshake = Arc::clone(&self.handshakes).acquire_owned().await;
            let (Ok(open), Ok(handshake)) = (open, handshake) else {
                return;
            };
            // Out of file descriptors, or a client that left before it was accepted: the next one may do better.
            let Ok((tcp, address)) = self.listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // One that has its share already is closed at once.
            self.begin(tcp, address, open, handshake);
        }
    }

    fn begin(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        open: OwnedSemaphorePermit,
        handshake: OwnedSemaphorePermit,
    ) -> Option<()> {
        let share = self.shares.of(address.ip());
        let place = Place::take(&share, |share| &share.connections, self.bounds.connections_per_address)?;
        let handshakes = Place::take(&share, |share| &share.handshakes, HANDSHAKES_PER_ADDRESS_MAX)?;
        let (acceptor, identify, sender) = ((self.acceptor)(), Arc::clone(&self.identify), self.sender.clone());
        tokio::spawn(async move {
            // Small replies must not wait for more bytes; a socket that cannot say so still works.
            let _ = tcp.set_nodelay(true);
            let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await;
            drop((handshake, handshakes));
            let Ok(Ok(stream)) = shaken else { return };
            let Some(info) = identify(address, stream.get_ref().1, &share) else {
                return;
            };
            let connection = Connection {
                stream,
                info,
                _places: (open, place),
            };
            let _ = sender.send(Ok(connection)).await;
        });
        Some(())
    }
}

/// The stream of accepted connections.
pub struct Incoming<I, S = TlsStream<TcpStream>> {
    accepted: mpsc::Receiver<io::Result<Connection<I, S>>>,
    task: tokio::task::JoinHandle<()>,
}

impl<I, S> Drop for Incoming<I, S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<I, S> Stream for Incoming<I, S> {
    type Item = io::Result<Connection<I, S>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted.poll_recv(context)
    }
}

/// A handshake takes two round trips, at most a second around the world; who takes longer holds a place for nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at once: each costs about a millisecond of a core.
const HANDSHAKES_MAX: usize = 512;
/// A machine that runs a whole cluster, or a proxy, opens its connections at once.
const HANDSHAKES_PER_ADDRESS_MAX: usize = 128;
/// Handshakes finished and not yet taken over by the server.
const ACCEPTED_MAX: usize = 64;
/// Not to spin while the system has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use rustls_pki_types::PrivatePkcs8KeyDer;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn acceptor() -> TlsAcceptor {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Handshakes that nobody ends take the places of their address only, and are closed beyond them.
    ///
    /// Abuse cases: 94.
    #[tokio::test]
    async fn an_address_has_so_many_handshakes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = Bounds {
            connections: 1_000,
            connections_per_address: 1_000,
            memory: Memory::new(1, 1),
        };
        let tls = acceptor();
        let mut incoming = accept(listener, bounds, move || tls.clone(), |address, _, _| Some(address));
        let mut idle = Vec::new();
        for _ in 0..HANDSHAKES_PER_ADDRESS_MAX {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut beyond = TcpStream::connect(address).await.unwrap();
        let read = beyond.read(&mut [0; 1]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "it is closed");
        drop(idle);
        assert!(futures::poll!(incoming.next()).is_pending(), "nobody got through");
    }
    /// One address has its share of connections without TLS; beyond it they are closed, and a place that is given back is taken again.
    #[tokio::test]
    async fn an_address_has_so_many_plain_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounds = Bounds {
            connections: 10,
            connections_per_address: 1,
            memory: Memory::new(1, 1),
        };
        let mut incoming = accept_plain(listener, bounds);
        let _first = TcpStream::connect(address).await.unwrap();
        let taken = incoming.next().await.unwrap().unwrap();
        let mut beyond = TcpStream::connect(address).await.unwrap();
        let read = beyond.read(&mut [0; 1]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "it is closed");
        drop(taken);
        let _second = TcpStream::connect(address).await.unwrap();
        assert!(incoming.next().await.is_some());
    }
}
