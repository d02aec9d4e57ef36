//! What the node needs from outside of itself and is handed at its start.

use aumbry_state::Room;
use aumbry_types::{ClusterId, LogIndex, NodeId, SecretBytes, WallTime};
use futures::future::BoxFuture;

/// A node that wants to join, with its evidence.
pub struct JoinRequest {
    /// The join token's secret.
    pub secret: SecretBytes,
    /// The public key, as DER (SPKI).
    pub spki: Vec<u8>,
    /// The node's name.
    pub name: String,
    /// Where peers reach it.
    pub peer_addr: String,
    /// Where clients reach it.
    pub client_addr: String,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
}

/// Signs the certificate of a node: authority key (PEM), authority certificate (PEM), cluster, node, public key (SPKI, DER).
pub type SignNode = Box<dyn Fn(&SecretBytes, &str, ClusterId, NodeId, &[u8]) -> Result<String, String> + Send + Sync>;

/// What a peer tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerState {
    /// Whether it holds the keys.
    pub unsealed: bool,
    /// Its wall clock.
    pub wall: WallTime,
    /// The last index that it has applied.
    pub applied: LogIndex,
    /// Its state digest at that index.
    pub digest: [u8; 32],
    /// How much room its disk has.
    pub room: Room,
}

/// Asks a peer for its state. `None` if it does not answer in time.
pub type AskPeer = Box<dyn Fn(NodeId) -> BoxFuture<'static, Option<PeerState>> + Send + Sync>;

/// Tells how much room this node's disk has, as it was measured last.
pub type OwnRoom = Box<dyn Fn() -> Room + Send + Sync>;

/// The node's surroundings.
pub struct Outside {
    /// Signs certificates of joining nodes.
    pub sign_node: SignNode,
    /// Asks a peer for its state.
    pub ask_peer: AskPeer,
    /// Tells how much room this node's disk has.
    pub room: OwnRoom,
    /// The cluster that this node belongs to.
    pub cluster: ClusterId,
    /// This node's region, for audit records.
    pub region: String,
}
