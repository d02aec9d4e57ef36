//! The states of nodes, compared.

use anyhow::Result;
use aumbry_client::{Client, v1};

use crate::cluster::eventually;

/// Waits until all these nodes, each with a client of its own, have the same state and audit tree at the same index. They are asked at once, as
/// being asked moves the index.
pub async fn equal_states(clients: &[Client]) -> Result<()> {
    eventually("state digest and audit root are equal at an equal index", || {
        are_equal(clients)
    })
    .await
}

/// Whether all these nodes answer with the same state and audit tree at the same index.
pub(crate) async fn are_equal(clients: &[Client]) -> bool {
    let asking = clients.iter().map(|client| client.call(v1::StatusRequest::default()));
    let Ok(statuses) = futures::future::try_join_all(asking).await else {
        return false;
    };
    let of = |s: &v1::StatusReply| (s.applied, s.state_digest.clone(), s.audit_root.clone(), s.audit_size);
    statuses.windows(2).all(|pair| of(&pair[0]) == of(&pair[1]))
}
