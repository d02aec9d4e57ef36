//! Who may talk to the peer port: nodes of this cluster, over TLS 1.3, and nobody else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::Cluster;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A certificate with its key.
struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Abuse cases: 65, 108.
#[tokio::test(flavor = "multi_thread")]
async fn only_nodes_of_the_cluster_are_heard() -> Result<()> {
    let cluster = Cluster::start(2)?;
    let foreign = Cluster::start(1)?;
    let target = cluster.node(1)?.peer;
    let own = || node_credentials(&cluster.node(2)?.data_dir);
    let strangers = || node_credentials(&foreign.node(1)?.data_dir);
    let clients = || client_credentials(&cluster.dir());

    ensure!(
        is_heard(&target, &TLS13, Some(own()?)).await?,
        "the positive control: a node of the cluster is heard"
    );
    ensure!(!is_heard(&target, &TLS12, Some(own()?)).await?, "TLS 1.2 was spoken");
    ensure!(
        !is_heard(&target, &TLS13, None).await?,
        "a caller without a certificate was heard"
    );
    ensure!(
        !is_heard(&target, &TLS13, Some(clients()?)).await?,
        "a certificate of the client authority was heard"
    );
    ensure!(
        !is_heard(&target, &TLS13, Some(strangers()?)).await?,
        "a node of another cluster was heard"
    );
    Ok(())
}

/// Whether the server goes on after the handshake: HTTP/2 servers speak first. A TLS 1.3 client learns only then that it is refused.
async fn is_heard(address: &str, version: &'static SupportedProtocolVersion, who: Option<Credentials>) -> Result<bool> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let trusting = Arc::new(Trusting(provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(trusting);
    let mut config = match who {
        Some(Credentials { chain, key }) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("anyone.invalid")?;
    let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(name, tcp).await else {
        return Ok(false);
    };
    let mut first = [0; 1];
    let answer = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut first)).await;
    Ok(matches!(answer.context("the server neither spoke nor hung up")?, Ok(1)))
}

/// What a node keeps of itself: key and certificate, in PEM, among other things.
fn node_credentials(data_directory: &str) -> Result<Credentials> {
    let bytes = std::fs::read(Path::new(data_directory).join("identity"))?;
    let text = String::from_utf8_lossy(&bytes);
    let block = |kind: &str| -> Result<String> {
        let begin = text
            .find(&format!("-----BEGIN {kind}-----"))
            .context("no such PEM block")?;
        let end = format!("-----END {kind}-----");
        let length = text[begin..].find(&end).context("the PEM block has no end")? + end.len();
        Ok(text[begin..begin + length].to_owned())
    };
    Ok(Credentials {
        chain: vec![CertificateDer::from_pem_slice(block("CERTIFICATE")?.as_bytes())?],
        key: PrivateKeyDer::from_pem_slice(block("PRIVATE KEY")?.as_bytes())?,
    })
}

/// The certificate of the client listeners.
fn client_credentials(directory: &Path) -> Result<Credentials> {
    Ok(Credentials {
        chain: CertificateDer::pem_file_iter(directory.join("server.pem"))?.collect::<Result<_, _>>()?,
        key: PrivateKeyDer::from_pem_file(directory.join("server.key"))?,
    })
}

/// Takes any server: the test asks what the server thinks of the client.
#[derive(Debug)]
struct Trusting(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
    }
}
