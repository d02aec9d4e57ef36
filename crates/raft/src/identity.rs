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
    /// The data directory, or a damaged file in it.
    #[error(transparent)]
    Storage(#[from] StorageError),
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
    /// Loads the identity; `None` for a node that has none yet. Its parts vouch for each other: the certificate is the authority's, names this node of
    /// this cluster, and is of this key.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub fn load(data: &DataDir) -> Result<Option<Self>, IdentityError> {
        let Some(bytes) = data.read(FILE)? else { return Ok(None) };
        let bytes = zeroize::Zeroizing::new(bytes);
        let damaged = |what: &str| StorageError::damaged(&data.path().join(FILE), what);
        let stored: Stored = crate::types::decode(&bytes).map_err(|_| damaged("it cannot be read"))?;
        let Stored {
            cluster,
            node,
            key,
            certificate,
            authority,
        } = stored;
        let identity = Self {
            cluster,
            node,
            key,
            certificate,
            authority,
        };
        crate::tls::check_identity(&identity).map_err(|error| damaged(&error.to_string()))?;
        Ok(Some(identity))
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

    /// A new identity that this authority certifies, and the pin of its key.
    #[cfg(test)]
    pub(crate) fn make(authority: &crate::pki::Authority, cluster: ClusterId, node: NodeId) -> (Self, [u8; 32]) {
        let key = crate::pki::make_node_key().unwrap();
        let certificate = crate::pki::sign_node(&authority.key, &authority.certificate, cluster, node, &key.spki);
        let identity = Self {
            cluster,
            node,
            key: key.key,
            certificate: certificate.unwrap(),
            authority: authority.certificate.clone(),
        };
        (identity, aumbry_crypto::sha256(&[&key.spki]))
    }
}

/// The name of the file.
pub(crate) const FILE: &str = "identity";
