//! What stands between nodes that are in network namespaces: a proxy before each, which knows by the address of who connects whose words it carries.
//! So each direction of each pair can be made slow or be stalled: bytes stay where they are, and both ends believe that they are connected.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::damage::Dice;
use crate::lab::{BRIDGE_ADDRESS, address};

/// All directions between so many nodes. Dropping them closes their ports; connections go on until they end.
pub(crate) struct Links {
    shared: Arc<Shared>,
    nodes: u8,
    tasks: Vec<JoinHandle<()>>,
}

/// How many pieces of what was said were held up, and how many connections were broken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Struck {
    pub(crate) stalled: u64,
    pub(crate) delayed: u64,
    pub(crate) broken: u64,
}

struct Shared {
    /// What is done in the direction from one node to another.
    state: watch::Sender<State>,
    /// How many pieces were held up because their direction was stalled.
    stalled: AtomicU64,
    /// How many pieces were delayed.
    delayed: AtomicU64,
    /// How many directions of connections were broken.
    broken: AtomicU64,
}

#[derive(Clone, Default)]
struct State {
    /// Directions in which nothing goes on.
    stalled: Vec<(u8, u8)>,
    /// Directions that take time: at least so long, and up to so much longer.
    slow: Vec<(u8, u8, Duration, Duration)>,
    /// Goes up when the connections of now are to break.
    breaks: u64,
}

impl Links {
    /// Takes connections for each node. To be called once the bridge is there.
    pub(crate) async fn start(nodes: u8) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: watch::Sender::default(),
            stalled: AtomicU64::default(),
            delayed: AtomicU64::default(),
            broken: AtomicU64::default(),
        });
        let mut tasks = Vec::new();
        for to in 1..=nodes {
            let listener = TcpListener::bind(link_address(to)).await;
            let listener = listener.with_context(|| link_address(to))?;
            let shared = Arc::clone(&shared);
            tasks.push(tokio::spawn(async move {
                while let Ok((near, who)) = listener.accept().await {
                    if let Some(from) = node_of(who.ip()) {
                        tokio::spawn(connect(near, from, to, Arc::clone(&shared)));
                    }
                }
            }));
        }
        Ok(Self { shared, nodes, tasks })
    }

    /// Where other nodes reach a node.
    pub(crate) fn address(&self, node: u8) -> String {
        link_address(node)
    }

    /// From now on nothing goes on in this direction; what was said is kept.
    pub(crate) fn stall(&self, from: u8, to: u8) {
        self.shared.state.send_modify(|state| state.stalled.push((from, to)));
    }

    /// From now on this direction takes at least so long, and up to so much longer.
    pub(crate) fn slow(&self, from: u8, to: u8, least: Duration, jitter: Duration) {
        self.shared
            .state
            .send_modify(|state| state.slow.push((from, to, least, jitter)));
    }

    /// Breaks all connections of now.
    pub(crate) fn break_connections(&self) {
        self.shared.state.send_modify(|state| state.breaks += 1);
    }

    /// Everything goes on as at first, and what was stalled arrives.
    pub(crate) fn heal(&self) {
        self.shared.state.send_modify(|state| {
            state.stalled.clear();
            state.slow.clear();
        });
    }

    /// What was done so far.
    pub(crate) fn struck(&self) -> Struck {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Struck {
            stalled: count(&self.shared.stalled),
            delayed: count(&self.shared.delayed),
            broken: count(&self.shared.broken),
        }
    }

    /// How many nodes there are.
    pub(crate) const fn nodes(&self) -> u8 {
        self.nodes
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn connect(near: TcpStream, from: u8, to: u8, shared: Arc<Shared>) {
    // A target that is down ends the connection.
    let Ok(far) = TcpStream::connect((address(to), PEER_PORT)).await else {
        return;
    };
    // Waiting for more bytes would change what is tested.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::spawn(pass(near_read, far_write, (from, to), Arc::clone(&shared)));
    tokio::spawn(pass(far_read, near_write, (to, from), shared));
}

/// Carries what is said in one direction of one connection. One piece after the other, so that the order stays: a delay bounds what goes through,
/// as a slow line does.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, direction: (u8, u8), shared: Arc<Shared>) {
    let mut dice = Dice::seeded(u64::from(direction.0) << 8 | u64::from(direction.1));
    let mut buffer = vec![0; PIECE_BYTES];
    let mut states = shared.state.subscribe();
    let breaks = states.borrow().breaks;
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            broken = states.wait_for(|state| state.breaks > breaks) => {
                drop(broken);
                shared.broken.fetch_add(1, Ordering::SeqCst);
                return;
            }
        };
        let Ok(read @ 1..) = read else { return };
        let slow = states
            .borrow()
            .slow
            .iter()
            .find(|slow| (slow.0, slow.1) == direction)
            .copied();
        if let Some((_, _, least, jitter)) = slow {
            shared.delayed.fetch_add(1, Ordering::SeqCst);
            let more = dice.below(u64::try_from(jitter.as_millis()).unwrap_or(0) + 1);
            tokio::time::sleep(least + Duration::from_millis(more)).await;
        }
        let is_stalled = |state: &State| state.stalled.contains(&direction);
        if is_stalled(&states.borrow()) {
            shared.stalled.fetch_add(1, Ordering::SeqCst);
            let gone_on = states
                .wait_for(|state| !is_stalled(state) || state.breaks > breaks)
                .await;
            if gone_on.is_err() {
                return;
            }
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// On the bridge, at a port of its own.
fn link_address(node: u8) -> String {
    format!("{BRIDGE_ADDRESS}:{}", LINK_PORT + u16::from(node))
}

/// Which node has this address.
fn node_of(ip: IpAddr) -> Option<u8> {
    (1..=u8::MAX).find(|node| address(*node) == ip.to_string())
}

const PEER_PORT: u16 = 8_201;
const LINK_PORT: u16 = 9_200;
const PIECE_BYTES: usize = 64 << 10;
