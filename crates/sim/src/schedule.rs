//! Schedules that are known to show a fault which chance meets seldom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aumbry_checker::Operation;
use aumbry_sim_world::host::{self, Death};
use aumbry_sim_world::rng::Rng;
use aumbry_sim_tokio::net::address_of;
use aumbry_sim_world::{HostId, disk, net, seed, trace};
use aumbry_state::{Consensus as _, Member};
use aumbry_types::NodeId;
use tokio::time::sleep;

use crate::ask::Ask;
use crate::client::{self, Work};
use crate::cluster::CLIENT_HOSTS;
use crate::process::door;
use crate::{observe, operator};

/// A schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// A leader is cut off; the next one acknowledges a write; a read is asked of the first one, which does not know yet that it leads no more. It is
    /// let back, the second one dies, and the first one leads again: what it answers to the read must be what was written.
    LeadsAgain,
    /// Of five nodes one follower has one entry more than the leader, whose disk is slow, and then another one has: two nodes are no quorum.
    Overtakes,
}

impl Schedule {
    /// Lets it happen.
    pub(crate) async fn run(self, work: Arc<Work>, done: Arc<AtomicBool>) {
        match self {
            Self::LeadsAgain => leads_again(&work).await,
            Self::Overtakes => overtakes(&work).await,
        }
        done.store(true, Ordering::Relaxed);
    }
}

async fn leads_again(work: &Arc<Work>) {
    let mut rng = Rng::new(seed());
    let hosts = work.nodes();
    let first = a_leader(&hosts).await;
    client::insist(CLIENT_HOSTS[1], work, first, put(1), LONG).await;
    let others: Vec<HostId> = hosts.into_iter().filter(|host| *host != first).collect();
    let links: Vec<_> = others.iter().flat_map(|other| [(first, *other), (*other, first)]).collect();
    links.iter().for_each(|(from, to)| net::cut(*from, *to));
    let second = a_leader(&others).await;
    trace::tell(&format!("{first} is cut off, and {second} leads"));
    client::insist(CLIENT_HOSTS[1], work, second, put(2), LONG).await;
    let read = {
        let work = Arc::clone(work);
        let get = Operation::Get {
            key: KEY.to_owned(),
            version: None,
        };
        tokio::spawn(async move { client::insist(CLIENT_HOSTS[2], &work, first, get, LONG).await })
    };
    sleep(Duration::from_millis(rng.between(5, 100))).await;
    links.iter().for_each(|(from, to)| net::mend(*from, *to));
    while applied(first) < applied(second) {
        sleep(PAUSE).await;
    }
    trace::tell(&format!("{first} has what {second} has, which dies"));
    host::end(second, Death::Killed);
    while observe::leader(&[first]).is_none() {
        let to = operator::id_of(first);
        operator::insist(Ask::Transfer(to), TRANSFER).await;
        sleep(PAUSE).await;
    }
    trace::tell(&format!("{first} leads again"));
    // Its answer is in the history, if it has one.
    let _ = read.await;
}

async fn overtakes(work: &Arc<Work>) {
    let mut rng = Rng::new(seed());
    let hosts = work.nodes();
    let leader = a_leader(&hosts).await;
    client::insist(CLIENT_HOSTS[1], work, leader, put(1), LONG).await;
    let followers: Vec<HostId> = hosts.iter().copied().filter(|host| *host != leader).collect();
    let (near, far) = (followers[0], &followers[1..]);
    let links_of = |one: HostId| {
        let others = hosts.iter().copied().filter(move |other| *other != one);
        others.flat_map(move |other| [(one, other), (other, one)])
    };
    far.iter().for_each(|host| links_of(*host).for_each(|(from, to)| net::cut(from, to)));
    // What is on its way arrives, or never will.
    sleep(Duration::from_millis(20)).await;
    let writing = Arc::clone(work);
    tokio::spawn(async move { client::insist(CLIENT_HOSTS[2], &writing, leader, put(2), LONG).await });
    // The leader and the near one have it, and the three others do not.
    sleep(Duration::from_millis(rng.between(40, 80))).await;
    trace::tell(&format!("{near} is near to {leader}, whose disk is slow now"));
    let slow = disk::Health {
        sync_ms: SLOW_SYNC_MS,
        ..disk::health(leader)
    };
    disk::set_health(leader, slow);
    // The pipeline has one entry on its way at a time; a change of members does not wait for it.
    if let Some(door) = door(leader)
        && let Some(member) = door.member()
    {
        door.handle.spawn(async move {
            // It is removed after the run: nobody knows it.
            let _ = member.raft.add_learner(nobody()).await;
        });
    }
    sleep(Duration::from_millis(rng.between(30, 60))).await;
    links_of(far[0]).filter(|(from, to)| *from == leader || *to == leader).for_each(|(from, to)| net::mend(from, to));
    sleep(Duration::from_millis(2 * SLOW_SYNC_MS)).await;
    disk::set_health(leader, disk::Health::default());
    hosts.iter().for_each(|host| links_of(*host).for_each(|(from, to)| net::mend(from, to)));
}

fn nobody() -> Member {
    Member {
        id: NodeId(1_000_000),
        name: "nobody".to_owned(),
        peer_addr: address_of(NOBODY),
        client_addr: address_of(NOBODY),
        ..Member::default()
    }
}

fn put(value: u64) -> Operation {
    Operation::Put {
        key: KEY.to_owned(),
        value,
        cas: None,
    }
}

async fn a_leader(hosts: &[HostId]) -> HostId {
    loop {
        if let Some(leader) = observe::leader(hosts) {
            return leader;
        }
        sleep(PAUSE).await;
    }
}

fn applied(host: HostId) -> u64 {
    let member = door(host).and_then(|door| door.member());
    member.map_or(0, |member| member.raft.status().applied.0)
}

/// In the root, as the last reads have it.
const KEY: &str = "root/k0";
const PAUSE: Duration = Duration::from_millis(10);
/// Long enough for a look at what was called committed.
const SLOW_SYNC_MS: u64 = 1_500;
/// Where nothing is.
const NOBODY: HostId = 999;
const TRANSFER: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(30);
