//! How the nodes of a bed are reached by clients.

use std::time::Duration;

use anyhow::Result;
use aumbry_client::Client;
use aumbry_types::SecretBytes;

/// Endpoints, their authority, and the root token.
pub(crate) struct Reach {
    endpoints: Vec<String>,
    ca: Vec<u8>,
    root: SecretBytes,
}

impl Reach {
    /// Of these nodes.
    pub(crate) const fn new(endpoints: Vec<String>, ca: Vec<u8>, root: SecretBytes) -> Self {
        Self { endpoints, ca, root }
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.endpoints.len()
    }

    /// A client of all nodes, which tries again where that is safe, and begins with this node.
    pub(crate) fn patient_from(&self, at: usize) -> Result<Client> {
        let count = self.endpoints.len();
        let order = self.endpoints.iter().cycle().skip(at % count).take(count);
        self.client(order.cloned().collect(), self.root.duplicate(), PATIENT, true)
    }

    /// A client of one node, which tries again.
    pub(crate) fn patient_on(&self, at: usize) -> Result<Client> {
        let one = vec![self.endpoints[at].clone()];
        self.client(one, self.root.duplicate(), LAST, true)
    }

    /// A client of one node, which asks once and makes no idempotency keys.
    pub(crate) fn once_on(&self, at: usize) -> Result<Client> {
        let one = vec![self.endpoints[at].clone()];
        self.client(one, self.root.duplicate(), ONCE, false)
    }

    /// As [`Self::once_on`], with another token.
    pub(crate) fn token_on(&self, at: usize, token: SecretBytes) -> Result<Client> {
        self.client(vec![self.endpoints[at].clone()], token, ONCE, false)
    }

    fn client(&self, endpoints: Vec<String>, token: SecretBytes, timeout: Duration, retries: bool) -> Result<Client> {
        let builder = Client::builder()
            .endpoints(endpoints)
            .ca_pem(self.ca.clone())
            .token(token);
        Ok(builder.timeout(timeout).retries(retries).build()?)
    }
}

/// Longer than an election on a busy machine.
const PATIENT: Duration = Duration::from_secs(8);
/// Shorter, so that a node that answers nobody does not hold up the client for long.
const ONCE: Duration = Duration::from_secs(4);
/// At the end everything is answered, however busy the machine is.
const LAST: Duration = Duration::from_secs(60);
