//! Receivers of audit records as sinks meet them: a collector by HTTP and a receiver of syslog, which take, refuse, hang, break off and slow down.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;

/// What a receiver does with what comes.
#[derive(Clone, Debug)]
pub enum Manner {
    /// It takes it: by HTTP with 200 and this body.
    Take(&'static str),
    /// It takes it after a while.
    Slow(Duration),
    /// It answers with this code and body and, if that is above 0, with so many seconds to wait; it keeps nothing.
    Answer(u16, u64, &'static str),
    /// It reads, and never answers.
    Hang,
    /// It takes everything, and breaks off before it answers.
    TakeAndBreak,
    /// It breaks off in the middle.
    Break,
}

/// What a receiver took: of HTTP a request, of syslog a message, whose head is its frame's length.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The head.
    pub head: String,
    /// The body.
    pub body: String,
}

#[derive(Default)]
struct State {
    taken: Mutex<Vec<Taken>>,
    next: Mutex<VecDeque<Manner>>,
    manner: Mutex<Option<Manner>>,
    connections: AtomicU64,
}

/// A receiver. It serves as long as the test runs.
pub struct Collector {
    /// `host:port`.
    pub address: String,
    state: Arc<State>,
}

impl Collector {
    /// A collector by HTTP; with an authority by HTTPS.
    pub async fn http(authority: Option<&Authority>) -> Result<Self> {
        Self::start(authority, false).await
    }

    /// A receiver of syslog; with an authority over TLS, and then it wants a client's certificate of the same authority.
    pub async fn syslog(authority: Option<&Authority>) -> Result<Self> {
        Self::start(authority, true).await
    }

    async fn start(authority: Option<&Authority>, is_syslog: bool) -> Result<Self> {
        let acceptor = authority.map(|authority| acceptor(authority, is_syslog)).transpose()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (state, acceptor) = (Arc::clone(&serving), acceptor.clone());
                state.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    match acceptor {
                        Some(acceptor) => serve(acceptor.accept(tcp).await?, &state, is_syslog).await,
                        None => serve(tcp, &state, is_syslog).await,
                    }
                });
            }
        });
        Ok(Self { address, state })
    }

    /// What it does from now on.
    pub fn does(&self, manner: Manner) {
        *lock(&self.state.manner) = Some(manner);
    }

    /// What it does with the next connections, one each, before it goes on as it did.
    pub fn does_next(&self, manners: impl IntoIterator<Item = Manner>) {
        lock(&self.state.next).extend(manners);
    }

    /// Whether all of that has come.
    #[must_use]
    pub fn is_through(&self) -> bool {
        lock(&self.state.next).is_empty()
    }

    /// What it took, in its order.
    #[must_use]
    pub fn taken(&self) -> Vec<Taken> {
        lock(&self.state.taken).clone()
    }

    /// How many connections it had.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl State {
    fn manner(&self) -> Manner {
        let next = lock(&self.next).pop_front();
        next.or_else(|| lock(&self.manner).clone()).unwrap_or(Manner::Take(""))
    }

    fn take(&self, head: &str, body: Vec<u8>) -> Result<()> {
        let (head, body) = (head.to_owned(), String::from_utf8(body)?);
        lock(&self.taken).push(Taken { head, body });
        Ok(())
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &State, is_syslog: bool) -> Result<()> {
    let mut stream = BufReader::new(stream);
    if is_syslog {
        syslog(&mut stream, state).await?;
    } else {
        http(&mut stream, state).await?;
    }
    stream.shutdown().await?;
    Ok(())
}

async fn http(stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>, state: &State) -> Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(stream.read_line(&mut head).await? > 0, "the client is gone");
    }
    let manner = state.manner();
    if matches!(manner, Manner::Break) {
        return Ok(());
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.context("a body has a length")?];
    stream.read_exact(&mut body).await?;
    let (code, after, told) = match manner {
        Manner::Take(told) => {
            state.take(&head, body)?;
            (200, 0, told)
        }
        Manner::Slow(pause) => {
            tokio::time::sleep(pause).await;
            state.take(&head, body)?;
            (200, 0, "")
        }
        Manner::Answer(code, after, told) => (code, after, told),
        Manner::Hang => return std::future::pending().await,
        Manner::TakeAndBreak => return state.take(&head, body),
        Manner::Break => return Ok(()),
    };
    let after = match after {
        0 => String::new(),
        after => format!("Retry-After: {after}\r\n"),
    };
    let reply = format!(
        "HTTP/1.1 {code} Told\r\n{after}Content-Length: {}\r\n\r\n{told}",
        told.len()
    );
    stream.write_all(reply.as_bytes()).await?;
    Ok(())
}

async fn syslog(stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>, state: &State) -> Result<()> {
    let manner = state.manner();
    if matches!(manner, Manner::Hang) {
        return std::future::pending().await;
    }
    for count in 0.. {
        let mut head = Vec::new();
        if stream.read_until(b' ', &mut head).await? == 0 {
            return Ok(());
        }
        let head = String::from_utf8(head)?;
        let mut message = vec![0; head.trim_end().parse().context("a frame begins with its length")?];
        stream.read_exact(&mut message).await?;
        match manner {
            // As one that is killed: what it has kept it has, the rest is gone, and TLS does not take its leave.
            Manner::Break | Manner::TakeAndBreak if count == 3 => bail!("it breaks off"),
            Manner::Slow(pause) if count == 0 => tokio::time::sleep(pause).await,
            _ => {}
        }
        state.take(head.trim_end(), message)?;
    }
    Ok(())
}

fn acceptor(authority: &Authority, wants_clients: bool) -> Result<TlsAcceptor> {
    let pair = authority.issue()?;
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if wants_clients {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes())?)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    Ok(TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key)?)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
