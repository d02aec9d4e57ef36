//! A request as the pipeline takes it.

use aumbry_types::{NamespacePath, NodeId, RequestId, SecretBytes};
use tokio::time::Instant;

use crate::{Operation, Sent};

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
    /// The client's certificate and those above it, in DER. It has proved that it holds the key of the first, and nothing else of them is known.
    pub certificates: Vec<Vec<u8>>,
}

impl Evidence {
    /// A second copy, for a second owner. Explicit, so that it can be found.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            token: self.token.duplicate(),
            client_address: self.client_address.clone(),
            tls_identity: self.tls_identity.clone(),
            received_by: self.received_by,
            certificates: self.certificates.clone(),
        }
    }
}

/// One request.
pub struct Request {
    /// Its identity, the same over forwarding and re-planning.
    pub id: RequestId,
    /// The namespace that it is made in.
    pub namespace: NamespacePath,
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
    /// What came with a request by path; nothing with a typed one.
    pub sent: Option<Sent>,
}

impl Request {
    /// The same request for another operation, which it comes to, in the namespace that its path leads to.
    #[must_use]
    pub fn resolved(&self, namespace: NamespacePath, operation: Operation) -> Self {
        Self {
            id: self.id,
            namespace,
            operation,
            evidence: self.evidence.duplicate(),
            idempotency_key: self.idempotency_key.clone(),
            consistency: self.consistency,
            min_index: self.min_index,
            deadline: self.deadline,
            sent: self.sent().cloned(),
        }
    }
}

/// The longest idempotency key: a UUID with a prefix of the client's own fits.
pub(crate) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
