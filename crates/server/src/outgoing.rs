//! The call of a node that joins, to a member's client listener.

use std::sync::Arc;
use std::time::Duration;

use aumbry_api::failure_of;
use aumbry_api::v1::cluster_service_client::ClusterServiceClient;
use aumbry_api::v1::{JoinReply, JoinRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Endpoint, Uri};

/// Why the call was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The authority for the members' certificates is no certificate.
    #[error("the CA certificate cannot be used; pass the authority of the members' client listeners in PEM")]
    Authority,
    /// The member cannot be reached.
    #[error("no member can be reached: {0}")]
    Unreachable(String),
    /// The member refused.
    #[error("{0}")]
    Refused(String),
}

/// Asks a member to admit this node.
pub(crate) async fn join(address: &str, ca: &[u8], request: JoinRequest) -> Result<JoinReply, CallError> {
    let unreachable = |error: &dyn std::fmt::Display| CallError::Unreachable(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        roots
            .add(certificate.map_err(|_| CallError::Authority)?)
            .map_err(|_| CallError::Authority)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .map_err(|error| unreachable(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let host = address
        .rsplit_once(':')
        .map_or(address, |(host, _)| host)
        .trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| unreachable(&error))?;
    let target = address.to_owned();
    let connect = tower::service_fn(move |_: Uri| {
        let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
        async move {
            let tcp = TcpStream::connect(target).await?;
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, tcp).await?))
        }
    });
    let endpoint = Endpoint::from_static("http://member.aumbry.internal")
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT);
    let channel = endpoint
        .connect_with_connector(connect)
        .await
        .map_err(|error| unreachable(&error))?;
    let reply = ClusterServiceClient::new(channel).join(request).await;
    reply
        .map(tonic::Response::into_inner)
        .map_err(|status| CallError::Refused(failure_of(&status).message))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
