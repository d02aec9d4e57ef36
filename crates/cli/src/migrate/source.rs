//! The server that is moved from: a client of Vault's HTTP interface that only reads.
//!
//! What it guarantees: it changes nothing there; every request and every answer is bounded in time and size; what can be asked again is, a bounded
//! number of times; the token is sent to no other host than the one that was named, and in clear to none but this machine.

use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use aumbry_types::SecretBytes;
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::usage;

/// Where it is, and how it is spoken to.
pub(super) struct Settings {
    pub(super) address: String,
    /// The authority of its certificate, PEM; those of the system if none is named.
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) token: SecretBytes,
    pub(super) namespace: Option<String>,
    /// Whether the token may go over a network in clear.
    pub(super) is_plain_allowed: bool,
}

/// The server.
pub(super) struct Source {
    host: String,
    port: u16,
    /// What stands before `/v1`.
    prefix: String,
    tls: Option<TlsConnector>,
    token: HeaderValue,
    namespace: Option<HeaderValue>,
    idle: Mutex<Vec<SendRequest<Empty<Bytes>>>>,
}

/// What is answered, taken apart as far as all answers are alike.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    errors: Vec<String>,
}

/// How a try ended.
enum Tried {
    /// There is nothing, or there is this.
    Answered(Option<Box<RawValue>>),
    /// It is worth another try.
    Failed(anyhow::Error),
}

impl Source {
    pub(super) fn new(settings: Settings) -> Result<Self> {
        let wrong = || usage("the source's address is https://HOST:PORT, or http://127.0.0.1:PORT");
        let uri: Uri = settings.address.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?.to_owned();
        let is_plain = match uri.scheme_str() {
            Some("https") => false,
            Some("http") => true,
            _ => return Err(wrong()),
        };
        if is_plain && !settings.is_plain_allowed && !is_loopback(&host) {
            return Err(usage(
                "http:// to another machine would send the token and all secrets in clear: use https://, or say --danger-plain-http",
            ));
        }
        let port = uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        let tls = if is_plain {
            None
        } else {
            Some(connector(settings.ca_pem)?)
        };
        let header = |bytes: &[u8]| -> Result<HeaderValue> {
            let mut value = HeaderValue::from_bytes(bytes).map_err(|_| usage("the source's token is none"))?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Self {
            host,
            port,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls,
            token: header(settings.token.expose())?,
            namespace: settings.namespace.map(|name| header(name.as_bytes())).transpose()?,
            idle: Mutex::default(),
        })
    }

    /// What stands at a path, as it was sent; none is not found.
    pub(super) async fn raw(&self, path: &str, query: &str) -> Result<Option<Box<RawValue>>> {
        let mut pause = PAUSE;
        let mut left = TRIES;
        loop {
            let tried = tokio::time::timeout(TIMEOUT, self.once(path, query)).await;
            let failed = match tried {
                Ok(Ok(Tried::Answered(data))) => return Ok(data),
                Ok(Ok(Tried::Failed(error))) => error,
                Ok(Err(error)) => return Err(error),
                Err(_) => anyhow!("the source did not answer within {} s", TIMEOUT.as_secs()),
            };
            left -= 1;
            if left == 0 {
                return Err(failed);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// The object that stands at a path.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Map<String, Value>>> {
        let raw = self.raw(path, "").await?;
        raw.map(|raw| serde_json::from_str(raw.get()).context("the source's answer is no object"))
            .transpose()
    }

    /// All names below a path, in the order of the source. Where it gives them by pages, as OpenBao and Aumbry can, all pages are asked for.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names
                .last()
                .map(|last| format!("&after={}", encode(last, Slash::Encoded)));
            let query = format!("?list=true&limit={PAGE}{}", after.unwrap_or_default());
            let Some(raw) = self.raw(path, &query).await? else {
                return Ok(names);
            };
            let page: Keys = serde_json::from_str(raw.get()).context("the source's list is none")?;
            let count = page.keys.len();
            let last = names.last().cloned();
            // A server that knows no pages gives all names each time.
            let is_again = last.is_some_and(|last| page.keys.contains(&last));
            if is_again {
                return Ok(names);
            }
            names.extend(page.keys);
            if count != PAGE {
                return Ok(names);
            }
        }
    }

    async fn once(&self, path: &str, query: &str) -> Result<Tried> {
        let mut sender = match self.connection().await {
            Ok(sender) => sender,
            Err(error) => return Ok(Tried::Failed(error)),
        };
        let target = format!("{}/v1/{}{query}", self.prefix, encode(path, Slash::Kept));
        let mut request = Request::get(target)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header("x-vault-token", self.token.clone())
            .header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace.clone());
        }
        let request = request
            .body(Empty::new())
            .map_err(|_| anyhow!("a name makes no address"))?;
        let answer = match sender.send_request(request).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Tried::Failed(anyhow!("the connection to the source broke: {error}"))),
        };
        let status = answer.status();
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("the source's answer breaks off or is over 64 MiB: {error}"))?;
        let body = body.to_bytes();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
        drop(idle);
        judge(status, &body)
    }

    async fn connection(&self) -> Result<SendRequest<Empty<Bytes>>> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut kept) = kept else { break };
            if kept.ready().await.is_ok() {
                return Ok(kept);
            }
        }
        let (host, port) = (self.host.trim_matches(['[', ']']), self.port);
        let tcp = TcpStream::connect((host, port)).await;
        let tcp = tcp.with_context(|| format!("cannot connect to the source at {}:{port}", self.host))?;
        tcp.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            let (sender, connection) = handshake(TokioIo::new(tcp)).await?;
            // It ends with the sender; its errors are told there.
            drop(tokio::spawn(connection));
            return Ok(sender);
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| anyhow!("the source's host is no name"))?;
        let stream = tls.connect(name, tcp).await;
        let stream = stream.context("TLS with the source failed; name its authority with --source-ca-cert")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        drop(tokio::spawn(connection));
        Ok(sender)
    }
}

fn judge(status: StatusCode, body: &[u8]) -> Result<Tried> {
    let envelope: Option<Envelope> = serde_json::from_slice(body).ok();
    let errors = envelope
        .as_ref()
        .map(|envelope| envelope.errors.join("; "))
        .unwrap_or_default();
    match status.as_u16() {
        // A deleted version is not found, and told of.
        404 => Ok(Tried::Answered(None)),
        200..=299 => Ok(Tried::Answered(envelope.and_then(|envelope| envelope.data))),
        300..=399 => bail!("the source names another server; give the address of its active node"),
        403 => bail!("the source's token may not read this"),
        412 | 429 | 472 | 473 | 500..=599 => Ok(Tried::Failed(anyhow!("the source answers {status}: {errors}"))),
        _ => bail!("the source answers {status}: {errors}"),
    }
}

#[derive(Deserialize)]
struct Keys {
    /// OpenBao's list of nothing has none.
    #[serde(default)]
    keys: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    Kept,
    Encoded,
}

fn encode(text: &str, slash: Slash) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain =
            byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (byte == b'/' && slash == Slash::Kept);
        if is_plain {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn connector(ca_pem: Option<Vec<u8>>) -> Result<TlsConnector> {
    let pem = match ca_pem {
        Some(pem) => pem,
        None => system_authorities()?,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
        // One that is not understood is not trusted; the others are.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(usage("there is no authority in the file of --source-ca-cert (PEM)"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What the system trusts, wherever it keeps that.
fn system_authorities() -> Result<Vec<u8>> {
    let named = std::env::var("SSL_CERT_FILE").ok();
    let places = named.iter().map(String::as_str).chain(BUNDLES);
    for place in places {
        let Ok(file) = std::fs::File::open(place) else { continue };
        let mut pem = Vec::new();
        file.take(BODY_BYTES_MAX as u64).read_to_end(&mut pem)?;
        return Ok(pem);
    }
    Err(usage(
        "name the authority of the source's certificate with --source-ca-cert FILE",
    ))
}

/// Where systems keep the authorities that they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// The names of a directory with a million secrets fit.
const BODY_BYTES_MAX: usize = 64 << 20;
/// As many as requests are in flight.
const IDLE_MAX: usize = 32;
/// A server under load takes a while for a large list.
const TIMEOUT: Duration = Duration::from_secs(30);
/// With the pauses between them some six seconds: a server that starts again is one that has to be asked again.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);
/// What Aumbry gives at most, and asks for.
const PAGE: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, is_plain_allowed: bool) -> Option<String> {
        let source = Source::new(Settings {
            address: address.to_owned(),
            ca_pem: None,
            token: SecretBytes::from("t".to_owned()),
            namespace: None,
            is_plain_allowed,
        });
        source
            .ok()
            .map(|source| format!("{}:{}{}", source.host, source.port, source.prefix))
    }

    #[test]
    fn the_token_goes_in_clear_to_this_machine_alone() {
        assert_eq!(check("http://127.0.0.1:8200", false).as_deref(), Some("127.0.0.1:8200"));
        assert_eq!(
            check("http://[::1]:8200/vault/", false).as_deref(),
            Some("[::1]:8200/vault")
        );
        assert_eq!(check("http://localhost", false).as_deref(), Some("localhost:80"));
        for bad in [
            "http://vault.example.com",
            "http://10.0.0.1:8200",
            "127.0.0.1:8200",
            "ftp://127.0.0.1",
            "",
        ] {
            assert_eq!(check(bad, false), None, "{bad}");
        }
        assert!(check("http://10.0.0.1:8200", true).is_some());
    }

    #[test]
    fn names_are_encoded_once() {
        assert_eq!(encode("a/b c%?#ü", Slash::Kept), "a/b%20c%25%3F%23%C3%BC");
        assert_eq!(encode("a/b", Slash::Encoded), "a%2Fb");
    }

    #[test]
    fn an_answer_is_there_not_there_or_worth_another_try() {
        let status = |code| StatusCode::from_u16(code).unwrap();
        assert!(matches!(judge(status(404), b"{}"), Ok(Tried::Answered(None))));
        assert!(matches!(
            judge(status(200), br#"{"data":{}}"#),
            Ok(Tried::Answered(Some(_)))
        ));
        assert!(matches!(judge(status(503), b""), Ok(Tried::Failed(_))));
        for code in [307, 400, 403] {
            assert!(judge(status(code), b"").is_err());
        }
    }
}
