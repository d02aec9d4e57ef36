//! Connections to the servers: an address in its forms, and TLS.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Error;

/// A connection, encrypted or not.
pub(crate) type Stream = Box<dyn Both>;

/// What can be read and written.
pub(crate) trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Both for S {}

/// How to connect to one server.
#[derive(Clone)]
pub(crate) struct Dial {
    /// Host and port.
    pub(crate) address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Dial {
    /// Of `host:port`, with `https://` or without. In clear only on this machine, and only where `http://` says so.
    pub(crate) fn new(address: &str, ca_pem: &[u8], protocol: &str) -> Result<Self, Error> {
        let (is_clear, authority) = match address.split_once("://") {
            None => (false, address),
            Some(("https", rest)) => (false, rest),
            Some(("http", rest)) => (true, rest),
            Some(_) => return Err(wrong(address)),
        };
        let authority = authority.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| wrong(address))?;
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(wrong(address));
        }
        let tls = if is_clear {
            let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            if !is_here {
                let text = format!(
                    "{address} is not on this machine: a token is sent in clear to loopback only; use https://"
                );
                return Err(Error::Setting(text));
            }
            None
        } else {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong(address))?;
            Some((TlsConnector::from(Arc::new(tls(ca_pem, protocol)?)), name))
        };
        Ok(Self {
            address: authority.to_owned(),
            tls,
        })
    }

    /// The scheme that requests name.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Stream, Error> {
        let refused = |why: &dyn core::fmt::Display| Error::Connect {
            address: self.address.clone(),
            why: why.to_string(),
        };
        let connecting = async {
            let tcp = TcpStream::connect(&self.address).await?;
            tcp.set_nodelay(true)?;
            Ok::<Stream, std::io::Error>(match &self.tls {
                None => Box::new(tcp),
                Some((connector, name)) => Box::new(connector.connect(name.clone(), tcp).await?),
            })
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        connected
            .map_err(|_| refused(&"no answer in time"))?
            .map_err(|error| refused(&error))
    }
}

fn wrong(address: &str) -> Error {
    Error::Setting(format!(
        "the address {address} is to be host:port, https://host:port, or http://host:port on this machine"
    ))
}

fn tls(ca_pem: &[u8], protocol: &str) -> Result<ClientConfig, Error> {
    let no_ca = || {
        Error::Setting("name the authority of the servers' certificates: --ca-cert FILE or AUMBRY_CACERT".to_owned())
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        roots.add(certificate.map_err(|_| no_ca())?).map_err(|_| no_ca())?;
    }
    if roots.is_empty() {
        return Err(no_ca());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::Setting(error.to_string()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(config)
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_is_for_this_machine() {
        for good in ["http://127.0.0.1:8200", "http://localhost:1/", "http://[::1]:8200"] {
            assert_eq!(
                Dial::new(good, &[], "h2").ok().map(|dial| dial.scheme()),
                Some("http"),
                "{good}"
            );
        }
        for (bad, word) in [
            ("http://10.0.0.1:8200", "not on this machine"),
            ("127.0.0.1", "host:port"),
            ("ftp://a:1", "host:port"),
            ("a:0", "host:port"),
            ("a:1", "authority"),
        ] {
            let error = Dial::new(bad, &[], "h2").err().unwrap().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }
}
