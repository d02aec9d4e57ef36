//! A request as the pipeline takes it.

use aumbry_types::{NodeId, RequestId, SecretBytes};
use tokio::time::Instant;

use crate::Operation;

/// What a read promises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It sees everything that was acknowledged before it began.
    #[default]
    Linearizable,
    /// It sees at least the index that the client names.
    AtIndex,
}

/// What the caller showed, as the node that was called received it. Forwarding leaves it unchanged.
#[derive(Default)]
pub struct Evidence {
    /// The token.
    pub token: SecretBytes,
    /// The address that the connection came from.
    pub client_address: String,
    /// The identity in the client's certificate, if it showed one.
    pub tls_identity: String,
    /// The node that was called.
    pub received_by: NodeId,
}

/// One request.
pub struct Request {
    /// Its identity, the same over forwarding and re-planning.
    pub id: RequestId,
    /// What is asked.
    pub operation: Operation,
    /// Who asks.
    pub evidence: Evidence,
    /// The client's key under which a retry is the same request; empty for none.
    pub idempotency_key: String,
    /// What a read promises.
    pub consistency: Consistency,
    /// The index that the answer must at least reflect; 0 for none.
    pub min_index: u64,
    /// When the caller gives up.
    pub deadline: Instant,
}

/// The longest idempotency key: a UUID with a prefix of the client's own fits.
pub(crate) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
