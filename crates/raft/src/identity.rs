//! Who a node is: its key, its certificate, its cluster. Kept in the data directory, readable by the node alone.

use std::path::Path;

use aumbry_storage::{DataDir, StorageError};
use aumbry_types::{ClusterId, NodeId, SecretBytes};
use serde::{Deserialize, Serialize};

/// The identity of a node in a cluster.
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The private key, PEM.
    pub key: SecretBytes,
    /// The certificate, PEM.
    pub certificate: String,
    /// The cluster's authority, PEM.
    pub authority: String,
}

/// Why an identity was not loaded or stored.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file is there and cannot be read.
    #[error("the file `identity` in the data directory is damaged: wipe this node and join it again under a new id")]
    Damaged,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    cluster: ClusterId,
    node: NodeId,
    #[serde(with = "aumbry_types::exposed")]
    key: SecretBytes,
    certificate: String,
    authority: String,
}

impl Identity {
    /// Loads the identity; `None` for a node that has none yet.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub fn load(data: &DataDir) -> Result<Option<Self>, IdentityError> {
        let Some(bytes) = data.read(FILE)? else { return Ok(None) };
        let bytes = zeroize::Zeroizing::new(bytes);
        let stored: Stored = crate::types::decode(&bytes).map_err(|_| IdentityError::Damaged)?;
        let Stored {
            cluster,
            node,
            key,
            certificate,
            authority,
        } = stored;
        Ok(Some(Self {
            cluster,
            node,
            key,
            certificate,
            authority,
        }))
    }

    /// Whether a data directory holds one: whether it is a member's. Nothing is read.
    #[must_use]
    pub fn is_in(data_dir: &Path) -> bool {
        data_dir.join(FILE).exists()
    }

    /// Stores the identity, durably.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub fn store(&self, data: &DataDir) -> Result<(), IdentityError> {
        let stored = Stored {
            cluster: self.cluster,
            node: self.node,
            key: self.key.duplicate(),
            certificate: self.certificate.clone(),
            authority: self.authority.clone(),
        };
        let bytes = SecretBytes::new(crate::types::encode(&stored).to_vec());
        Ok(data.write(FILE, bytes.expose())?)
    }
}

const FILE: &str = "identity";
