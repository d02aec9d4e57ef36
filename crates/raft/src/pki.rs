//! The cluster's own certificate authority. It signs joins, and nothing else; a node is its public key.
//!
//! Certificates are valid for as long as X.509 can say: a node must be able to hear its peers while it is sealed, however long it
//! slept. What ends a node's membership is its removal.

use aumbry_types::{ClusterId, NodeId, SecretBytes};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SubjectPublicKeyInfo,
};
use zeroize::Zeroizing;

/// A key or certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("a key or certificate could not be made: {0}")]
pub struct PkiError(#[from] rcgen::Error);

/// A new certificate authority of a cluster.
pub struct Authority {
    /// The certificate, PEM.
    pub certificate: String,
    /// The private key, PEM.
    pub key: SecretBytes,
}

/// A new key of a node.
pub struct NodeKey {
    /// The private key, PEM.
    pub key: SecretBytes,
    /// The public key, DER (SPKI).
    pub spki: Vec<u8>,
}

/// Makes a certificate authority.
///
/// # Errors
/// [`PkiError`]
pub fn make_authority(cluster: ClusterId) -> Result<Authority, PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Aumbry cluster {cluster}"));
    let certificate = params.self_signed(&key)?.pem();
    Ok(Authority {
        certificate,
        key: take_pem(&key),
    })
}

/// Makes the key of a node.
///
/// # Errors
/// [`PkiError`]
pub fn make_node_key() -> Result<NodeKey, PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok(NodeKey {
        spki: key.subject_public_key_info(),
        key: take_pem(&key),
    })
}

/// The public key, DER (SPKI), of a private key in PEM.
///
/// # Errors
/// [`PkiError`] if it is no such key.
pub fn public_key(key: &SecretBytes) -> Result<Vec<u8>, PkiError> {
    let pem = key.expose_str().ok_or(rcgen::Error::CouldNotParseKeyPair)?;
    Ok(KeyPair::from_pem(pem)?.subject_public_key_info())
}

/// Signs the certificate of a node. Its only name says which node of which cluster it is.
///
/// # Errors
/// [`PkiError`] if the authority or the public key cannot be used.
pub fn sign_node(
    authority_key: &SecretBytes,
    authority: &str,
    cluster: ClusterId,
    node: NodeId,
    spki: &[u8],
) -> Result<String, PkiError> {
    let pem = authority_key.expose_str().ok_or(rcgen::Error::CouldNotParseKeyPair)?;
    let issuer = Issuer::from_ca_cert_pem(authority, KeyPair::from_pem(pem)?)?;
    let public = SubjectPublicKeyInfo::from_der(spki)?;
    let mut params = CertificateParams::new(vec![node_name(cluster, node)])?;
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Aumbry node {node}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params.signed_by(&public, &issuer)?.pem())
}

/// The name in a node's certificate.
#[must_use]
pub fn node_name(cluster: ClusterId, node: NodeId) -> String {
    format!("n{node}.{cluster}.aumbry.internal")
}

/// The node that a name of this cluster says.
pub(crate) fn parse_node_name(cluster: ClusterId, name: &str) -> Option<NodeId> {
    let rest = name.strip_prefix('n')?.strip_suffix(".aumbry.internal")?;
    let (node, of) = rest.split_once('.')?;
    (of == cluster.to_string()).then_some(())?;
    node.parse().ok().map(NodeId)
}

fn take_pem(key: &KeyPair) -> SecretBytes {
    let pem = Zeroizing::new(key.serialize_pem());
    SecretBytes::new(pem.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_node_of_its_cluster_only() {
        let (cluster, other) = (ClusterId::from_bytes([1; 16]), ClusterId::from_bytes([2; 16]));
        let name = node_name(cluster, NodeId(7));
        assert_eq!(parse_node_name(cluster, &name), Some(NodeId(7)));
        assert_eq!(parse_node_name(other, &name), None);
        assert_eq!(parse_node_name(cluster, "n7.aumbry.internal"), None);
    }

    #[test]
    fn signs_a_node() {
        let cluster = ClusterId::from_bytes([1; 16]);
        let authority = make_authority(cluster).expect("is made");
        let node = make_node_key().expect("is made");
        let signed = sign_node(&authority.key, &authority.certificate, cluster, NodeId(2), &node.spki);
        assert!(signed.expect("is signed").starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(sign_node(&authority.key, &authority.certificate, cluster, NodeId(2), b"no key").is_err());
    }
}
