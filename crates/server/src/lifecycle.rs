//! From a fresh node to a member of a cluster: by initialising one, by joining one, or by having done so before.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use aumbry_api::peer::v1::PeerStatusReply;
use aumbry_api::v1;
use aumbry_node::{
    GenesisFacts, InitError, InitOptions, Initialised, Node, Outside, genesis_facts, initialise, run_duties,
};
use aumbry_raft::{Config as RaftConfig, Handlers, Identity, IdentityError, RaftNode, StartError, pki};
use aumbry_state::Consensus;
use aumbry_storage::DataDir;
use aumbry_types::{Clock, ClusterId, Entropy, NodeId, SecretBytes, SystemClock, SystemEntropy};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

use crate::config::Config;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::outgoing;
use crate::ticket::{Ticket, hex};

/// What the node is and can become.
pub(crate) struct Lifecycle {
    config: Config,
    data: DataDir,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
    member: RwLock<Option<Arc<Member>>>,
    /// The peer listener, bound at the start so that a port in use is told then, until consensus takes it over.
    listener: Mutex<Option<TcpListener>>,
    gateway: OnceLock<Weak<Gateway>>,
    stop: watch::Sender<bool>,
}

/// A node that belongs to a cluster.
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    pub(crate) raft: Arc<RaftNode>,
    identity: RwLock<Identity>,
}

/// Why the node did not become a member.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemberError {
    /// It is one already.
    #[error("the node belongs to a cluster already")]
    Already,
    /// Its identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Keys and certificates.
    #[error(transparent)]
    Pki(#[from] pki::PkiError),
    /// Consensus.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The first entry.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The join token, or the members.
    #[error("{0}")]
    Join(String),
}

impl Lifecycle {
    pub(crate) fn new(config: Config, data: DataDir, listener: TcpListener, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            config,
            data,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            metrics,
            member: RwLock::new(None),
            listener: Mutex::new(Some(listener)),
            gateway: OnceLock::new(),
            stop: watch::Sender::new(false),
        })
    }

    /// Ties the gateway to it, which serves what peers forward.
    pub(crate) fn set_gateway(&self, gateway: &Arc<Gateway>) {
        // Set once, at start.
        let _ = self.gateway.set(Arc::downgrade(gateway));
    }

    pub(crate) fn member(&self) -> Option<Arc<Member>> {
        self.member.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// Takes part in the cluster that the data directory names; joins one if the configuration says so; else stays fresh.
    pub(crate) async fn resume(&self) -> Result<(), MemberError> {
        if let Some(identity) = Identity::load(&self.data)? {
            self.become_member(identity).await?;
            return Ok(());
        }
        let Some(join) = &self.config.join else { return Ok(()) };
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| MemberError::Join(format!("cannot read {}: {error}", path.display())))
        };
        let token = SecretBytes::new(read(&join.token_file)?);
        let ca = read(&join.ca_file)?;
        self.join(token.expose(), &ca).await.map(|_| ())
    }

    /// Makes a new cluster of this node.
    pub(crate) async fn init(
        &self,
        shares: u8,
        threshold: u8,
        root_token: Option<SecretBytes>,
    ) -> Result<(Initialised, ClusterId), MemberError> {
        let mut listener = self.listener.lock().await;
        let member = self.member();
        let cluster = match &member {
            None => ClusterId::make(&*self.entropy),
            Some(member) if member.node.seal_status().initialised && member.is_confirmed() => {
                return Err(InitError::Already.into());
            }
            Some(member) => member.identity.read().unwrap_or_else(PoisonError::into_inner).cluster,
        };
        let authority = pki::make_authority(cluster)?;
        let node = NodeId(1);
        let key = match &member {
            Some(member) => member
                .identity
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .key
                .duplicate(),
            None => pki::make_node_key()?.key,
        };
        let spki = pki::public_key(&key)?;
        let identity = Identity {
            cluster,
            node,
            certificate: pki::sign_node(&authority.key, &authority.certificate, cluster, node, &spki)?,
            key,
            authority: authority.certificate.clone(),
        };
        identity.store(&self.data)?;
        let member = match member {
            Some(member) => {
                member.raft.replace_identity(&identity).map_err(StartError::from)?;
                *member.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
                member
            }
            None => self.start(identity, &mut listener).await?,
        };
        member.raft.bootstrap(&self.first_member(&spki)).await?;
        let mut changed = member.raft.changed();
        let leads = changed.wait_for(|change| change.leadership.is_some());
        if tokio::time::timeout(LEAD_TIMEOUT, leads).await.is_err() {
            return Err(InitError::NotLeader.into());
        }
        let options = InitOptions {
            shares,
            threshold,
            root_token,
            cluster_id: cluster,
            authority: authority.certificate,
            authority_key: authority.key,
        };
        let initialised = initialise(&*member.raft, &*self.clock, &*self.entropy, options).await?;
        Ok((initialised, cluster))
    }

    /// Joins a cluster with a join token.
    pub(crate) async fn join(&self, token: &[u8], ca: &[u8]) -> Result<(NodeId, ClusterId), MemberError> {
        let mut listener = self.listener.lock().await;
        if self.member().is_some() {
            return Err(MemberError::Already);
        }
        let ticket = Ticket::parse(token).map_err(|error| MemberError::Join(error.to_string()))?;
        let key = pki::make_node_key()?;
        let reply = self.ask_members(&ticket, ca, &key.spki).await?;
        // The members are who the token says: it carries the digest of their authority's certificate.
        let authority = hex(&aumbry_crypto::sha256(&[reply.authority.as_bytes()]));
        if authority != ticket.authority || reply.cluster_id != ticket.cluster.to_string() {
            return Err(MemberError::Join(
                "the members are of another cluster than the join token".to_owned(),
            ));
        }
        let identity = Identity {
            cluster: ticket.cluster,
            node: NodeId(reply.node_id),
            key: key.key,
            certificate: reply.certificate,
            authority: reply.authority,
        };
        identity.store(&self.data)?;
        let (node, cluster) = (identity.node, identity.cluster);
        self.start(identity, &mut listener).await?;
        Ok((node, cluster))
    }

    /// Hands leadership over, stops, and makes everything durable.
    pub(crate) async fn shutdown(&self) {
        self.stop.send_replace(true);
        let member = self.member.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(member) = member {
            member.raft.shutdown().await;
            member.node.seal();
        }
    }

    async fn ask_members(&self, ticket: &Ticket, ca: &[u8], spki: &[u8]) -> Result<v1::JoinReply, MemberError> {
        let mut last = MemberError::Join("the join token names no member".to_owned());
        for address in &ticket.addresses {
            let request = v1::JoinRequest {
                header: None,
                secret: bytes::Bytes::copy_from_slice(ticket.secret.expose()),
                spki: bytes::Bytes::copy_from_slice(spki),
                name: self.config.name.clone(),
                peer_addr: self.config.peer_advertise(),
                client_addr: self.config.client_advertise(),
                region: self.config.region.clone(),
                zone: self.config.zone.clone(),
            };
            match outgoing::join(address, ca, request).await {
                Ok(reply) => return Ok(reply),
                // The token may be used up by now: asking others would only hide why.
                Err(error @ outgoing::CallError::Refused(_)) => return Err(MemberError::Join(error.to_string())),
                Err(error) => last = MemberError::Join(error.to_string()),
            }
        }
        Err(last)
    }

    async fn become_member(&self, identity: Identity) -> Result<(), MemberError> {
        let mut listener = self.listener.lock().await;
        self.start(identity, &mut listener).await?;
        Ok(())
    }

    async fn start(&self, identity: Identity, listener: &mut Option<TcpListener>) -> Result<Arc<Member>, MemberError> {
        let listener = listener.take().ok_or(MemberError::Already)?;
        let raft = RaftNode::start(&self.data, &identity, self.raft_config(), listener, self.handlers()).await?;
        let asking = Arc::clone(&raft);
        let outside = Outside {
            sign_node: Box::new(|key, authority, cluster, node, spki| {
                pki::sign_node(key, authority, cluster, node, spki).map_err(|error| error.to_string())
            }),
            ask_peer: Box::new(move |peer| {
                let raft = Arc::clone(&asking);
                Box::pin(async move { raft.peer_status(peer).await.map(|status| (!status.sealed, status.wall)) })
            }),
            region: self.config.region.clone(),
        };
        let consensus: Arc<dyn Consensus> = Arc::<RaftNode>::clone(&raft);
        let node = Node::new(consensus, Arc::clone(&self.clock), Arc::clone(&self.entropy), outside);
        tokio::spawn(run_duties(Arc::clone(&node), self.stop.subscribe()));
        let member = Arc::new(Member {
            node,
            raft,
            identity: RwLock::new(identity),
        });
        *self.member.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&member));
        Ok(member)
    }

    fn handlers(&self) -> Handlers {
        let gateway = self.gateway.get().cloned().unwrap_or_default();
        let (forwarding, telling, clock) = (gateway.clone(), gateway, Arc::clone(&self.clock));
        Handlers {
            forward: Arc::new(move |_, call| {
                let gateway = forwarding.upgrade();
                Box::pin(async move {
                    let gateway = gateway.ok_or_else(|| tonic::Status::unavailable("the node is stopping"))?;
                    Ok(gateway.serve_forwarded(call).await)
                })
            }),
            status: Arc::new(move || {
                let member = telling.upgrade().and_then(|gateway| gateway.lifecycle.member());
                let status = member.as_ref().map(|member| member.raft.status()).unwrap_or_default();
                PeerStatusReply {
                    sealed: member.is_none_or(|member| !member.node.is_unsealed()),
                    wall_ms: clock.wall().0,
                    applied: status.applied.0,
                    digest: bytes::Bytes::copy_from_slice(&status.digest),
                    version: VERSION.to_owned(),
                }
            }),
        }
    }

    const fn raft_config(&self) -> RaftConfig {
        let raft = &self.config.raft;
        RaftConfig {
            heartbeat: Duration::from_millis(raft.heartbeat_ms),
            election_min: Duration::from_millis(raft.election_min_ms),
            election_max: Duration::from_millis(raft.election_max_ms),
            snapshot_log_bytes: raft.snapshot_log_bytes,
        }
    }

    fn first_member(&self, spki: &[u8]) -> aumbry_state::Member {
        aumbry_state::Member {
            id: NodeId(1),
            name: self.config.name.clone(),
            peer_addr: self.config.peer_advertise(),
            client_addr: self.config.client_advertise(),
            spki_pin: aumbry_crypto::sha256(&[spki]),
            region: self.config.region.clone(),
            zone: self.config.zone.clone(),
            voter: true,
            matched: None,
        }
    }
}

impl Member {
    pub(crate) fn raft_id(&self) -> NodeId {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).node
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).cluster
    }

    pub(crate) fn facts(&self) -> Option<GenesisFacts> {
        genesis_facts(&*self.raft.view())
    }

    /// Whether somebody has opened the seal with the shares.
    fn is_confirmed(&self) -> bool {
        self.node.is_unsealed() || aumbry_node::is_confirmed(&*self.raft.view())
    }

    pub(crate) fn members(&self) -> Vec<v1::Member> {
        let status = self.raft.status();
        let leader = status.leader;
        let member = |member: aumbry_state::Member| v1::Member {
            id: member.id.0,
            name: member.name,
            peer_addr: member.peer_addr,
            client_addr: member.client_addr,
            voter: member.voter,
            leader: leader == Some(member.id),
            matched: member.matched.map(|index| index.0),
            region: member.region,
            zone: member.zone,
        };
        status.members.into_iter().map(member).collect()
    }

    pub(crate) fn status(&self, name: &str) -> v1::StatusReply {
        let status = self.raft.status();
        let storage_id = self
            .facts()
            .map(|facts| facts.storage_id.to_string())
            .unwrap_or_default();
        v1::StatusReply {
            header: None,
            node_id: status.node.0,
            name: name.to_owned(),
            version: VERSION.to_owned(),
            sealed: !self.node.is_unsealed(),
            leader_id: status.leader.map_or(0, |leader| leader.0),
            is_leader: status.leader == Some(status.node),
            term: status.term.0,
            applied: status.applied.0,
            committed: status.committed.0,
            last_log: status.last_log.0,
            state_digest: hex(&status.digest),
            audit_root: hex(&status.audit_root),
            audit_size: status.audit_size,
            log_time_ms: status.log_time,
            cluster_id: self.cluster().to_string(),
            storage_id,
            members: self.members(),
        }
    }
}

/// This build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A cluster of one elects itself within an election's length.
const LEAD_TIMEOUT: Duration = Duration::from_secs(10);
