//! Connections to peers: lazily made, kept, three to each, so that heartbeats never wait behind a snapshot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aumbry_api::peer::v1::peer_service_client::PeerServiceClient;
use aumbry_types::{ClusterId, NodeId};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::contact::Contact;
use crate::node::Config;
use crate::pki::node_name;
use crate::tls::PeerTls;
use crate::transfer::Outbox;
use crate::types::PeerNode;

/// A client of one peer.
pub(crate) type PeerClient = PeerServiceClient<InterceptedService<Channel, Envelope>>;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Append,
    Heartbeat,
    Snapshot,
    Forward,
}

/// Puts onto every call which cluster it is for, whom it is from and whom it is meant for.
#[derive(Clone)]
pub(crate) struct Envelope {
    cluster: MetadataValue<Ascii>,
    from: MetadataValue<Ascii>,
    to: MetadataValue<Ascii>,
}

impl Interceptor for Envelope {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(CLUSTER, self.cluster.clone());
        metadata.insert(FROM, self.from.clone());
        metadata.insert(TO, self.to.clone());
        Ok(request)
    }
}

/// All connections of a node.
pub(crate) struct Peers {
    tls: Arc<PeerTls>,
    cluster: ClusterId,
    node: NodeId,
    config: Config,
    channels: Mutex<BTreeMap<(u64, Purpose), (PeerNode, Channel)>>,
    contacts: Mutex<BTreeMap<u64, Arc<Contact>>>,
    pub(crate) outbox: Outbox,
}

impl Peers {
    pub(crate) fn new(tls: Arc<PeerTls>, cluster: ClusterId, node: NodeId, config: &Config) -> Self {
        Self {
            tls,
            cluster,
            node,
            config: *config,
            channels: Mutex::default(),
            contacts: Mutex::default(),
            outbox: Outbox::default(),
        }
    }

    /// A client of this peer; nothing is sent before it is used.
    pub(crate) fn client(&self, target: u64, peer: &PeerNode, purpose: Purpose) -> PeerClient {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match channels.get(&(target, purpose)) {
            Some((known, channel)) if known == peer => channel.clone(),
            // New, or moved to another address.
            _ => {
                let channel = self.connect(target, peer.clone());
                channels.insert((target, purpose), (peer.clone(), channel.clone()));
                channel
            }
        };
        drop(channels);
        let envelope = Envelope {
            cluster: ascii(&self.cluster.to_string()),
            from: ascii(&self.node.to_string()),
            to: ascii(&target.to_string()),
        };
        PeerServiceClient::with_interceptor(channel, envelope)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The contact with this peer, the same for all its connections.
    pub(crate) fn contact(&self, target: u64, peer: &PeerNode) -> Arc<Contact> {
        let mut contacts = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
        let contact = contacts
            .entry(target)
            .or_insert_with(|| Arc::new(Contact::new(target, peer.peer_addr.clone())));
        Arc::clone(contact)
    }

    fn connect(&self, target: u64, peer: PeerNode) -> Channel {
        let keep_alive = self.config.patience(KEEP_ALIVE);
        let endpoint = Endpoint::from_static("http://peer.aumbry.internal")
            .tcp_nodelay(true)
            .connect_timeout(self.config.patience(CONNECT_TIMEOUT))
            .http2_keep_alive_interval(keep_alive)
            .keep_alive_timeout(keep_alive)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES);
        let (tls, cluster) = (Arc::clone(&self.tls), self.cluster);
        let connector = tower::service_fn(move |_: Uri| {
            let (tls, peer) = (Arc::clone(&tls), peer.clone());
            async move {
                let tcp = TcpStream::connect(&peer.peer_addr).await?;
                tcp.set_nodelay(true)?;
                let name = ServerName::try_from(node_name(cluster, NodeId(target))).map_err(std::io::Error::other)?;
                let stream = tls.connector().connect(name, tcp).await?;
                let identity = tls.identify(stream.get_ref().1.peer_certificates());
                // The name was verified; the key must be the one that the membership record pins.
                match identity {
                    Some(identity) if identity.pin == peer.spki_pin => Ok(TokioIo::new(stream)),
                    _ => Err(std::io::Error::other("the peer's key is not the member's")),
                }
            }
        });
        endpoint.connect_with_connector_lazy(connector)
    }
}

fn ascii(text: &str) -> MetadataValue<Ascii> {
    text.parse().expect("digits are ASCII")
}

pub(crate) const CLUSTER: &str = "aumbry-cluster";
pub(crate) const FROM: &str = "aumbry-from";
pub(crate) const TO: &str = "aumbry-to";
/// An append carries at most 2 MiB but for one large entry; the rest is room.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A half-open connection is noticed within twice this, in one place.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Enough for a long round trip at full rate.
const WINDOW_BYTES: u32 = 4 << 20;
