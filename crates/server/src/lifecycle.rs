//! From a fresh node to a member of a cluster: by initialising one, by joining one, or by having done so before.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use aumbry_api::peer::v1::PeerStatusReply;
use aumbry_api::v1;
use aumbry_crypto::recipient::{Recipient, Recipients};
use aumbry_node::{
    Failure, InitError, InitOptions, Initialised, Node, Outside, PeerState, initialise, run_duties, step_aside,
};
use aumbry_raft::{
    Config as RaftConfig, Handlers, Identity, IdentityError, RaftNode, StartError, erased_to_wire, pki, room_to_wire,
};
use aumbry_state::Consensus;
use aumbry_storage::{DataDir, Space, TreeHashes};
use aumbry_types::{Clock, ClusterId, Entropy, NodeId, SecretBytes, SystemClock, SystemEntropy, hex};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::archive::Archive;
use crate::config::Config;
use crate::directory;
use crate::gateway::Gateway;
use crate::member::Member;
use crate::metrics::Metrics;
use crate::outgoing;
use crate::seals::SealTests;
use crate::ticket::Ticket;
use crate::{erasing, tree, unseal_records, web};

/// What a cluster is made with.
pub(crate) struct Init {
    /// How many key shares.
    pub(crate) shares: u8,
    /// How many of them open the seal.
    pub(crate) threshold: u8,
    /// A root token of the operator's choice, for development clusters.
    pub(crate) root_token: Option<SecretBytes>,
    /// Whom the shares are encrypted to.
    pub(crate) recipients: Option<Recipients>,
    /// Whom the root token is encrypted to.
    pub(crate) root_token_recipient: Option<Recipient>,
}

/// What the node is and can become.
pub(crate) struct Lifecycle {
    config: Config,
    pub(crate) data: DataDir,
    /// The room on its disk.
    pub(crate) space: Arc<Space>,
    pub(crate) clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
    member: RwLock<Option<Arc<Member>>>,
    /// The peer listener, bound at the start so that a port in use is told then, until consensus takes it over.
    pub(crate) listener: Mutex<Option<TcpListener>>,
    /// One backup at a time is saved or restored: each takes the disk for itself.
    pub(crate) backups: Arc<Semaphore>,
    /// Whether the seals beside the shares work.
    pub(crate) seal_tests: SealTests,
    gateway: OnceLock<Weak<Gateway>>,
    /// Set when the node was told to stop: it serves who is there, and nobody else is to come.
    leaving: watch::Sender<bool>,
    /// Ends what the node does by itself.
    stop: watch::Sender<bool>,
    /// Why the node must end, once it must.
    ending: watch::Sender<Option<String>>,
}

/// Why the node did not become a member.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemberError {
    /// It is one already.
    #[error("the node belongs to a cluster already")]
    Already,
    /// It was initialised by somebody else, who has not used the shares yet.
    #[error(
        "the node is initialised, and its shares were not used yet: use them, repeat the initialisation with its key, or wipe the data directory and start anew"
    )]
    NotRepeatable,
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
    /// The data directory, or a backup.
    #[error(transparent)]
    Storage(#[from] aumbry_storage::StorageError),
    /// The first entry after a restore.
    #[error("{}", .0.message)]
    Adopt(Failure),
    /// The join token, or the members.
    #[error("{0}")]
    Join(String),
}

impl MemberError {
    /// Whether what is stored is not what was written.
    pub(crate) const fn is_damage(&self) -> bool {
        match self {
            Self::Identity(IdentityError::Storage(error)) | Self::Storage(error) => error.is_damage(),
            Self::Start(error) => error.is_damage(),
            _ => false,
        }
    }
}

impl Lifecycle {
    pub(crate) fn new(config: Config, data: DataDir, listener: TcpListener, metrics: Arc<Metrics>) -> Arc<Self> {
        let space = Arc::new(Space::new(&data, config.limits.disk_reserve_bytes));
        Arc::new(Self {
            config,
            data,
            space,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            metrics,
            member: RwLock::new(None),
            listener: Mutex::new(Some(listener)),
            backups: Arc::new(Semaphore::new(1)),
            seal_tests: SealTests::default(),
            gateway: OnceLock::new(),
            leaving: watch::Sender::new(false),
            stop: watch::Sender::new(false),
            ending: watch::Sender::new(None),
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

    /// Whether the node was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.leaving.borrow()
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
        aumbry_raft::discard_unfinished(&self.data)?;
        self.data.remove(INCOMING)?;
        let identity = Identity::load(&self.data)?;
        aumbry_raft::refuse_loss(&self.data, identity.is_some())?;
        if let Some(identity) = identity {
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
    pub(crate) async fn init(&self, asked: Init, repeat_key: &[u8]) -> Result<(Initialised, ClusterId), MemberError> {
        let mut listener = self.listener.lock().await;
        let member = self.member();
        let cluster = match &member {
            None => ClusterId::make(&*self.entropy),
            Some(member) if member.node.seal_status().initialised && member.is_confirmed() => {
                return Err(InitError::Already.into());
            }
            // Anyone can reach a node that nobody has unsealed yet: only who initialised it may throw its shares away.
            Some(member) if member.node.seal_status().initialised && !self.is_init_key(repeat_key)? => {
                return Err(MemberError::NotRepeatable);
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
        self.data.write(INIT_KEY, &aumbry_crypto::sha256(&[repeat_key]))?;
        if member.is_none() {
            aumbry_raft::prepare(&self.data)?;
        }
        identity.store(&self.data)?;
        let member = match member {
            Some(member) => {
                member.raft.replace_identity(&identity).map_err(StartError::from)?;
                *member.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
                member
            }
            None => self.start(identity, &mut listener).await?,
        };
        member.raft.bootstrap(&self.config.member(node, &spki)).await?;
        let mut changed = member.raft.changed();
        let leads = changed.wait_for(|change| change.leadership.is_some());
        if tokio::time::timeout(LEAD_TIMEOUT, leads).await.is_err() {
            return Err(InitError::NotLeader.into());
        }
        let options = InitOptions {
            shares: asked.shares,
            threshold: asked.threshold,
            root_token: asked.root_token,
            recipients: asked.recipients,
            root_token_recipient: asked.root_token_recipient,
            cluster_id: cluster,
            authority: authority.certificate,
            authority_key: authority.key,
        };
        let initialised = initialise(&*member.raft, &*self.clock, &*self.entropy, options).await?;
        Ok((initialised, cluster))
    }

    fn is_init_key(&self, key: &[u8]) -> Result<bool, MemberError> {
        let stored = self.data.read(INIT_KEY)?;
        let is_same = stored.is_some_and(|stored| aumbry_crypto::equal(&stored, &aumbry_crypto::sha256(&[key])));
        Ok(is_same && !key.is_empty())
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
        let authority = hex::encode(&aumbry_crypto::sha256(&[reply.authority.as_bytes()]));
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
        aumbry_raft::prepare(&self.data)?;
        identity.store(&self.data)?;
        let (node, cluster) = (identity.node, identity.cluster);
        self.start(identity, &mut listener).await?;
        Ok((node, cluster))
    }

    /// Waits until the node must end although nobody told it to. Gives the reason.
    pub(crate) async fn must_end(&self) -> String {
        let mut ending = self.ending.subscribe();
        let reason = ending
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // The sender lives in self.
            None => std::future::pending().await,
        }
    }

    /// Wipes the keys, and leaves the rest as it is: nothing that this node has is of use to others.
    pub(crate) fn abandon(&self) {
        self.leaving.send_replace(true);
        self.stop.send_replace(true);
        if let Some(member) = self.member.write().unwrap_or_else(PoisonError::into_inner).take() {
            member.node.seal();
        }
    }

    /// Hands leadership over, if this node has it. It goes on as a member of the cluster that serves, so that what its clients ask meanwhile is
    /// handed on to the new leader.
    pub(crate) async fn leave(&self) {
        self.leaving.send_replace(true);
        if let Some(member) = self.member() {
            step_aside(&member.node).await;
        }
    }

    /// Stops, and makes everything durable. Leadership is handed over if it could not be before.
    pub(crate) async fn shutdown(&self) {
        self.leaving.send_replace(true);
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

    pub(crate) async fn start(
        &self,
        identity: Identity,
        listener: &mut Option<TcpListener>,
    ) -> Result<Arc<Member>, MemberError> {
        let listener = listener.take().ok_or(MemberError::Already)?;
        let space = Arc::clone(&self.space);
        let raft = RaftNode::start(
            &self.data,
            &identity,
            self.raft_config(),
            listener,
            self.handlers(),
            Arc::clone(&space),
        )
        .await?;
        let (watched, ending, mut stop) = (Arc::clone(&raft), self.ending.clone(), self.stop.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                found = watched.rolled_back() => drop(ending.send_replace(Some(found.to_string()))),
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
        let asking = Arc::clone(&raft);
        let outside = Outside {
            sign_node: Box::new(|key, authority, cluster, node, spki| {
                pki::sign_node(key, authority, cluster, node, spki).map_err(|error| error.to_string())
            }),
            ask_peer: Box::new(move |peer| {
                let raft = Arc::clone(&asking);
                Box::pin(async move {
                    let status = raft.peer_status(peer).await?;
                    Some(PeerState {
                        unsealed: !status.sealed,
                        wall: status.wall,
                        applied: status.applied,
                        digest: status.digest,
                        room: status.room,
                        erased: status.erased,
                    })
                })
            }),
            room: Box::new(move || space.room()),
            ask_web: Arc::new(|request| Box::pin(web::ask(request))),
            ask_directory: Box::new(|question| Box::pin(directory::ask(question))),
            audit_hashes: Box::new(tree::Hashes(TreeHashes::open(&self.data.tree())?)),
            cluster: identity.cluster,
            region: self.config.region.clone(),
        };
        let consensus: Arc<dyn Consensus> = Arc::<RaftNode>::clone(&raft);
        let node = Node::new(consensus, Arc::clone(&self.clock), Arc::clone(&self.entropy), outside);
        tokio::spawn(run_duties(Arc::clone(&node), self.stop.subscribe()));
        tokio::spawn(tree::follow(Arc::clone(&node), self.stop.subscribe()));
        if let Some(archive) = &self.config.audit.archive {
            let archive = Archive::new(&archive.directory, raft.status().node);
            tokio::spawn(archive.follow(Arc::clone(&node), self.stop.subscribe()));
        }
        let member = Arc::new(Member {
            node,
            raft,
            identity: RwLock::new(identity),
        });
        tokio::spawn(unseal_records::run(Arc::clone(&member), self.stop.subscribe()));
        erasing::start(self, &member, self.stop.subscribe())?;
        *self.member.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&member));
        Ok(member)
    }

    fn handlers(&self) -> Handlers {
        let gateway = self.gateway.get().cloned().unwrap_or_default();
        let (forwarding, telling, clock) = (gateway.clone(), gateway, Arc::clone(&self.clock));
        let space = Arc::clone(&self.space);
        Handlers {
            forward: Arc::new(move |from, call| {
                let gateway = forwarding.upgrade();
                Box::pin(async move {
                    let gateway = gateway.ok_or_else(|| tonic::Status::unavailable("the node is stopping"))?;
                    Ok(gateway.serve_forwarded(from, call).await)
                })
            }),
            status: Arc::new(move || {
                let member = telling.upgrade().and_then(|gateway| gateway.lifecycle.member());
                let status = member.as_ref().map(|member| member.raft.status()).unwrap_or_default();
                PeerStatusReply {
                    sealed: member.as_ref().is_none_or(|member| !member.node.is_unsealed()),
                    wall_ms: clock.wall().0,
                    applied: status.applied.0,
                    digest: bytes::Bytes::copy_from_slice(&status.digest),
                    version: VERSION.to_owned(),
                    // Consensus fills it in.
                    acknowledged: Vec::new(),
                    room: room_to_wire(space.room()).into(),
                    erased: member.map(|member| erased_to_wire(&member.node.erased())),
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
}

/// This build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The file of the digest of the key with which an initialisation can be repeated.
const INIT_KEY: &str = "init-key";
/// The file of a backup that is being received.
pub(crate) const INCOMING: &str = "backup.incoming";
/// A cluster of one elects itself within an election's length.
pub(crate) const LEAD_TIMEOUT: Duration = Duration::from_secs(10);
