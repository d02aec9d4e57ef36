//! From a fresh node to the first member of a cluster that holds a backup's data.

use std::sync::PoisonError;

use aumbry_api::v1;
use aumbry_node::{NewIdentity, RestoredFrom};
use aumbry_raft::{Identity, StartError, discard_unfinished, pki};
use aumbry_state::Consensus as _;
use aumbry_storage::{Backup, Incoming};
use aumbry_types::{ClusterId, NodeId};

use crate::lifecycle::{INCOMING, LEAD_TIMEOUT, Lifecycle, MemberError};
use crate::member::Member;

impl Lifecycle {
    /// Begins to receive a backup of so many bytes.
    pub(crate) fn receive_backup(&self, bytes: u64) -> Result<Incoming, MemberError> {
        Ok(Incoming::create(self.data.path().join(INCOMING), bytes)?)
    }

    /// Makes a new cluster of this fresh node from a backup. It holds the backup's data and is sealed; the shares that open it are those of the
    /// backup's cluster. What needs the keys is done by [`Self::adopt_restored`] once they are there.
    pub(crate) async fn restore(&self, incoming: Incoming) -> Result<v1::SnapshotRestored, MemberError> {
        let mut listener = self.listener.lock().await;
        if self.member().is_some() {
            return Err(MemberError::Already);
        }
        let path = incoming.path().to_owned();
        let opening = tokio::task::spawn_blocking(move || Backup::open(&path));
        let backup = opening.await.map_err(|error| MemberError::Join(error.to_string()))??;
        let manifest = backup.manifest.clone();
        let cluster = ClusterId::make(self.entropy());
        let key = pki::make_node_key()?;
        // The authority's key belongs under the barrier, which is closed. So this authority signs one certificate and is forgotten; the one that
        // lasts is made when the seal opens.
        let identity = certify(cluster, FIRST, key.key, &key.spki)?;
        aumbry_raft::restore(&self.data, &self.config().member(FIRST, &key.spki), backup).await?;
        let from = RestoredFrom {
            cluster_id: manifest.cluster_id,
            index: manifest.index,
            audit_size: manifest.content.audit_size,
            audit_root: manifest.content.audit_root,
            released: false,
        };
        self.data
            .write(RESTORED, &serde_json::to_vec(&from).unwrap_or_default())?;
        identity.0.store(&self.data)?;
        discard_unfinished(&self.data)?;
        self.start(identity.0, &mut listener).await?;
        Ok(v1::SnapshotRestored {
            node_id: FIRST.0,
            cluster_id: cluster.to_string(),
            storage_id: manifest.storage_id.to_string(),
            index: manifest.index,
            from_cluster_id: manifest.cluster_id.to_string(),
        })
    }

    /// Completes a restore with the keys: gives the store its new cluster's authority, on record. Nothing happens if there is nothing to do.
    pub(crate) async fn adopt_restored(&self, member: &Member) -> Result<(), MemberError> {
        if member.node.is_adopted() {
            return Ok(());
        }
        let _one_at_a_time = self.listener.lock().await;
        let Some(from) = self.data.read(RESTORED)? else {
            return Ok(());
        };
        let from: RestoredFrom = serde_json::from_slice(&from).map_err(|_| {
            MemberError::Join("the file `restored-from` is damaged: restore the backup again".to_owned())
        })?;
        let mut changed = member.raft.changed();
        let leads = changed.wait_for(|change| change.leadership.is_some());
        if tokio::time::timeout(LEAD_TIMEOUT, leads).await.is_err() {
            return Err(aumbry_node::InitError::NotLeader.into());
        }
        let key = member
            .identity
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .key
            .duplicate();
        let spki = pki::public_key(&key)?;
        let (identity, new) = certify(member.cluster(), FIRST, key, &spki)?;
        identity.store(&self.data)?;
        member.raft.replace_identity(&identity).map_err(StartError::from)?;
        *member.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
        member.node.adopt(from, new).await.map_err(MemberError::Adopt)?;
        tracing::info!("the restored store belongs to its new cluster; it serves root alone until it is released");
        Ok(self.data.remove(RESTORED)?)
    }
}

/// A new authority, and a certificate that it signs for the first node of its cluster.
pub(crate) fn certify(
    cluster: ClusterId,
    node: NodeId,
    key: aumbry_types::SecretBytes,
    spki: &[u8],
) -> Result<(Identity, NewIdentity), MemberError> {
    let authority = pki::make_authority(cluster)?;
    let identity = Identity {
        cluster,
        node,
        certificate: pki::sign_node(&authority.key, &authority.certificate, cluster, node, spki)?,
        key,
        authority: authority.certificate.clone(),
    };
    let new = NewIdentity {
        authority: authority.certificate,
        authority_key: authority.key,
    };
    Ok((identity, new))
}

const FIRST: NodeId = NodeId(1);
/// Tells of the backup until the store belongs to the new cluster.
const RESTORED: &str = "restored-from";
