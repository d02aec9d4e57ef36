//! A node on the in-memory consensus, and short words for its operations.

pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
pub(crate) use std::sync::{Arc, Mutex};
pub(crate) use std::time::Duration;

pub(crate) use aumbry_auth::token::Create;
pub(crate) use aumbry_engines::kv;
pub(crate) use aumbry_node::{
    Answer, AuditRow, Class, Evidence, Failure, HashStore, InitError, InitOptions, Initialised, MemoryHashes, Node,
    Operation, OutcomeClass, Outside, Reply, Request, TokenName, initialise, run_duties,
};
pub(crate) use aumbry_state::{
    Change, Committed, Consensus, Local, Member, MembershipError, ProposeError, Room, Status, View,
};
pub(crate) use aumbry_types::{
    ClusterId, LeaderId, LogIndex, Name, NamespacePath, NodeId, RequestId, SecretBytes, SecretPath, SimulatedClock,
    SimulatedEntropy, WallTime,
};
pub(crate) use bytes::Bytes;
pub(crate) use futures::future::BoxFuture;
pub(crate) use tokio::sync::watch;
pub(crate) use tokio::time::Instant;

/// Consensus that can hold proposals back, as a slow quorum does.
pub(crate) struct Gate {
    pub(crate) local: Local,
    pub(crate) open: watch::Sender<bool>,
    pub(crate) held: watch::Sender<usize>,
    /// How many audit bodies were asked for and given.
    pub(crate) bodies_given: AtomicUsize,
}

impl Gate {
    /// Waits until a proposal is held back.
    pub(crate) async fn holds_one(&self) {
        self.held
            .subscribe()
            .wait_for(|held| *held > 0)
            .await
            .expect("the gate stands");
    }
}

impl Consensus for Gate {
    fn leadership(&self) -> Option<LeaderId> {
        self.local.leadership()
    }

    fn propose(&self, leader: LeaderId, entry: Bytes) -> BoxFuture<'_, Result<Committed, ProposeError>> {
        let mut open = self.open.subscribe();
        Box::pin(async move {
            self.held.send_modify(|held| *held += 1);
            open.wait_for(|open| *open).await.expect("the gate stands");
            self.held.send_modify(|held| *held -= 1);
            self.local.propose(leader, entry).await
        })
    }

    fn view(&self) -> Arc<dyn View> {
        self.local.view()
    }

    fn status(&self) -> Status {
        self.local.status()
    }

    fn barrier(&self) -> BoxFuture<'_, Result<LogIndex, ProposeError>> {
        self.local.barrier()
    }

    fn wait_applied(&self, index: LogIndex) -> BoxFuture<'_, ()> {
        self.local.wait_applied(index)
    }

    fn changed(&self) -> watch::Receiver<Change> {
        self.local.changed()
    }

    fn audit_bodies(&self, from_seq: u64, limit: usize) -> Vec<Vec<u8>> {
        let bodies = self.local.audit_bodies(from_seq, limit);
        self.bodies_given.fetch_add(bodies.len(), Ordering::Relaxed);
        bodies
    }

    fn prune_audit(&self, before: u64) -> bool {
        self.local.prune_audit(before)
    }

    fn add_learner(&self, member: Member) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.local.add_learner(member)
    }

    fn promote(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.local.promote(node)
    }

    fn remove(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.local.remove(node)
    }

    fn transfer(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.local.transfer(to)
    }
}

pub(crate) struct Bed {
    pub(crate) node: Arc<Node>,
    pub(crate) consensus: Arc<Gate>,
    pub(crate) clock: Arc<SimulatedClock>,
    pub(crate) entropy: Arc<SimulatedEntropy>,
    pub(crate) root: SecretBytes,
    pub(crate) stop: watch::Sender<bool>,
    /// What the node is told of its disk.
    pub(crate) room: Arc<Mutex<Room>>,
    /// What audit proofs are made from.
    pub(crate) hashes: Arc<MemoryHashes>,
}

/// Hashes that a test looks into, and spoils.
pub(crate) struct Shared(pub(crate) Arc<MemoryHashes>);

impl HashStore for Shared {
    fn count(&self, tier: u32) -> u64 {
        self.0.count(tier)
    }

    fn read(&self, tier: u32, first: u64, count: u64) -> std::io::Result<Vec<[u8; 32]>> {
        self.0.read(tier, first, count)
    }

    fn append(&self, tier: u32, hash: &[u8; 32]) -> std::io::Result<()> {
        self.0.append(tier, hash)
    }

    fn clear(&self) -> std::io::Result<()> {
        self.0.clear()
    }
}

impl Bed {
    /// An unsealed leader that does its duties.
    pub(crate) async fn open() -> Self {
        let mut bed = Self::sealed();
        let first = bed.initialise().await.expect("initialises");
        let second = bed.initialise().await.expect("can be repeated");
        let old = bed.node.unseal(first.shares[0].expose());
        assert!(old.is_err(), "shares of a repeated initialisation count for nothing");
        bed.unseal(&second);
        bed.run_duties();
        bed
    }

    pub(crate) fn sealed() -> Self {
        Self::sealed_in(ClusterId::from_bytes([7; 16]))
    }

    /// A node of this cluster; [`Self::initialise`] makes the store of another one if it is not `[7; 16]`.
    pub(crate) fn sealed_in(cluster: ClusterId) -> Self {
        let open = watch::Sender::new(true);
        let consensus = Arc::new(Gate {
            local: Local::new(),
            open,
            held: watch::Sender::new(0),
            bodies_given: AtomicUsize::new(0),
        });
        let clock = Arc::new(SimulatedClock::new(WallTime(1_700_000_000_000)));
        let entropy = Arc::new(SimulatedEntropy::new(42));
        let room = Arc::new(Mutex::new(Room::Ample));
        let told = Arc::clone(&room);
        let hashes = Arc::new(MemoryHashes::default());
        let outside = Outside {
            sign_node: Box::new(|_, _, _, _, _| Ok("certificate".to_owned())),
            ask_peer: Box::new(|_| Box::pin(async { None })),
            room: Box::new(move || *told.lock().expect("no test panics with it")),
            ask_web: aumbry_node::no_web(),
            ask_directory: aumbry_node::no_directory(),
            audit_hashes: Box::new(Shared(Arc::clone(&hashes))),
            cluster,
            region: "r1".to_owned(),
        };
        let seam: Arc<dyn Consensus> = Arc::<Gate>::clone(&consensus);
        let node = Node::new(
            seam,
            Arc::<SimulatedClock>::clone(&clock),
            Arc::<SimulatedEntropy>::clone(&entropy),
            outside,
        );
        Self {
            node,
            consensus,
            clock,
            entropy,
            root: SecretBytes::default(),
            stop: watch::Sender::new(false),
            room,
            hashes,
        }
    }

    pub(crate) async fn initialise(&self) -> Result<Initialised, InitError> {
        let options = InitOptions {
            shares: 5,
            threshold: 3,
            root_token: None,
            recipients: None,
            root_token_recipient: None,
            cluster_id: ClusterId::from_bytes([7; 16]),
            authority: "authority".to_owned(),
            authority_key: SecretBytes::from("key".to_owned()),
        };
        initialise(&*self.consensus, &*self.clock, &*self.entropy, options).await
    }

    pub(crate) fn unseal(&mut self, initialised: &Initialised) {
        for share in &initialised.shares[1..4] {
            self.node.unseal(share.expose()).expect("is a good share");
        }
        assert!(!self.node.seal_status().sealed);
        self.root = initialised.root_token.duplicate();
    }

    pub(crate) fn run_duties(&self) {
        tokio::spawn(run_duties(Arc::clone(&self.node), self.stop.subscribe()));
    }

    pub(crate) async fn call_as(&self, token: &SecretBytes, operation: Operation) -> Result<Answer, Failure> {
        self.call_with(token, operation, "").await
    }

    pub(crate) async fn call_with(
        &self,
        token: &SecretBytes,
        operation: Operation,
        key: &str,
    ) -> Result<Answer, Failure> {
        self.node.serve(&self.request(token, operation, key)).await
    }

    pub(crate) fn request(&self, token: &SecretBytes, operation: Operation, key: &str) -> Request {
        Request {
            id: RequestId::make(&*self.entropy),
            namespace: NamespacePath::root(),
            operation,
            evidence: Evidence {
                token: token.duplicate(),
                client_address: "127.0.0.1:1".to_owned(),
                tls_identity: String::new(),
                certificates: Vec::new(),
                received_by: NodeId(1),
            },
            idempotency_key: key.to_owned(),
            consistency: aumbry_node::Consistency::Linearizable,
            min_index: 0,
            deadline: Instant::now() + Duration::from_secs(10),
            sent: None,
        }
    }

    pub(crate) async fn call(&self, operation: Operation) -> Result<Reply, Failure> {
        self.call_as(&self.root, operation).await.map(|answer| answer.reply)
    }

    pub(crate) async fn token(&self, create: Create) -> SecretBytes {
        match self.call(Operation::TokenCreate(create)).await {
            Ok(Reply::NewToken(new)) => new.token,
            Ok(_) => panic!("another reply"),
            Err(failure) => panic!("{failure}"),
        }
    }
}

pub(crate) fn path(text: &str) -> SecretPath {
    SecretPath::parse(text).expect("is a path")
}

pub(crate) fn put(at: &str, data: &str, cas: Option<u64>) -> Operation {
    Operation::Kv(kv::Request::Put {
        path: path(at),
        data: SecretBytes::from(data.to_owned()),
        cas,
    })
}

pub(crate) fn get(at: &str) -> Operation {
    Operation::Kv(kv::Request::Get {
        path: path(at),
        version: None,
    })
}

pub(crate) fn list(at: &str, after: &str, limit: usize) -> Operation {
    Operation::Kv(kv::Request::List {
        path: Some(path(at)),
        after: after.to_owned(),
        limit,
    })
}

pub(crate) fn version(reply: Result<Reply, Failure>) -> u64 {
    match reply {
        Ok(Reply::Kv(kv::Reply::Written { info, .. })) => info.version,
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    }
}

pub(crate) fn data(reply: Result<Reply, Failure>) -> String {
    match reply {
        Ok(Reply::Kv(kv::Reply::Item(item))) => item
            .data
            .and_then(|d| d.expose_str().map(str::to_owned))
            .unwrap_or_default(),
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    }
}

pub(crate) fn names(reply: Result<Reply, Failure>) -> Vec<String> {
    match reply {
        Ok(Reply::Kv(kv::Reply::Names { names, .. })) => names,
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    }
}

pub(crate) fn reason<T>(result: Result<T, Failure>) -> &'static str {
    result.map(|_| "OK").unwrap_or_else(|failure| failure.reason)
}
