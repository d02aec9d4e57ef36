//! The client listener: TCP, TLS 1.2 or 1.3, bounded in connections and in time.

use std::net::SocketAddr;
use std::sync::Arc;

use aumbry_net::{Bounds, Incoming, Memory, Share, accept as accept_tls};
use aumbry_types::hex;
use tokio::net::TcpListener;

use crate::certificate::Certificate;
use crate::config::Limits;

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

/// Connections of clients whose handshake is done, each with the certificate of its moment.
pub(crate) fn accept(listener: TcpListener, certificate: Arc<Certificate>, limits: &Limits) -> Incoming<Peer> {
    let bounds = Bounds {
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
        memory: Memory::new(limits.memory_bytes, limits.memory_bytes / ADDRESS_PART),
    };
    accept_tls(
        listener,
        bounds,
        move || certificate.acceptor(),
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
