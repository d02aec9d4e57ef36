//! The way to a receiver elsewhere: TCP, and TLS on it unless the configuration lets it be without.
//!
//! What it guarantees: a call ends within its time, whatever the other end does; nothing is sent to anybody without a certificate of the right
//! authority; and a way that was to stay on this machine does.
//!
//! Certificates, keys and what the machine trusts are read anew after each failure and when somebody asks, so that what was renewed is used.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::SinkError;
use crate::certificate::{Readers, certificates, read};
use crate::web;

/// The files of TLS.
#[derive(Clone, Default)]
pub(super) struct TlsFiles {
    pub(super) authorities: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    /// What is spoken above; empty if that has no name.
    pub(super) protocol: &'static [u8],
}

/// What a way speaks.
#[derive(Clone)]
pub(super) enum Cover {
    /// TLS.
    Tls(TlsFiles),
    /// Nothing, on this machine.
    Local,
    /// Nothing, wherever it leads.
    Nothing,
}

/// A connection of either kind.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    /// What carries it.
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// The way.
pub(super) struct Road {
    host: String,
    port: u16,
    cover: Cover,
    timeout: Duration,
    /// Kept while it works: with it, a session is resumed.
    tls: Option<TlsConnector>,
    /// Of its own: what hangs there hangs nobody else.
    runtime: Runtime,
}

impl Road {
    /// # Errors
    /// If the system gives no means to wait for sockets.
    pub(super) fn new(host: &str, port: u16, cover: Cover, timeout: Duration) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            cover,
            timeout,
            tls: None,
            runtime,
        })
    }

    /// Connects, and does something with the connection.
    ///
    /// # Errors
    /// [`SinkError`], also if all of it takes longer than it may.
    pub(super) fn travel<T>(
        &mut self,
        errand: impl AsyncFnOnce(Box<dyn Wire>) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        let (host, port, cover) = (&self.host, self.port, &self.cover);
        let tls = &mut self.tls;
        let whole = async {
            let wire = connect(host, port, cover, tls).await?;
            errand(wire).await
        };
        let timeout = self.timeout;
        let done = self
            .runtime
            .block_on(async { tokio::time::timeout(timeout, whole).await });
        let done = done.unwrap_or_else(|_| Err(self.late()));
        if done.is_err() {
            self.forget();
        }
        done
    }

    /// Reads its files anew for the next call.
    pub(super) fn forget(&mut self) {
        self.tls = None;
    }

    /// Where it leads, for people.
    pub(super) fn target(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn late(&self) -> SinkError {
        SinkError::Unreachable {
            target: self.target(),
            message: format!("it took longer than {} ms", self.timeout.as_millis()),
        }
    }
}

async fn connect(
    host: &str,
    port: u16,
    cover: &Cover,
    kept: &mut Option<TlsConnector>,
) -> Result<Box<dyn Wire>, SinkError> {
    let failed = |error: &dyn Display| unreachable(&format!("{host}:{port}"), error);
    let mut addresses: Vec<_> = lookup_host((host, port))
        .await
        .map_err(|error| failed(&error))?
        .collect();
    if matches!(cover, Cover::Local) {
        addresses.retain(|address| address.ip().is_loopback());
    }
    let tcp = TcpStream::connect(&addresses[..])
        .await
        .map_err(|error| failed(&error))?;
    let Cover::Tls(files) = cover else {
        return Ok(Box::new(tcp));
    };
    let connector = match kept {
        Some(connector) => connector.clone(),
        None => kept.insert(TlsConnector::from(Arc::new(tls(files).await?))).clone(),
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
    let stream = connector.connect(name, tcp).await.map_err(|error| failed(&error))?;
    Ok(Box::new(stream))
}

async fn tls(files: &TlsFiles) -> Result<ClientConfig, SinkError> {
    let pem = match &files.authorities {
        Some(path) => String::from_utf8_lossy(&read(path, Readers::Any)?).into_owned(),
        None => String::new(),
    };
    let unfit = |error: &dyn Display| SinkError::Tls(error.to_string());
    // An empty file would mean the machine's own.
    if files.authorities.is_some() && pem.trim().is_empty() {
        return Err(unfit(&"ca_file is empty; it must hold certificates in PEM"));
    }
    let roots = web::roots(&pem).await.map_err(|error| unfit(&error))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(&error))?
        .with_root_certificates(roots);
    let mut config = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, &read(certificate, Readers::Any)?)?;
            let key = Zeroizing::new(read(key, Readers::Owner)?);
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unfit(&error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unfit(&error))?
        }
        _ => builder.with_no_client_auth(),
    };
    if !files.protocol.is_empty() {
        config.alpn_protocols = vec![files.protocol.to_vec()];
    }
    Ok(config)
}

/// What went wrong on the way, in one line: parts of it come from the other end.
pub(super) fn unreachable(target: &str, error: &dyn Display) -> SinkError {
    let message: String = aumbry_audit::text::escape(&error.to_string())
        .chars()
        .take(MESSAGE_CHARACTERS_MAX)
        .collect();
    SinkError::Unreachable {
        target: target.to_owned(),
        message,
    }
}

/// What TLS and the system say of a failure is shorter.
const MESSAGE_CHARACTERS_MAX: usize = 300;
