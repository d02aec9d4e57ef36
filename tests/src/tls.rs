//! Connections as a client that looks at certificates itself, and the standard gRPC health service over them.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use h2::RecvStream;
use http::Request;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connects to a listener and checks that its certificate is of this authority.
pub async fn connect(address: &str, authority: &str, protocol: &str) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost")?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?)
}

/// The certificate that a listener shows, if it is of this authority.
pub async fn shown(address: &str, authority: &str, protocol: &str) -> Result<Vec<u8>> {
    let stream = connect(address, authority, protocol).await?;
    let chain = stream.get_ref().1.peer_certificates().context("no certificate")?;
    Ok(chain.first().context("no certificate")?.to_vec())
}

/// The DER of a certificate in PEM.
pub fn der(pem: &str) -> Result<Vec<u8>> {
    Ok(CertificateDer::from_pem_slice(pem.as_bytes())?.to_vec())
}

/// One message to a gRPC method, in its encoding: the status that ends the answer, and all that came before it.
pub async fn call_grpc(address: &str, authority: &str, method: &str, message: &[u8]) -> Result<(String, Vec<u8>)> {
    let stream = connect(address, authority, "h2").await?;
    let (mut sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let request = Request::post(format!("https://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (answer, mut body) = sender.send_request(request, false)?;
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
    framed.extend_from_slice(message);
    body.send_data(framed.into(), true)?;
    let answer = answer.await?;
    let status = |headers: &http::HeaderMap| {
        let status = headers.get("grpc-status").and_then(|status| status.to_str().ok());
        status.map(str::to_owned)
    };
    if let Some(status) = status(answer.headers()) {
        return Ok((status, Vec::new()));
    }
    let mut body = answer.into_body();
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        read.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    Ok((status(&trailers).context("no status")?, read))
}

/// Somebody who watches a service of the gRPC health service.
pub struct Watch {
    body: RecvStream,
    read: Vec<u8>,
}

impl Watch {
    /// Begins to watch, on a connection of its own that lasts as long as it.
    pub async fn start(address: &str, authority: &str, service: &str) -> Result<Self> {
        let stream = connect(address, authority, "h2").await?;
        let (mut sender, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        let request = Request::post(format!("https://localhost{WATCH}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (answer, mut body) = sender.send_request(request, false)?;
        // One message: not compressed, its length, and field 1, the service's name.
        let name = service.as_bytes();
        let length = u8::try_from(name.len())?;
        let mut message = vec![0, 0, 0, 0, length + 2, 0x0a, length];
        message.extend_from_slice(name);
        body.send_data(message.into(), true)?;
        let answer = answer.await?;
        ensure!(answer.status() == 200, "{answer:?}");
        Ok(Self {
            body: answer.into_body(),
            read: Vec::new(),
        })
    }

    /// Waits for the next status: whether it serves.
    pub async fn next(&mut self) -> Result<bool> {
        loop {
            if let [0, 0, 0, 0, length, rest @ ..] = &self.read[..]
                && let Some(message) = rest.get(..usize::from(*length))
            {
                // Field 1 is the status: 1 is SERVING. The default, unknown, is not written.
                let serves = message == [0x08, 1];
                self.read.drain(..5 + usize::from(*length));
                return Ok(serves);
            }
            let data = self.body.data().await.context("the watch ended")??;
            self.body.flow_control().release_capacity(data.len())?;
            self.read.extend_from_slice(&data);
        }
    }

    /// Waits until it serves, or does not.
    pub async fn until(&mut self, serves: bool) -> Result<()> {
        let waiting = async {
            while self.next().await? != serves {}
            Ok(())
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await?
    }
}

const WATCH: &str = "/grpc.health.v1.Health/Watch";
