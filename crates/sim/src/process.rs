//! One process of a node: a runtime of its own, with everything that `aumbry server` runs but its listeners for clients.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aumbry_api::peer::v1::PeerStatusReply;
use aumbry_node::{InitOptions, Joined, Node, Outside, PeerState, initialise, run_duties};
use aumbry_raft::{Config, Handlers, Identity, RaftNode, StartError, room_to_wire};
use aumbry_sim_tokio::net::{TcpListener, address_of};
use aumbry_sim_world::host::Death;
use aumbry_sim_world::{HostId, host, seed, trace};
use aumbry_state::{Consensus as _, Member as RaftMember};
use aumbry_storage::{DataDir, Space};
use aumbry_types::{Clock, ClusterId, Entropy, NodeId, SecretBytes, SimulatedEntropy, WallTime};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::run::Mutation;
use crate::{gateway, mutation};

/// What a node is started as.
pub(crate) enum Start {
    /// Whatever its directory says.
    Resume,
    /// The first node of a new cluster.
    First,
    /// A node that was admitted, with its key.
    Joined(Joined, Vec<u8>),
}

/// What operators are given once.
pub(crate) struct Secrets {
    /// Sets of shares. The last one counts, or, while nobody can know it, the one before.
    pub(crate) sets: Vec<Vec<Vec<u8>>>,
    pub(crate) root: Vec<u8>,
}

/// A node that takes part.
pub(crate) struct Member {
    pub(crate) host: HostId,
    pub(crate) node: Arc<Node>,
    pub(crate) raft: Arc<RaftNode>,
}

/// What is the same for all nodes of a run.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    /// After how many bytes of log nodes take snapshots.
    pub(crate) snapshot_log_bytes: u64,
    pub(crate) mutation: Option<Mutation>,
}

/// Says how nodes are that start from now on.
pub(crate) fn set_up(setting: Setting) {
    SETTING.set(setting);
}

/// The way into a process from outside.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) handle: Handle,
    member: Arc<Mutex<Option<Arc<Member>>>>,
}

impl Door {
    pub(crate) fn member(&self) -> Option<Arc<Member>> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

thread_local! {
    static DOORS: RefCell<BTreeMap<HostId, Door>> = const { RefCell::new(BTreeMap::new()) };
    static SECRETS: RefCell<Option<Secrets>> = const { RefCell::new(None) };
    static SETTING: Cell<Setting> = const { Cell::new(Setting { snapshot_log_bytes: 0, mutation: None }) };
}

/// The way into the process of a host, if one runs.
pub(crate) fn door(host: HostId) -> Option<Door> {
    DOORS.with_borrow(|doors| doors.get(&host).cloned())
}

/// What the operator was given, once the cluster was initialised.
pub(crate) fn secrets<R>(look: impl FnOnce(&Secrets) -> R) -> Option<R> {
    SECRETS.with_borrow(|secrets| secrets.as_ref().map(look))
}

/// Changes what operators know.
pub(crate) fn change_secrets(change: impl FnOnce(&mut Secrets)) {
    SECRETS.with_borrow_mut(|secrets| secrets.as_mut().map(change));
}

/// Forgets what an earlier run left.
pub(crate) fn reset() {
    DOORS.with_borrow_mut(BTreeMap::clear);
    SECRETS.with_borrow_mut(|secrets| *secrets = None);
}

/// A machine's clocks.
pub(crate) struct MachineClock {
    pub(crate) offset_ms: AtomicI64,
}

impl Clock for MachineClock {
    fn wall(&self) -> WallTime {
        let now = WALL_START_MS + aumbry_sim_world::now_ms();
        WallTime(now.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed)))
    }

    fn boottime_ms(&self) -> u64 {
        BOOT_START_MS + aumbry_sim_world::now_ms()
    }
}

/// A running process.
pub(crate) struct Process {
    host: HostId,
    runtime: Option<Runtime>,
    began: Instant,
    /// How long it has run, by its own time, in microseconds.
    ran_us: u64,
}

impl Process {
    pub(crate) fn start(host: HostId, directory: &Path, clock: Arc<MachineClock>, start: Start) -> Self {
        host::begin(host);
        trace::tell("starts");
        aumbry_sim_world::enter(host);
        let runtime = runtime();
        let (door, began) = {
            let _entered = runtime.enter();
            let door = Door {
                handle: runtime.handle().clone(),
                member: Arc::default(),
            };
            (door, Instant::now())
        };
        DOORS.with_borrow_mut(|doors| doors.insert(host, door.clone()));
        let directory = directory.to_owned();
        runtime.spawn(async move {
            if let Err(reason) = run(host, directory, clock, start, &door).await {
                trace::tell(&format!("does not start: {reason}"));
                host::end(host, Death::Fatal(format!("{NO_START}{reason}")));
            }
        });
        Self {
            host,
            runtime: Some(runtime),
            began,
            ran_us: 0,
        }
    }

    /// Lets it run for so long, by its own time.
    pub(crate) fn run_for(&mut self, us: u64) {
        let Some(runtime) = &self.runtime else { return };
        aumbry_sim_world::enter(self.host);
        self.ran_us += us;
        let until = self.began + Duration::from_millis(self.ran_us / 1_000);
        runtime.block_on(async move { tokio::time::sleep_until(until).await });
        aumbry_sim_world::enter(0);
    }

    /// Lets time pass that it did not see: everything that waited wakes at once.
    pub(crate) fn wake_after(&mut self, us: u64) {
        let Some(runtime) = &self.runtime else { return };
        aumbry_sim_world::enter(self.host);
        self.ran_us += us;
        let target = self.began + Duration::from_millis(self.ran_us / 1_000);
        runtime.block_on(async {
            let missing = target.saturating_duration_since(Instant::now());
            tokio::time::advance(missing).await;
        });
        aumbry_sim_world::enter(0);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        DOORS.with_borrow_mut(|doors| doors.remove(&self.host));
        aumbry_sim_world::enter(self.host);
        // What its tasks hold goes now, and has no effect any more if the process died.
        drop(self.runtime.take());
        aumbry_sim_world::enter(0);
    }
}

/// A runtime with time of its own, whose chance follows from the seed.
pub(crate) fn runtime() -> Runtime {
    let seed = tokio::runtime::RngSeed::from_bytes(&seed().to_le_bytes());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let builder = builder.enable_time().start_paused(true).rng_seed(seed);
    builder.build().expect("a runtime without threads or files can be made")
}

/// Lets a panic in a node's own code end its process, and says so nowhere else; one in the harness is told as ever.
pub(crate) fn catch_panics(are_shown: bool) {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().is::<host::Ended>() {
            return;
        }
        let host = aumbry_sim_world::current();
        let is_node = DOORS.with(|doors| doors.try_borrow().is_ok_and(|doors| doors.contains_key(&host)));
        if is_node {
            host::end(host, Death::Panicked(info.to_string()));
        }
        if !is_node || are_shown {
            tell(info);
        }
    }));
}

async fn run(
    host: HostId,
    directory: PathBuf,
    clock: Arc<MachineClock>,
    start: Start,
    door: &Door,
) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| aumbry_storage::with_causes(error);
    let data = DataDir::open(&directory).map_err(|error| text(&error))?;
    let entropy: Arc<dyn Entropy> = Arc::new(SimulatedEntropy::new(seed()));
    let known = Identity::load(&data).map_err(|error| text(&error))?;
    aumbry_raft::refuse_loss(&data, known.is_some()).map_err(|error| text(&error))?;
    let is_first = matches!(start, Start::First);
    let identity = match (known, start) {
        (Some(identity), _) => identity,
        (None, Start::Resume) => return Err("it belongs to no cluster".to_owned()),
        (None, start) => {
            let identity = identity_for(host, start, &*entropy)?;
            aumbry_raft::prepare(&data).map_err(|error| text(&error))?;
            identity.store(&data).map_err(|error| text(&error))?;
            identity
        }
    };
    let member = join_in(host, data, &identity, Arc::clone(&clock), Arc::clone(&entropy), door).await;
    let member = member.map_err(|error| text(&error))?;
    if is_first {
        initialise_first(&member, &identity, &*clock, &*entropy).await?;
    }
    Ok(())
}

fn identity_for(host: HostId, start: Start, entropy: &dyn Entropy) -> Result<Identity, String> {
    Ok(match start {
        Start::Joined(joined, key) => Identity {
            cluster: joined.cluster_id.parse().map_err(|_| "the cluster's id is none")?,
            node: NodeId(joined.node_id),
            key: SecretBytes::new(key),
            certificate: joined.certificate,
            authority: joined.authority,
        },
        Start::First | Start::Resume => Identity {
            cluster: ClusterId::make(entropy),
            node: NodeId(1),
            key: SecretBytes::new(key_of(host)),
            certificate: "certificate".to_owned(),
            authority: "authority".to_owned(),
        },
    })
}

/// The key of a node, which is its own public key here.
pub(crate) fn key_of(host: HostId) -> Vec<u8> {
    format!("key {host} {:016x}", seed()).into_bytes()
}

async fn join_in(
    host: HostId,
    data: DataDir,
    identity: &Identity,
    clock: Arc<MachineClock>,
    entropy: Arc<dyn Entropy>,
    door: &Door,
) -> Result<Arc<Member>, StartError> {
    let space = Arc::new(Space::new(&data, 0));
    let handlers = handlers(door, Arc::clone(&clock), Arc::clone(&space));
    let listener = TcpListener::of(host);
    let setting = SETTING.get();
    let config = Config {
        snapshot_log_bytes: setting.snapshot_log_bytes,
        ..CONFIG
    };
    let raft = RaftNode::start(&data, identity, config, listener, handlers, Arc::clone(&space)).await?;
    let asking = Arc::clone(&raft);
    let outside = Outside {
        sign_node: Box::new(|_, _, _, node, _| Ok(format!("certificate of {node}"))),
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
        ask_web: aumbry_node::no_web(),
        ask_directory: aumbry_node::no_directory(),
        audit_hashes: Box::<aumbry_node::MemoryHashes>::default(),
        cluster: identity.cluster,
        region: String::new(),
    };
    let consensus = mutation::consensus(&raft, setting.mutation);
    let node = Node::new(consensus, clock, entropy, outside);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(run_duties(Arc::clone(&node), stopped));
    let watched = Arc::clone(&raft);
    tokio::spawn(async move {
        let found = watched.rolled_back().await;
        // The server ends then, and holds on to nothing.
        drop(stop);
        drop(data);
        host::end(host, Death::Fatal(found.to_string()));
    });
    let member = Arc::new(Member { host, node, raft });
    *door.member.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&member));
    Ok(member)
}

fn handlers(door: &Door, clock: Arc<MachineClock>, space: Arc<Space>) -> Handlers {
    let (forwarding, telling) = (Arc::downgrade(&door.member), Arc::downgrade(&door.member));
    let find = |door: &std::sync::Weak<Mutex<Option<Arc<Member>>>>| {
        let member = door.upgrade()?;
        let member = member.lock().unwrap_or_else(PoisonError::into_inner);
        member.clone()
    };
    Handlers {
        forward: Arc::new(move |_, call| {
            let member = find(&forwarding);
            Box::pin(async move {
                let member = member.ok_or_else(|| tonic::Status::unavailable("the node is starting"))?;
                Ok(gateway::serve_forwarded(&member, &call).await)
            })
        }),
        status: Arc::new(move || {
            let member = find(&telling);
            let status = member.as_ref().map(|member| member.raft.status()).unwrap_or_default();
            PeerStatusReply {
                sealed: member.is_none_or(|member| !member.node.is_unsealed()),
                wall_ms: clock.wall().0,
                applied: status.applied.0,
                digest: bytes::Bytes::copy_from_slice(&status.digest),
                version: "simulated".to_owned(),
                acknowledged: Vec::new(),
                room: room_to_wire(space.room()).into(),
                erased: None,
            }
        }),
    }
}

async fn initialise_first(
    member: &Member,
    identity: &Identity,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<(), String> {
    let own = RaftMember {
        id: identity.node,
        name: format!("n{}", member.host),
        peer_addr: address_of(member.host),
        client_addr: address_of(member.host),
        spki_pin: aumbry_crypto::sha256(&[identity.key.expose()]),
        voter: true,
        ..RaftMember::default()
    };
    member.raft.bootstrap(&own).await.map_err(|error| error.to_string())?;
    let mut changed = member.raft.changed();
    let leads = changed.wait_for(|change| change.leadership.is_some()).await;
    leads.map_err(|error| error.to_string())?;
    let options = InitOptions {
        shares: SHARES,
        threshold: THRESHOLD,
        root_token: None,
        recipients: None,
        root_token_recipient: None,
        cluster_id: identity.cluster,
        authority: identity.authority.clone(),
        authority_key: SecretBytes::new(b"authority key".to_vec()),
    };
    let made = initialise(&*member.raft, clock, entropy, options).await;
    let made = made.map_err(|error| error.to_string())?;
    let secrets = Secrets {
        sets: vec![made.shares.iter().map(|share| share.expose().to_vec()).collect()],
        root: made.root_token.expose().to_vec(),
    };
    SECRETS.with_borrow_mut(|known| *known = Some(secrets));
    Ok(())
}

/// What a node that did not start says first.
pub(crate) const NO_START: &str = "the node does not start: ";
/// Short times, so that much happens in a run; in the proportion of the default ones.
const CONFIG: Config = Config {
    heartbeat: Duration::from_millis(50),
    election_min: Duration::from_millis(150),
    election_max: Duration::from_millis(300),
    // Each run says what it is.
    snapshot_log_bytes: 0,
};
pub(crate) const SHARES: u8 = 3;
pub(crate) const THRESHOLD: u8 = 2;
/// Some day in 2025.
const WALL_START_MS: u64 = 1_750_000_000_000;
const BOOT_START_MS: u64 = 1_000_000;
