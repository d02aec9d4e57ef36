//! The authority and the certificate of the client listeners of a local cluster.
//!
//! The nodes' own authority, for what they say among each other, is not made here: the cluster makes it when it is initialised.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use zeroize::Zeroizing;

/// All PEM. The authority's key is not kept: it signs one certificate, once.
pub(super) struct Certificates {
    /// The authority's certificate.
    pub(super) authority: String,
    /// The certificate that all nodes show to clients.
    pub(super) server: String,
    /// Its private key.
    pub(super) server_key: Zeroizing<String>,
}

impl Certificates {
    /// Makes a new authority, and a certificate of it for `localhost` and `127.0.0.1`.
    pub(super) fn make() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Aumbry development authority");
        let authority = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);

        let server_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Aumbry development node");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server = params.signed_by(&server_key, &issuer)?.pem();
        Ok(Self {
            authority,
            server,
            server_key: Zeroizing::new(server_key.serialize_pem()),
        })
    }
}
