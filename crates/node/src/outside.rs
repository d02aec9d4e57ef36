//! What the node needs from outside of itself and is handed at its start.

use std::sync::Arc;

use aumbry_auth::ldap;
use aumbry_state::{Erased, Room};
use aumbry_types::{ClusterId, LogIndex, NodeId, SecretBytes, WallTime};
use futures::future::BoxFuture;

use crate::HashStore;

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
    /// How far it is with erasing what was replaced.
    pub erased: Erased,
}

/// Asks a peer for its state. `None` if it does not answer in time.
pub type AskPeer = Box<dyn Fn(NodeId) -> BoxFuture<'static, Option<PeerState>> + Send + Sync>;

/// Tells how much room this node's disk has, as it was measured last.
pub type OwnRoom = Box<dyn Fn() -> Room + Send + Sync>;

/// A question to a service outside of the cluster, by HTTPS.
pub struct WebRequest {
    /// The whole address.
    pub url: String,
    /// Certificates in PEM, of which one must have signed the service's; nothing for those that the machine trusts.
    pub authority_pem: String,
    /// Who asks, if it takes that.
    pub credential: Option<WebCredential>,
    /// What is posted; without it, something is fetched.
    pub body: Option<WebBody>,
}

impl WebRequest {
    /// Fetches something that everybody may have.
    #[must_use]
    pub const fn get(url: String, authority_pem: String) -> Self {
        Self {
            url,
            authority_pem,
            credential: None,
            body: None,
        }
    }
}

/// Who asks a service.
pub enum WebCredential {
    /// Who has this token.
    Bearer(SecretBytes),
    /// A name and a password, with a colon between them (RFC 7617).
    Basic(SecretBytes),
}

/// What is posted to a service.
pub enum WebBody {
    /// JSON.
    Json(SecretBytes),
    /// Pairs, encoded as those of an address.
    Form(SecretBytes),
}

/// What a service answered.
pub struct WebAnswer {
    /// The code.
    pub code: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a service did not answer.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address cannot be asked.
    #[error("the address is none that can be asked: https, a host, and if need be a port and a path")]
    Address,
    /// The certificates cannot be used to verify the service's.
    #[error("no authority for the service's certificate: configure one in PEM, or install the machine's")]
    Authority,
    /// It cannot be reached, or its certificate is not of the authority.
    #[error("the service cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the service did not answer in time")]
    Late,
    /// Its answer is over the bound.
    #[error("the service's answer is too long")]
    TooLong,
}

/// Asks a service outside of the cluster: by HTTPS alone, without following anybody elsewhere, and within bounds of time and length.
pub type AskWeb = Arc<dyn Fn(WebRequest) -> BoxFuture<'static, Result<WebAnswer, WebError>> + Send + Sync>;

/// For a node that reaches nobody.
#[must_use]
pub fn no_web() -> AskWeb {
    Arc::new(|_| Box::pin(async { Err(WebError::Unreachable("there is no network".to_owned())) }))
}

/// Why a directory did not answer. Nobody is refused for it.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The certificates cannot be used to verify the directory's.
    #[error("no authority for the directory's certificate: configure one in PEM, or install the machine's")]
    Authority,
    /// No server of it can be reached, or its certificate is not of the authority.
    #[error("the directory cannot be reached: {0}")]
    Unreachable(String),
    /// It answers, and not what was asked.
    #[error("the directory does not answer as it should: {0}")]
    Answer(String),
    /// It took too long.
    #[error("the directory did not answer in time")]
    Late,
    /// Its answer is over the bound.
    #[error("the directory's answer is too long")]
    TooLong,
}

/// What a directory says: of whom the password is, or why it takes it for nobody's.
pub type DirectoryAnswer = Result<ldap::Known, &'static str>;

/// Asks a directory: by TLS, or not beyond this machine, without following anybody elsewhere, and within bounds of time and length.
pub type AskDirectory =
    Box<dyn Fn(ldap::Question) -> BoxFuture<'static, Result<DirectoryAnswer, DirectoryError>> + Send + Sync>;

/// For a node that reaches nobody.
#[must_use]
pub fn no_directory() -> AskDirectory {
    Box::new(|_| Box::pin(async { Err(DirectoryError::Unreachable("there is no network".to_owned())) }))
}

/// The node's surroundings.
pub struct Outside {
    /// Signs certificates of joining nodes.
    pub sign_node: SignNode,
    /// Asks a peer for its state.
    pub ask_peer: AskPeer,
    /// Tells how much room this node's disk has.
    pub room: OwnRoom,
    /// Asks a service outside of the cluster.
    pub ask_web: AskWeb,
    /// Asks a directory.
    pub ask_directory: AskDirectory,
    /// Keeps the hashes that audit proofs are made from.
    pub audit_hashes: Box<dyn HashStore>,
    /// The cluster that this node belongs to.
    pub cluster: ClusterId,
    /// This node's region, for audit records.
    pub region: String,
}
