//! Servers that answer as Vault and etcd do, as far as a load generator can tell, and remember what they were asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{HeaderMap, HeaderValue, Response};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;

/// What a stub was asked: how often, by what was asked.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<BTreeMap<String, u64>>>);

impl Asked {
    fn count(&self, what: String) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *asked.entry(what).or_insert(0) += 1;
    }

    /// All of it.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// When a stub does not answer at once.
#[derive(Clone, Copy)]
pub enum Stall {
    /// It always does.
    Never,
    /// All that come behind this many wait so long once, together, as if the process were stopped.
    Once {
        /// So many are answered before.
        after: u64,
        /// How long nothing is answered.
        lasts: Duration,
    },
}

/// An HTTPS server that answers as Vault does.
pub struct VaultStub {
    /// `https://` and its address.
    pub address: String,
    /// What it was asked: method, target, and the token that was shown.
    pub asked: Asked,
}

impl VaultStub {
    /// Starts it, with a certificate of this authority. It serves as long as the test runs.
    pub async fn start(authority: &Authority, stall: Stall) -> Result<Self> {
        let pair = authority.issue()?;
        let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = builder.with_no_client_auth().with_single_cert(chain, key)?;
        let (acceptor, asked) = (TlsAcceptor::from(Arc::new(config)), Asked::default());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("https://{}", listener.local_addr()?);
        let (seen, gate) = (asked.clone(), Arc::new(Gate::new(stall)));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, seen, gate) = (acceptor.clone(), seen.clone(), Arc::clone(&gate));
                tokio::spawn(async move { serve(acceptor, tcp, &seen, &gate).await });
            }
        });
        Ok(Self { address, asked })
    }
}

/// Lets requests through, or holds them.
struct Gate {
    stall: Stall,
    passed: AtomicU64,
    closed: tokio::sync::Mutex<()>,
}

impl Gate {
    fn new(stall: Stall) -> Self {
        Self {
            stall,
            passed: AtomicU64::new(0),
            closed: tokio::sync::Mutex::new(()),
        }
    }

    async fn pass(&self) {
        let held = self.closed.lock().await;
        let passed = self.passed.fetch_add(1, Ordering::Relaxed);
        if let Stall::Once { after, lasts } = self.stall
            && passed == after
        {
            tokio::time::sleep(lasts).await;
        }
        drop(held);
    }
}

async fn serve(acceptor: TlsAcceptor, tcp: TcpStream, asked: &Asked, gate: &Gate) -> Result<()> {
    tcp.set_nodelay(true)?;
    let mut stream = BufReader::new(acceptor.accept(tcp).await?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(stream.read_line(&mut head).await? > 0, "the client is gone");
        }
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length = header("Content-Length:").map_or(Ok(0), str::parse)?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let body: serde_json::Value = match length {
            0 => serde_json::Value::Null,
            _ => serde_json::from_slice(&body)?,
        };
        // Who logs in has no token, but a secret id.
        let token = header("X-Vault-Token:")
            .or_else(|| body["secret_id"].as_str())
            .unwrap_or_default();
        let line = head.lines().next().context("there is a first line")?;
        let line = line.trim_end_matches(" HTTP/1.1");
        asked.count(format!("{line} {token}"));
        gate.pass().await;
        // Both ways in which a body's length is told, and a refusal.
        let answer = match (token, line.starts_with("GET")) {
            ("good", true) => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n"
            }
            ("good", false) => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
            _ => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}",
        };
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
}

/// A gRPC server without TLS that answers as etcd does.
pub struct EtcdStub {
    /// `http://` and its address.
    pub address: String,
    /// What it was asked: the method, and the first field of the message.
    pub asked: Asked,
}

impl EtcdStub {
    /// Starts it. It answers, but every so many requests it says that it is overloaded.
    pub async fn start(refuse_each: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, asked) = (format!("http://{}", listener.local_addr()?), Asked::default());
        let (seen, count) = (asked.clone(), Arc::new(AtomicU64::new(0)));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (seen, count) = (seen.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(tcp).await?;
                    while let Some(accepted) = connection.accept().await {
                        let (request, mut respond) = accepted?;
                        let (seen, count) = (seen.clone(), Arc::clone(&count));
                        tokio::spawn(async move {
                            let path = request.uri().path().to_owned();
                            let message = message(request.into_body()).await?;
                            seen.count(format!("{path} {}", first_field(&message)?));
                            let mut trailers = HeaderMap::new();
                            let is_refused = (count.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(refuse_each);
                            let status = if is_refused { RESOURCE_EXHAUSTED } else { "0" };
                            trailers.insert("grpc-status", HeaderValue::from_static(status));
                            let head = Response::builder()
                                .header("content-type", "application/grpc")
                                .body(())?;
                            let mut body = respond.send_response(head, false)?;
                            // An empty message.
                            body.send_data(vec![0; 5].into(), false)?;
                            body.send_trailers(trailers)?;
                            Ok::<_, anyhow::Error>(())
                        });
                    }
                    Ok::<_, anyhow::Error>(())
                });
            }
        });
        Ok(Self { address, asked })
    }
}

async fn message(mut body: h2::RecvStream) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    // Not compressed, and as long as it says.
    let (prefix, message) = bytes.split_first_chunk::<5>().context("no prefix")?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    ensure!(
        prefix[0] == 0 && length as usize == message.len(),
        "the prefix is wrong"
    );
    Ok(message.to_vec())
}

/// Field 1, of type bytes, as text.
fn first_field(message: &[u8]) -> Result<String> {
    let [0x0a, length, rest @ ..] = message else {
        anyhow::bail!("the first field is not 1")
    };
    let field = rest.get(..usize::from(*length)).context("the first field is cut")?;
    Ok(String::from_utf8(field.to_vec())?)
}

const RESOURCE_EXHAUSTED: &str = "8";
