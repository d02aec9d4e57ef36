//! A connection to a directory: TCP, TLS from the start or by StartTLS, and a bound on what comes over it.

use std::sync::{Arc, OnceLock};

use aumbry_auth::ldap::Place;
use aumbry_node::{DirectoryError, WebError};
use bytes::BytesMut;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, StdStream};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::frame::{self, Unfit};
use crate::web;

/// A connection that is open.
pub(super) struct Link {
    /// The client.
    pub(super) ldap: Ldap,
    /// Why nothing more is let through, if nothing is.
    ended: Arc<OnceLock<Unfit>>,
    /// They end with the connection.
    _driven: JoinSet<()>,
}

impl Link {
    /// Why a question failed: the client knows only that nothing came any more.
    pub(super) fn explain(&self, error: DirectoryError) -> DirectoryError {
        match self.ended.get() {
            Some(Unfit::TooLong) => DirectoryError::TooLong,
            Some(Unfit::Malformed) => DirectoryError::Answer("it cannot be read".to_owned()),
            None => error,
        }
    }
}

/// Connects.
pub(super) async fn open(place: &Place, is_starttls: bool, authority_pem: &str) -> Result<Link, DirectoryError> {
    let mut tcp = TcpStream::connect((place.host.as_str(), place.port))
        .await
        .map_err(|error| unreachable(&error))?;
    if !place.is_tls && !is_starttls {
        // The configuration says so by a name; this says so by the address.
        let address = tcp.peer_addr().map_err(|error| unreachable(&error))?;
        return match address.ip().is_loopback() {
            true => over(tcp).await,
            false => Err(unreachable(&"it is not this machine, and TLS is not configured")),
        };
    }
    let config = web::trusting(authority_pem).await.map_err(|error| match error {
        WebError::Authority => DirectoryError::Authority,
        other => unreachable(&other),
    })?;
    let name = ServerName::try_from(place.host.clone()).map_err(|error| unreachable(&error))?;
    if !place.is_tls {
        starttls(&mut tcp).await?;
    }
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    over(connecting.await.map_err(|error| unreachable(&error))?).await
}

/// Asks for TLS. Whatever else comes before it is not of the directory.
async fn starttls(tcp: &mut TcpStream) -> Result<(), DirectoryError> {
    tcp.write_all(&STARTTLS).await.map_err(|error| unreachable(&error))?;
    let mut answer = Vec::new();
    loop {
        let byte = tcp.read_u8().await.map_err(|error| unreachable(&error))?;
        answer.push(byte);
        let unfit = || DirectoryError::Answer("what it says to StartTLS cannot be read".to_owned());
        if frame::message(&answer).map_err(|_| unfit())?.is_some() {
            return match frame::starttls_code(&answer).ok_or_else(unfit)? {
                0 => Ok(()),
                code => Err(DirectoryError::Answer(format!(
                    "it answers with code {code} to StartTLS"
                ))),
            };
        }
        if answer.len() >= STARTTLS_BYTES_MAX {
            return Err(DirectoryError::TooLong);
        }
    }
}

/// The client, which talks to a socket of this process; what is let through goes to and from that.
async fn over<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> Result<Link, DirectoryError> {
    let (ours, its) = std::os::unix::net::UnixStream::pair().map_err(|error| unreachable(&error))?;
    ours.set_nonblocking(true).map_err(|error| unreachable(&error))?;
    let ours = UnixStream::from_std(ours).map_err(|error| unreachable(&error))?;
    let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(its));
    let (connection, ldap) = LdapConnAsync::with_settings(settings, "ldapi://directory")
        .await
        .map_err(|error| unreachable(&error))?;
    let ended = Arc::new(OnceLock::new());
    let why = Arc::clone(&ended);
    let mut driven = JoinSet::new();
    driven.spawn(async move {
        // What the question fails by is told there.
        let _ = connection.drive().await;
    });
    driven.spawn(async move {
        if let Some(unfit) = pass(stream, ours).await {
            let _ = why.set(unfit);
        }
    });
    Ok(Link {
        ldap,
        ended,
        _driven: driven,
    })
}

/// Passes on what both say, until one of them is silent for good. Gives why something was not passed on.
async fn pass<S: AsyncRead + AsyncWrite + Send>(stream: S, client: UnixStream) -> Option<Unfit> {
    let (mut from_directory, mut to_directory) = tokio::io::split(stream);
    let (mut from_client, mut to_client) = client.into_split();
    let inward = async {
        let (mut held, mut total) = (BytesMut::with_capacity(READ_BYTES), 0_usize);
        loop {
            match from_directory.read_buf(&mut held).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => total += count,
            }
            if total > TOTAL_BYTES_MAX {
                return Some(Unfit::TooLong);
            }
            loop {
                match frame::message(&held) {
                    Ok(Some(length)) => {
                        let message = held.split_to(length);
                        if to_client.write_all(&message).await.is_err() {
                            return None;
                        }
                    }
                    Ok(None) => break,
                    Err(unfit) => return Some(unfit),
                }
            }
            held.reserve(READ_BYTES);
        }
    };
    tokio::select! {
        unfit = inward => unfit,
        _ = tokio::io::copy(&mut from_client, &mut to_directory) => None,
    }
}

fn unreachable(error: &dyn std::fmt::Display) -> DirectoryError {
    DirectoryError::Unreachable(error.to_string())
}

/// The extended request 1.3.6.1.4.1.1466.20037 (RFC 4511, 4.14.1), as message 1.
const STARTTLS: [u8; 31] = *b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// A code and a line of text.
const STARTTLS_BYTES_MAX: usize = 4 << 10;
const READ_BYTES: usize = 8 << 10;
/// A thousand groups with their names, and some more.
const TOTAL_BYTES_MAX: usize = 4 << 20;
