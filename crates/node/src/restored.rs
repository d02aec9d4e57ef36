//! A store that comes from a backup: it takes over the identity of its new cluster, and stays in quarantine until an operator releases it.
//!
//! A backup is a look back: tokens and policies that were revoked since are in force again in it. So nobody but root is served, and what the
//! leader does by itself waits, until an operator has looked at it.

use std::time::Duration;

use aumbry_audit::Field;
use aumbry_barrier::{Kind, ObjectOptions, Txn, record as stored};
use aumbry_state::key;
use aumbry_types::{ClusterId, SecretBytes, hex};
use serde::{Deserialize, Serialize};

use crate::genesis::{self, AUTHORITY, FACTS_VERSION, GenesisFacts, clear_row};
use crate::{Class, Failure, Node, Reply, record};

/// Where a store comes from that was restored from a backup, or recovered from a survivor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredFrom {
    /// The cluster of the backup, or of the survivor.
    pub cluster_id: ClusterId,
    /// The last log index in it.
    pub index: u64,
    /// How many audit records it has.
    pub audit_size: u64,
    /// Their root.
    pub audit_root: [u8; 32],
    /// Whether an operator has released it.
    pub released: bool,
}

/// The identity of the cluster that a restored or recovered store becomes.
pub struct NewIdentity {
    /// The certificate of its authority, PEM.
    pub authority: String,
    /// The private key of its authority, PEM.
    pub authority_key: SecretBytes,
}

impl Node {
    /// Whether the store is still that of the cluster of the backup, so that [`Self::adopt`] must come first.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        genesis::genesis_facts(&*self.consensus.view()).is_none_or(|facts| facts.cluster_id == self.outside.cluster)
    }

    /// Makes the restored store that of this cluster, on record. Needs the keys and the leadership. Nothing happens if it is done.
    ///
    /// # Errors
    /// [`Failure`]; it can be repeated.
    pub async fn adopt(&self, from: RestoredFrom, identity: NewIdentity) -> Result<(), Failure> {
        let cluster = self.outside.cluster;
        let fields = [
            ("from_cluster", from.cluster_id.to_string()),
            ("from_index", from.index.to_string()),
            ("from_audit_size", from.audit_size.to_string()),
            ("from_audit_root", hex::encode(&from.audit_root)),
            ("cluster", cluster.to_string()),
        ];
        let make_record = |leader: aumbry_types::LeaderId, id| {
            let mut record = record::internal("sys.restore", leader.node.0, &self.outside.region, id);
            record.fields = fields
                .map(|(name, value)| (name.to_owned(), Field::Clear(value)))
                .to_vec();
            record
        };
        let waiter = self.plan_recorded(make_record, |txn| adopt(txn, cluster, from, identity))?;
        let Some(waiter) = waiter else { return Ok(()) };
        let again = || {
            Failure::new(
                Class::Unavailable,
                "RESTORING",
                "the restored store was not taken over yet",
            )
            .retry()
        };
        match tokio::time::timeout(ADOPT_TIMEOUT, waiter).await {
            Ok(Ok(Ok(placed))) if placed.outcome == aumbry_audit::Outcome::Ok => Ok(()),
            _ => Err(again()),
        }
    }

    /// Fails while the store is that of another cluster.
    pub(crate) fn check_adopted(&self, txn: &Txn<'_>) -> Result<(), Failure> {
        match genesis::read_facts(txn) {
            Some(facts) if facts.cluster_id != self.outside.cluster => Err(Failure::new(
                Class::Unavailable,
                "RESTORING",
                "the node was restored from a backup and has not taken it over yet; show it a key share once more",
            )
            .retry()),
            _ => Ok(()),
        }
    }
}

fn adopt(txn: &mut Txn<'_>, cluster: ClusterId, from: RestoredFrom, identity: NewIdentity) -> Result<bool, Failure> {
    let facts = read(txn)?;
    if facts.cluster_id == cluster {
        return Ok(false);
    }
    write(
        txn,
        &GenesisFacts {
            cluster_id: cluster,
            authority: identity.authority,
            restored: Some(from),
            ..facts
        },
    );
    txn.put_object(
        AUTHORITY,
        Kind::ClusterAuthority,
        identity.authority_key.expose(),
        ObjectOptions::default(),
    );
    Ok(true)
}

/// Ends the quarantine.
pub(crate) fn release(txn: &mut Txn<'_>) -> Result<Reply, Failure> {
    let mut facts = read(txn)?;
    match &mut facts.restored {
        Some(restored) if !restored.released => restored.released = true,
        _ => {
            return Err(Failure::new(
                Class::FailedPrecondition,
                "NOT_IN_QUARANTINE",
                "the cluster is not in quarantine; see `aumbry operator status`",
            ));
        }
    }
    write(txn, &facts);
    Ok(Reply::Done)
}

/// Whether the store waits for an operator to release it.
pub(crate) fn is_quarantined(txn: &Txn<'_>) -> bool {
    let restored = genesis::read_facts(txn).and_then(|facts| facts.restored);
    restored.is_some_and(|restored| !restored.released)
}

pub(crate) fn quarantined() -> Failure {
    Failure::new(
        Class::FailedPrecondition,
        "QUARANTINED",
        "the cluster is in quarantine and serves root alone until `aumbry operator snapshot release`",
    )
}

pub(crate) fn read(txn: &mut Txn<'_>) -> Result<GenesisFacts, Failure> {
    // Recorded, so that a change meanwhile is a conflict.
    txn.read_row(&key::genesis())?;
    genesis::read_facts(txn).ok_or_else(Failure::uninitialised)
}

pub(crate) fn write(txn: &mut Txn<'_>, facts: &GenesisFacts) {
    let body = stored::encode(FACTS_VERSION, facts);
    txn.write(clear_row(
        key::genesis(),
        bytes::Bytes::copy_from_slice(body.expose()),
        [0, 0],
    ));
    // Who is served depends on it.
    txn.bump_auth_generation(aumbry_auth::NAMESPACE_ROOT);
}

const ADOPT_TIMEOUT: Duration = Duration::from_secs(10);
