//! Connections to the nodes: made when first used, kept.

use std::sync::Arc;
use std::time::Duration;

use aumbry_types::SecretBytes;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::Error;

/// A channel that shows the token.
pub type Authorized = InterceptedService<Channel, Authorize>;

/// One connection to each endpoint.
#[derive(Clone)]
pub(crate) struct Connections {
    nodes: Arc<Vec<(String, Channel)>>,
    authorize: Authorize,
}

/// Puts the token onto each call.
#[derive(Clone)]
pub struct Authorize(Option<MetadataValue<Ascii>>);

impl Interceptor for Authorize {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Connections {
    pub(crate) fn new(endpoints: Vec<String>, tls: Arc<ClientConfig>, token: &SecretBytes) -> Result<Self, Error> {
        let authorize = match token.expose() {
            [] => None,
            bytes => {
                let wrong = || Error::Configuration("the token holds characters that no token has".to_owned());
                let text = core::str::from_utf8(bytes).map_err(|_| wrong())?;
                let mut value: MetadataValue<Ascii> = format!("Bearer {text}").parse().map_err(|_| wrong())?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let connect = |address: String| {
            let channel = channel(&address, &tls)?;
            Ok((address, channel))
        };
        let nodes = endpoints.into_iter().map(connect).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self {
            nodes: Arc::new(nodes),
            authorize: Authorize(authorize),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|(address, _)| address.as_str())
    }

    /// The connection to the endpoint at this position, counted round.
    pub(crate) fn at(&self, position: usize) -> Authorized {
        let (_, channel) = &self.nodes[position % self.nodes.len()];
        InterceptedService::new(channel.clone(), self.authorize.clone())
    }

    pub(crate) fn position(&self, address: &str) -> Option<usize> {
        self.nodes.iter().position(|(known, _)| known == address)
    }
}

fn channel(address: &str, tls: &Arc<ClientConfig>) -> Result<Channel, Error> {
    let host = address
        .rsplit_once(':')
        .map_or(address, |(host, _)| host)
        .trim_matches(['[', ']'])
        .to_owned();
    let name = ServerName::try_from(host).map_err(|_| Error::Configuration("an endpoint is host:port".to_owned()))?;
    let (connector, target) = (TlsConnector::from(Arc::clone(tls)), address.to_owned());
    let connect = tower::service_fn(move |_: Uri| {
        let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
        async move {
            let tcp = TcpStream::connect(target).await?;
            tcp.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, tcp).await?))
        }
    });
    let endpoint = Endpoint::from_static("https://node.aumbry.internal")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    Ok(endpoint.connect_with_connector_lazy(connect))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
