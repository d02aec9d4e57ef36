//! The client listener: TCP, TLS 1.2 or 1.3, bounded in connections and in time.

use std::net::SocketAddr;
use std::sync::Arc;

use aumbry_net::{Bounds, Incoming, Memory, Share, accept as accept_tls};
use aumbry_types::hex;
use tokio::net::{TcpListener, TcpStream};

use crate::certificate::Certificate;
use crate::config::Limits;

/// Who is at the other end, as far as TCP and TLS tell.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The address.
    pub(crate) address: SocketAddr,
    /// SHA-256 of the client's certificate in hexadecimal digits, if it showed one that its authority signed.
    pub(crate) certificate: Option<String>,
    /// The client's certificate and those above it, in DER, whoever signed them.
    pub(crate) chain: Arc<[Vec<u8>]>,
    /// What the address may make this node hold.
    pub(crate) share: Arc<Share>,
}

/// What the listeners for clients take on: connections each, and memory together.
pub(crate) fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
        memory: Memory::new(limits.memory_bytes, limits.memory_bytes / ADDRESS_PART),
    }
}

/// Connections of clients whose handshake is done, each with the certificate of its moment.
pub(crate) fn accept(listener: TcpListener, certificate: Arc<Certificate>, bounds: Bounds) -> Incoming<Peer> {
    let is_verified = certificate.has_authorities();
    accept_tls(
        listener,
        bounds,
        move || certificate.acceptor(),
        move |address, connection, share| {
            let chain = connection.peer_certificates().unwrap_or_default();
            let certificate = chain.first().filter(|_| is_verified);
            Some(Peer {
                address,
                certificate: certificate
                    .map(|certificate| hex::encode(&aumbry_crypto::sha256(&[certificate.as_ref()]))),
                chain: chain.iter().take(CHAIN_MAX).map(|der| der.to_vec()).collect(),
                share: Arc::clone(share),
            })
        },
    )
}

/// Connections without TLS, from this machine.
pub(crate) fn accept_plain(listener: TcpListener, bounds: Bounds) -> Incoming<Peer, TcpStream> {
    aumbry_net::accept_plain_as(listener, bounds, |address, share| Peer {
        address,
        certificate: None,
        chain: Arc::new([]),
        share: Arc::clone(share),
    })
}

/// What one address may hold of the memory for all: one that fills its part leaves the others theirs.
const ADDRESS_PART: usize = 4;
/// A certificate and the intermediate authorities above it; the length of all is bounded by the handshake.
const CHAIN_MAX: usize = 9;
