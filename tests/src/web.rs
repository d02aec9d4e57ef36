//! An HTTPS service on this machine that answers as a test wants it to: an issuer of tokens, or an API server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;

/// A request to the service.
pub struct WebAsked {
    /// Such as `GET /keys`.
    pub line: String,
    /// The token in its head, if there is one.
    pub bearer: String,
    /// The whole of what says who asks.
    pub credential: String,
    /// The body, if it is JSON.
    pub body: Value,
    /// The body as it was sent.
    pub text: String,
}

/// What the service does.
pub enum WebReply {
    /// It answers with this code and JSON.
    Json(u16, Value),
    /// It sends whoever asks elsewhere.
    Redirect(String),
    /// It answers with so many bytes of a list that has no end.
    Endless,
    /// It takes the request, and never answers.
    Hang,
    /// It closes the connection.
    Close,
}

type Behaviour = Box<dyn Fn(&WebAsked) -> WebReply + Send + Sync>;

/// The service. It serves as long as the test runs.
pub struct WebStub {
    /// `https://` and its address.
    pub address: String,
    asked: Arc<AtomicU64>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl WebStub {
    /// Starts it, with a certificate of this authority.
    pub async fn start(
        authority: &Authority,
        behaviour: impl Fn(&WebAsked) -> WebReply + Send + Sync + 'static,
    ) -> Result<Self> {
        let pair = authority.issue()?;
        let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = builder.with_no_client_auth().with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("https://{}", listener.local_addr()?);
        let behaviour: Arc<Mutex<Behaviour>> = Arc::new(Mutex::new(Box::new(behaviour)));
        let asked = Arc::new(AtomicU64::new(0));
        let (does, counts) = (Arc::clone(&behaviour), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, does, counts) = (acceptor.clone(), Arc::clone(&does), Arc::clone(&counts));
                tokio::spawn(async move { serve(acceptor, tcp, &does, &counts).await });
            }
        });
        Ok(Self {
            address,
            asked,
            behaviour,
        })
    }

    /// From now on it does this.
    pub fn does(&self, behaviour: impl Fn(&WebAsked) -> WebReply + Send + Sync + 'static) {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(behaviour);
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(acceptor: TlsAcceptor, tcp: TcpStream, does: &Mutex<Behaviour>, counts: &AtomicU64) -> Result<()> {
    let mut stream = BufReader::new(acceptor.accept(tcp).await?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(stream.read_line(&mut head).await? > 0, "the client is gone");
    }
    let header = |name: &str| {
        let of_line = |line: &str| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        head.lines().find_map(of_line).unwrap_or_default()
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    let line = head.lines().next().context("there is a first line")?;
    let asked = WebAsked {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        bearer: header("authorization").trim_start_matches("Bearer ").to_owned(),
        credential: header("authorization"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        text: String::from_utf8(body).unwrap_or_default(),
    };
    counts.fetch_add(1, Ordering::SeqCst);
    let reply = does.lock().unwrap_or_else(PoisonError::into_inner)(&asked);
    match reply {
        WebReply::Json(code, body) => {
            let body = body.to_string();
            let head = format!("HTTP/1.1 {code} Told\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await?;
        }
        WebReply::Redirect(to) => {
            let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        WebReply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"keys\":[").await?;
            // It ends when whoever asked has gone.
            loop {
                stream.write_all(&[b' '; 16 << 10]).await?;
            }
        }
        WebReply::Hang => {
            let mut nothing = [0; 1];
            // Until whoever asked has gone.
            let _ = stream.read(&mut nothing).await;
        }
        WebReply::Close => {}
    }
    stream.shutdown().await?;
    Ok(())
}
