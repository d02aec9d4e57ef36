//! One node of the cluster: openraft with its stores, its network and its peer listener.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aumbry_api::peer::v1 as wire;
use aumbry_api::peer::v1::peer_service_server::PeerServiceServer;
use aumbry_state::{Erased, Member, ProposeError, Room};
use aumbry_storage::{DataDir, Log, Space, StorageError, Wal};
use aumbry_types::{LeaderId, LogIndex, NodeId, WallTime};
use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::ReadPolicy;
use openraft::SnapshotPolicy;
use openraft::async_runtime::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Status};

use crate::acknowledged::{self, Acknowledged, RolledBack};
use crate::campaign::{self, Campaigns};
use crate::compaction;
use crate::erase;
use crate::heard::Heard;
use crate::identity::Identity;
use crate::log_store::LogStore;
use crate::network::Network;
use crate::peers::{MESSAGE_BYTES_MAX, Peers, Purpose};
use crate::rebuild;
use crate::room::{self, Spent};
use crate::service::Service;
use crate::state_machine::Shared;
use crate::tls::{self, PeerTls, TlsError};
use crate::transfer::Inbox;
use crate::types::{PeerNode, Raft, RaftLeader, to_leader};
use crate::vacancy::{self, Doubts};

/// Times and sizes. The times must be the same on all nodes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How often a leader is heard.
    pub heartbeat: Duration,
    /// The shortest silence after which a node campaigns.
    pub election_min: Duration,
    /// The longest one; also the lease in which a leader accepts writes after it heard a quorum.
    pub election_max: Duration,
    /// After how many bytes of log a snapshot is taken and the log is purged.
    pub snapshot_log_bytes: u64,
}

impl Config {
    /// How long something is waited for that takes some round trips to a peer: at least so long, and longer where elections take longer, as the
    /// peers are farther away there.
    pub(crate) fn patience(&self, least: Duration) -> Duration {
        (2 * self.election_max).clamp(least, PATIENCE_MAX * least)
    }
}

/// Serves a request that a peer hands over: who hands it over, and its bytes.
pub type Forward = dyn Fn(NodeId, Bytes) -> BoxFuture<'static, Result<Bytes, Status>> + Send + Sync;

/// What the server above answers to peers.
#[derive(Clone)]
pub struct Handlers {
    /// Serves a request that a peer hands over: who hands it over, and its bytes.
    pub forward: Arc<Forward>,
    /// Tells of this node.
    pub status: Arc<dyn Fn() -> wire::PeerStatusReply + Send + Sync>,
}

/// What a peer tells of itself.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Whether it is sealed.
    pub sealed: bool,
    /// Its wall clock.
    pub wall: WallTime,
    /// What it has applied.
    pub applied: LogIndex,
    /// Its state digest there.
    pub digest: [u8; 32],
    /// How much room its disk has.
    pub room: Room,
    /// How far it is with erasing what was replaced.
    pub erased: Erased,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The disk, found by openraft's adapters.
    #[error("{0}")]
    Io(std::io::Error),
    /// Keys and certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The configuration.
    #[error("raft: {0}")]
    Config(String),
    /// The data directory is an old copy.
    #[error(transparent)]
    RolledBack(#[from] RolledBack),
    /// openraft refused to start.
    #[error("consensus does not start: {0}")]
    Raft(String),
    /// openraft finds the stores inconsistent.
    #[error("the stores do not fit together: {0}; {next}", next = aumbry_storage::NEXT)]
    Inconsistent(String),
}

impl From<std::io::Error> for StartError {
    /// openraft's adapters speak of storage in the language of the operating system.
    fn from(error: std::io::Error) -> Self {
        error.downcast().map_or_else(Self::Io, Self::Storage)
    }
}

impl StartError {
    /// Whether what is stored is not what was written.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_damage(),
            Self::Inconsistent(_) | Self::RolledBack(_) => true,
            _ => false,
        }
    }
}

/// Why a forwarded request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ForwardError {
    /// It certainly did not reach the leader.
    #[error("the leader cannot be reached")]
    NotSent,
    /// It may have.
    #[error("the leader did not answer")]
    Unknown,
    /// The leader refused it.
    #[error("the leader refused the request")]
    Refused(Status),
}

/// A running node.
pub struct RaftNode {
    pub(crate) raft: Raft,
    pub(crate) shared: Arc<Shared>,
    heard: Arc<Heard>,
    pub(crate) node: NodeId,
    pub(crate) log: Arc<dyn Log>,
    tls: Arc<PeerTls>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) config: Config,
    /// Held while the membership changes: a learner becomes a voter by itself, and who joins or leaves at that moment waits.
    pub(crate) changing: tokio::sync::Mutex<()>,
    pub(crate) campaigns: Arc<Campaigns>,
    pub(crate) doubts: Arc<Doubts>,
    pub(crate) acknowledged: Arc<Acknowledged>,
    pub(crate) space: Arc<Space>,
    pub(crate) spent: Spent,
    /// The leadership that this node has handed over, if it had one: nothing more is proposed in it.
    pub(crate) handed_over: Mutex<Option<RaftLeader>>,
    stopping: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl RaftNode {
    /// Opens the stores and takes part in the cluster. A node that belongs to none yet waits to be added, or to [`Self::bootstrap`].
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start(
        data: &DataDir,
        identity: &Identity,
        config: Config,
        listener: TcpListener,
        handlers: Handlers,
        space: Arc<Space>,
    ) -> Result<Arc<Self>, StartError> {
        if let Some(found) = acknowledged::rolled_back(data, identity.cluster)? {
            return Err(found.into());
        }
        let tls = Arc::new(PeerTls::new(identity)?);
        let log: Arc<dyn Log> = Arc::new(Wal::open(&data.log())?);
        let peers = Arc::new(Peers::new(Arc::clone(&tls), identity.cluster, identity.node, &config));
        let machine = rebuild::open(data, &log, &peers).await?;
        let shared = Arc::clone(machine.shared());
        let settings = Arc::new(settings(&config)?);
        let store = LogStore::new(Arc::clone(&log));
        let acknowledged = Acknowledged::open(data, identity, store.clone(), Arc::clone(&shared))?;
        let acknowledged = Arc::new(acknowledged);
        let network = Network::new(
            Arc::clone(&peers),
            Arc::clone(&acknowledged),
            Arc::clone(&shared),
            Arc::clone(&space),
        );
        let raft = Raft::new(identity.node.0, settings, network, store, machine)
            .await
            .map_err(|error| StartError::Inconsistent(error.to_string()))?;
        let heard = Arc::<Heard>::default();
        let campaigns = Arc::new(Campaigns::new(&config));
        let doubts = Arc::<Doubts>::default();
        let service = Service {
            raft: raft.clone(),
            shared: Arc::clone(&shared),
            heard: Arc::clone(&heard),
            cluster: identity.cluster,
            node: identity.node,
            config,
            inbox: Arc::new(Inbox::new(data.snapshots())),
            handlers,
            campaigns: Arc::clone(&campaigns),
            doubts: Arc::clone(&doubts),
            acknowledged: Arc::clone(&acknowledged),
            space: Arc::clone(&space),
            lending: Arc::new(Semaphore::new(1)),
            lent: AtomicU64::new(0),
        };
        let node = Arc::new(Self {
            raft,
            shared,
            heard,
            node: identity.node,
            log,
            tls: Arc::clone(&tls),
            peers,
            config,
            changing: tokio::sync::Mutex::new(()),
            campaigns,
            doubts,
            acknowledged,
            space,
            spent: Spent::default(),
            handed_over: Mutex::default(),
            stopping: watch::Sender::new(false),
            tasks: Mutex::default(),
        });
        node.spawn(serve(listener, tls, service, &config, node.stopping.subscribe()));
        node.spawn(watch_state(Arc::clone(&node)));
        node.spawn(compaction::run(Arc::clone(&node)));
        node.spawn(campaign::run(Arc::clone(&node)));
        node.spawn(vacancy::run(Arc::clone(&node)));
        node.spawn(acknowledged::run(Arc::clone(&node)));
        Ok(node)
    }

    /// Makes this node the first and only member of a new cluster. Nothing happens if it is one already.
    ///
    /// # Errors
    /// [`StartError::Raft`]
    pub async fn bootstrap(&self, member: &Member) -> Result<(), StartError> {
        let initialised = self
            .raft
            .is_initialized()
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        if initialised {
            return Ok(());
        }
        let members = BTreeMap::from([(self.node.0, PeerNode::from_member(member))]);
        self.raft
            .initialize(members)
            .await
            .map_err(|error| StartError::Raft(error.to_string()))
    }

    /// Takes another certificate and authority into use, when a cluster is initialised anew. The key must be the same.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn replace_identity(&self, identity: &Identity) -> Result<(), TlsError> {
        self.tls.replace(identity)
    }

    /// Hands a request to the leader.
    ///
    /// # Errors
    /// [`ForwardError`]; what it says of the outcome can be relied on.
    pub async fn forward(
        &self,
        leader: NodeId,
        call: Bytes,
        deadline: tokio::time::Instant,
    ) -> Result<Bytes, ForwardError> {
        let peer = self.peer(leader).ok_or(ForwardError::NotSent)?;
        let mut client = self.peers.client(leader.0, &peer, Purpose::Forward);
        match tokio::time::timeout_at(deadline, client.forward(wire::ForwardRequest { call })).await {
            Ok(Ok(reply)) => Ok(reply.into_inner().answer),
            Ok(Err(status)) if is_not_sent(&status) => Err(ForwardError::NotSent),
            Ok(Err(status)) if matches!(status.code(), Code::PermissionDenied | Code::InvalidArgument) => {
                Err(ForwardError::Refused(status))
            }
            Ok(Err(_)) | Err(_) => Err(ForwardError::Unknown),
        }
    }

    /// Asks a peer for its state. `None` if it does not answer within a second.
    pub async fn peer_status(&self, node: NodeId) -> Option<PeerStatus> {
        let peer = self.peer(node)?;
        let purpose = self.peers.contact(node.0, &peer).next();
        let mut client = self.peers.client(node.0, &peer, purpose);
        let call = client.status(wire::PeerStatusRequest {});
        let reply = tokio::time::timeout(STATUS_TIMEOUT, call)
            .await
            .ok()?
            .ok()?
            .into_inner();
        self.acknowledged.learn(&reply.acknowledged, reply.applied);
        let room = room::from_wire(reply.room());
        self.spent.note(node.0, room);
        Some(PeerStatus {
            sealed: reply.sealed,
            wall: WallTime(reply.wall_ms),
            applied: LogIndex(reply.applied),
            digest: reply.digest.as_ref().try_into().unwrap_or_default(),
            room,
            erased: reply.erased.as_ref().map(erase::from_wire).unwrap_or_default(),
        })
    }

    /// Writes a snapshot of what is applied into this file. For a backup: consensus knows nothing of it.
    ///
    /// # Errors
    /// The disk's.
    pub async fn write_snapshot(&self, path: std::path::PathBuf) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let writing = tokio::task::spawn_blocking(move || shared.write_snapshot(|_| path).map(drop));
        writing.await.map_err(std::io::Error::other)?
    }

    /// Whether the disk has room for a snapshot of what is applied.
    pub async fn has_room_for_snapshot(&self) -> bool {
        let (shared, space) = (Arc::clone(&self.shared), Arc::clone(&self.space));
        let looking = tokio::task::spawn_blocking(move || shared.has_room_for_copy(&space));
        looking.await.unwrap_or(false)
    }

    /// Whether a quorum has answered this leader lately.
    fn reaches_quorum(&self) -> bool {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let mut voters = now.membership_config.membership().voter_ids();
        // Nobody answers a leader that is the only voter, and it needs nobody.
        let is_alone = voters.next() == Some(self.node.0) && voters.next().is_none();
        let acked = now.last_quorum_acked;
        is_alone || acked.is_some_and(|acked| acked.elapsed() < QUORUM_SILENCES * self.config.election_max)
    }

    /// Whether this leader can do something, as far as this node knows: it was heard lately, or is this node and was answered by a quorum.
    #[must_use]
    pub fn hears(&self, leader: NodeId) -> bool {
        match leader == self.node {
            true => self.reaches_quorum(),
            false => {
                let silence = QUORUM_SILENCES * self.config.election_max;
                self.heard.is_within(silence, leader, tokio::time::Instant::now())
            }
        }
    }

    /// Waits until a peer has told that this node's disk was rolled back. From then on it takes part in nothing, and must end.
    pub async fn rolled_back(&self) -> RolledBack {
        self.acknowledged.rolled_back().await
    }

    /// Whether this node calls elections, or leaves them to others for now.
    #[must_use]
    pub fn campaigns(&self) -> bool {
        self.campaigns.may()
    }

    /// How many synced writes the log has made.
    #[must_use]
    pub fn log_fsyncs(&self) -> u64 {
        self.log.fsyncs()
    }

    /// Where clients reach a member.
    #[must_use]
    pub fn client_address(&self, node: NodeId) -> Option<String> {
        self.peer(node).map(|peer| peer.client_addr)
    }

    /// Hands leadership over if this node has it, stops, and makes what is applied durable.
    pub async fn shutdown(&self) {
        if self.leads() {
            use aumbry_state::Consensus as _;
            let limit = self.config.patience(TRANSFER_TIMEOUT);
            let _ = tokio::time::timeout(limit, self.transfer(None)).await;
        }
        self.stopping.send_replace(true);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop cleanly");
        }
        for task in std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner)) {
            task.abort();
        }
        self.shared.flush();
        self.acknowledged.save();
    }

    pub(crate) fn peer(&self, node: NodeId) -> Option<PeerNode> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        metrics.membership_config.membership().get_node(&node.0).cloned()
    }

    /// Where the leader that this node knows is, if it is another node.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow_watched().current_leader.map(NodeId)
    }

    pub(crate) fn leads(&self) -> bool {
        self.raft.is_leader()
    }

    /// The read index of the leader, wherever it is.
    pub(crate) async fn leader_index(&self) -> Result<LogIndex, ProposeError> {
        let unavailable = ProposeError::NotApplied("no leader answers; see `aumbry status` of the other nodes");
        if self.leads() {
            return read_index(&self.raft, &self.config).await.map(LogIndex);
        }
        let leader = self.leader().ok_or(unavailable)?;
        let peer = self.peer(leader).ok_or(unavailable)?;
        let mut client = self.peers.client(leader.0, &peer, Purpose::Heartbeat);
        let call = client.read_index(wire::ReadIndexRequest {});
        match tokio::time::timeout(self.config.patience(READ_INDEX_TIMEOUT), call).await {
            Ok(Ok(reply)) => Ok(LogIndex(reply.into_inner().index)),
            Ok(Err(_)) | Err(_) => Err(unavailable),
        }
    }

    /// Tells watchers who leads, if that has changed.
    pub(crate) fn tell_leadership(&self) {
        let leader = self.leader();
        let leadership = self.leadership_now().map(|id: RaftLeader| to_leader(&id));
        self.shared.change.send_if_modified(|change| {
            let before = (change.leader, change.leadership);
            (change.leader, change.leadership) = (leader, leadership);
            if let Some(LeaderId { term, .. }) = leadership.filter(|_| before.1 != leadership) {
                tracing::info!(term = term.0, "this node leads");
            }
            before != (leader, leadership)
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(tokio::spawn(task));
    }
}

/// A linearizable read index of this node, which must lead.
pub(crate) async fn read_index(raft: &Raft, config: &Config) -> Result<u64, ProposeError> {
    let asking = raft.get_read_linearizer(ReadPolicy::ReadIndex);
    match tokio::time::timeout(config.patience(READ_INDEX_TIMEOUT), asking).await {
        Ok(Ok(linearizer)) => Ok(linearizer.read_log_id().index()),
        Ok(Err(_)) | Err(_) => Err(ProposeError::NotApplied("the leader cannot reach a quorum")),
    }
}

fn serve(
    listener: TcpListener,
    tls: Arc<PeerTls>,
    service: Service,
    config: &Config,
    mut stopping: watch::Receiver<bool>,
) -> impl Future<Output = ()> + use<> {
    let keep_alive = Some(config.patience(KEEP_ALIVE));
    let service = Arc::new(service);
    let methods = PeerServiceServer::from_arc(Arc::clone(&service))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    // tonic parses the message of a call before it calls the method.
    let service = InterceptedService::new(methods, move |call| service.admit_unread(call));
    let server = tonic::transport::Server::builder()
        .concurrency_limit_per_connection(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(keep_alive)
        .http2_keepalive_timeout(keep_alive)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .add_service(service);
    let stop = async move {
        // The sender lives as long as the node.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    async move {
        let serving = server.serve_with_incoming_shutdown(tls::accept(listener, tls), stop);
        if let Err(error) = serving.await {
            tracing::error!(%error, "the peer listener stopped");
        }
    }
}

/// Tells watchers of changes of leadership, and ends the process when consensus has failed.
async fn watch_state(node: Arc<RaftNode>) {
    let mut metrics = node.raft.metrics();
    loop {
        let state = metrics.borrow_watched().running_state.clone();
        if let Err(error) = state {
            if *node.stopping.borrow() {
                return;
            }
            aumbry_storage::fatal("consensus", error);
        }
        node.tell_leadership();
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

fn settings(config: &Config) -> Result<openraft::Config, StartError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let settings = openraft::Config {
        cluster_name: "aumbry".to_owned(),
        heartbeat_interval: ms(config.heartbeat),
        election_timeout_min: ms(config.election_min),
        election_timeout_max: ms(config.election_max),
        install_snapshot_timeout: 600_000,
        max_payload_entries: 1_024,
        max_append_entries: Some(4_096),
        snapshot_policy: SnapshotPolicy::Never,
        // Purging is ours to trigger, by bytes.
        max_in_snapshot_log_to_keep: u64::MAX / 2,
        api_batch_linger_ms: 0,
        broadcast_submitted_on_append: Some(true),
        enable_pre_vote: Some(true),
        // A restarted leader must be elected anew: its old leadership proves nothing.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        quorum_loss_probe_interval: Some((2 * ms(config.election_max)).max(2_000)),
        backoff: "20ms 40ms 80ms 160ms 320ms 500ms".to_owned(),
        ..openraft::Config::default()
    };
    settings
        .validate()
        .map_err(|error| StartError::Config(error.to_string()))
}

/// Whether the transport failed before the call left this node.
fn is_not_sent(status: &Status) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.downcast_ref::<tonic::ConnectError>().is_some() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A follower that hears nothing for one election calls the next.
const QUORUM_SILENCES: u32 = 2;
/// Elections can be put off for other reasons than distance; no peer is that far away.
const PATIENCE_MAX: u32 = 3;
const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(2);
/// The next question comes a second later; between distant places the answer takes a tenth of it.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Calls of one peer on one of its four connections: forwarded requests are the many.
const STREAMS_PER_CONNECTION: usize = 4_096;
const WINDOW_BYTES: u32 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_the_distance_and_not_without_end() {
        let patience = |election_max_ms| {
            let config = Config {
                heartbeat: Duration::from_millis(100),
                election_min: Duration::from_millis(300),
                election_max: Duration::from_millis(election_max_ms),
                snapshot_log_bytes: 0,
            };
            config.patience(KEEP_ALIVE).as_millis()
        };
        assert_eq!([600, 2_000, 60_000].map(patience), [2_000, 4_000, 6_000]);
    }
}
