//! The world of a simulation: its time, its chance, its network, its disks, and who is alive in it.
//!
//! What it guarantees: everything that happens follows from the seed. Nothing in it reads a clock, a file or a generator of the machine, and whatever
//! stands in a map is taken in the order of its keys. What has happened is summed up in a hash ([`trace`]), so that two runs can be compared.
//!
//! There is one world a thread. Its parts are functions and not objects that are passed around, because the code that is simulated does not know that it
//! is: what it takes for a connection or for a disk finds the world by itself, and by [`current`] whose it is.

pub mod disk;
pub mod host;
pub mod machine;
pub mod net;
pub mod rng;
pub mod strikes;
pub mod trace;

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::disk::Disk;
use crate::host::Host;
use crate::net::Net;
use crate::rng::Rng;

/// A host's number: a node's id for nodes, [`CLIENTS`] and more for clients.
pub type HostId = u64;

/// The first number of a client.
pub const CLIENTS: HostId = 1_000;

pub(crate) struct World {
    now_ms: u64,
    current: HostId,
    rng: Rng,
    trace: trace::Trace,
    hosts: BTreeMap<HostId, Host>,
    disks: BTreeMap<HostId, Disk>,
    net: Net,
    strikes: strikes::Strikes,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            now_ms: 0,
            current: 0,
            rng: Rng::new(seed),
            trace: trace::Trace::default(),
            hosts: BTreeMap::new(),
            disks: BTreeMap::new(),
            net: Net::default(),
            strikes: strikes::Strikes::default(),
        }
    }
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new(0));
}

pub(crate) fn with<R>(look: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(look)
}

/// Begins a new world.
pub fn begin(seed: u64) {
    machine::set_now(0);
    machine::set_chance(seed);
    let old = WORLD.replace(World::new(seed));
    // What it holds may look for the world when it goes.
    drop(old);
}

/// The time since the world began, in milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    with(|world| world.now_ms)
}

/// Moves time on by a millisecond: what has arrived can be read, and what the disks have finished is told.
pub fn tick() {
    let now = with(|world| {
        world.now_ms += 1;
        world.now_ms
    });
    machine::set_now(now);
    net::deliver();
    disk::complete();
}

/// Whose code runs.
#[must_use]
pub fn current() -> HostId {
    with(|world| world.current)
}

/// Says whose code runs from now on.
pub fn enter(host: HostId) {
    with(|world| world.current = host);
}

/// A number below `end`, by the world's own chance.
#[must_use]
pub fn below(end: u64) -> u64 {
    with(|world| world.rng.below(end))
}

/// A seed for something that makes numbers of its own.
#[must_use]
pub fn seed() -> u64 {
    with(|world| world.rng.next())
}
