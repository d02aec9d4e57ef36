//! Questions to services outside of the cluster: HTTPS, one connection each, bounded in time and length.
//!
//! What it guarantees: whoever answers has a certificate of the authority that was configured, or of one that the machine trusts; nobody sends us
//! elsewhere, as redirects are answers like others; an answer that is late or long is none.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aumbry_node::{WebAnswer, WebBody, WebCredential, WebError, WebRequest};
use aumbry_types::SecretBytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Asks a service.
pub(crate) async fn ask(request: WebRequest) -> Result<WebAnswer, WebError> {
    let asking = tokio::time::timeout(TIMEOUT, ask_unbounded(request));
    asking.await.unwrap_or(Err(WebError::Late))
}

async fn ask_unbounded(asked: WebRequest) -> Result<WebAnswer, WebError> {
    let uri: Uri = asked.url.parse().map_err(|_| WebError::Address)?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let authority = authority.ok_or(WebError::Address)?.clone();
    if uri.scheme_str() != Some("https") {
        return Err(WebError::Address);
    }
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| WebError::Address)?;
    let connector = TlsConnector::from(tls(&asked.authority_pem).await?);
    let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(HTTPS_PORT)))
        .await
        .map_err(|error| unreachable(&error))?;
    let stream = connector
        .connect(name, tcp)
        .await
        .map_err(|error| unreachable(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(&error))?;
    // It ends with this question, whatever comes of it.
    let mut driven = tokio::task::JoinSet::new();
    driven.spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(if asked.body.is_some() {
            Method::POST
        } else {
            Method::GET
        })
        .uri(path)
        .header(header::HOST, authority.as_str())
        .header(header::USER_AGENT, "aumbry")
        .header(header::ACCEPT, JSON)
        .header(header::CONNECTION, "close");
    if let Some(credential) = asked.credential {
        let value = match &credential {
            WebCredential::Bearer(token) => SecretBytes::new([b"Bearer ", token.expose()].concat()),
            WebCredential::Basic(pair) => SecretBytes::from(format!("Basic {}", STANDARD.encode(pair.expose()))),
        };
        let mut value = HeaderValue::from_bytes(value.expose()).map_err(|_| WebError::Address)?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    // The transport does not wipe what it sends.
    let body = match &asked.body {
        None => None,
        Some(WebBody::Json(body)) => Some((JSON, body)),
        Some(WebBody::Form(body)) => Some((FORM, body)),
    };
    if let Some((kind, _)) = body {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let body = body.map(|(_, body)| Bytes::copy_from_slice(body.expose()));
    let request = request
        .body(Full::new(body.unwrap_or_default()))
        .map_err(|_| WebError::Address)?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| unreachable(&error))?;
    let code = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<http_body_util::LengthLimitError>() {
        Some(_) => WebError::TooLong,
        None => WebError::Unreachable(error.to_string()),
    })?;
    Ok(WebAnswer {
        code,
        body: body.to_bytes().to_vec(),
    })
}

/// TLS for HTTP that trusts these certificates, or those that the machine trusts.
async fn tls(authority_pem: &str) -> Result<Arc<ClientConfig>, WebError> {
    let mut config = trusting(authority_pem).await?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS that trusts these certificates, or those that the machine trusts.
pub(crate) async fn trusting(authority_pem: &str) -> Result<ClientConfig, WebError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|_| WebError::Authority)?;
    let roots = roots(authority_pem).await?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// These certificates, or those that the machine trusts.
pub(crate) async fn roots(authority_pem: &str) -> Result<RootCertStore, WebError> {
    let mut roots = RootCertStore::empty();
    if authority_pem.trim().is_empty() {
        let certificates = CertificateDer::pem_slice_iter(&machine_roots().await?)
            .filter_map(Result::ok)
            .collect::<Vec<_>>();
        // A bundle may hold some that nobody can use.
        roots.add_parsable_certificates(certificates);
    } else {
        for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
            let certificate = certificate.map_err(|_| WebError::Authority)?;
            roots.add(certificate).map_err(|_| WebError::Authority)?;
        }
    }
    if roots.is_empty() {
        return Err(WebError::Authority);
    }
    Ok(roots)
}

/// The authorities that this machine trusts: of the file that OpenSSL would use, or of the first where systems keep them.
async fn machine_roots() -> Result<Vec<u8>, WebError> {
    let configured = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = BUNDLES.iter().map(PathBuf::from).filter(|_| configured.is_none());
    for path in configured.clone().into_iter().chain(usual) {
        if let Ok(bytes) = tokio::fs::read(path).await {
            return Ok(bytes);
        }
    }
    Err(WebError::Authority)
}

fn unreachable(error: &dyn std::fmt::Display) -> WebError {
    WebError::Unreachable(error.to_string())
}

/// Debian, Fedora, Alpine and SUSE.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const HTTPS_PORT: u16 = 443;
/// An issuer on the other side of the world answers within one; a login waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest sets of keys have some fifty kilobytes.
const BODY_BYTES_MAX: usize = 1 << 20;
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;
