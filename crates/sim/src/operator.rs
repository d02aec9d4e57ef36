//! What operators do: set the cluster up, open nodes that are sealed, admit and remove nodes. And how anybody asks a node something.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aumbry_node::{Answer, Failure, Joined, Reply};
use aumbry_sim_world::{HostId, net, seed, strikes, trace};
use aumbry_state::Consensus as _;
use aumbry_types::{NodeId, RequestId};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Work;
use crate::tenants;
use crate::ask::{Ask, POLICY, POLICY_TEXT, join_secret};
use crate::cluster::OPERATOR;
use crate::gateway::{self, Call, Served};
use crate::process::{Start, THRESHOLD, door, key_of, secrets};

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// What the operator knows and wants.
#[derive(Default)]
struct State {
    /// Nodes that are to be started.
    starts: Vec<(HostId, Start)>,
    /// The node's id on each host.
    ids: BTreeMap<HostId, NodeId>,
    sealed: BTreeSet<HostId>,
    is_ready: bool,
    /// Hosts whose nodes were removed.
    removed: Vec<HostId>,
    /// How many changes of membership are under way.
    changing: u64,
}

/// Forgets what an earlier run left.
pub(crate) fn reset() {
    STATE.with_borrow_mut(|state| *state = State::default());
}

/// Nodes that were admitted and are to be started.
pub(crate) fn take_starts() -> Vec<(HostId, Start)> {
    STATE.with_borrow_mut(|state| std::mem::take(&mut state.starts))
}

/// Whether the cluster was set up.
pub(crate) fn is_ready() -> bool {
    STATE.with_borrow(|state| state.is_ready)
}

/// Which nodes are to stay sealed.
pub(crate) fn set_sealed(hosts: &BTreeSet<HostId>) {
    STATE.with_borrow_mut(|state| state.sealed.clone_from(hosts));
}

/// The id of the node on a host.
pub(crate) fn id_of(host: HostId) -> Option<NodeId> {
    STATE.with_borrow(|state| state.ids.get(&host).copied())
}

/// Hosts whose nodes were removed.
pub(crate) fn take_removed() -> Vec<HostId> {
    STATE.with_borrow_mut(|state| std::mem::take(&mut state.removed))
}

/// Whether a change of membership is under way.
pub(crate) fn is_changing() -> bool {
    STATE.with_borrow(|state| state.changing > 0)
}

/// Changes the membership, with others seeing that it goes on.
pub(crate) async fn change(what: impl Future<Output = bool>, kind: &'static str) {
    STATE.with_borrow_mut(|state| state.changing += 1);
    if what.await {
        strikes::count(kind);
    }
    STATE.with_borrow_mut(|state| state.changing -= 1);
}

/// What came of asking.
pub(crate) enum Asked {
    /// An answer, or a failure that says what it is.
    Served(Served),
    /// It certainly reached nobody.
    NotSent,
    /// Nothing was heard.
    Lost,
}

/// Asks the node on a host, and waits at most so long.
pub(crate) async fn ask(client: HostId, host: HostId, call: Call, limit: Duration) -> Asked {
    let Some(delay) = net::message_ms(client, host) else {
        sleep(limit).await;
        return Asked::NotSent;
    };
    sleep(Duration::from_millis(delay)).await;
    let found = door(host);
    let Some((door, member)) = found.and_then(|door| door.member().map(|member| (door, member))) else {
        sleep(REFUSED).await;
        return Asked::NotSent;
    };
    let (done, answered) = oneshot::channel();
    door.handle.spawn(async move {
        let served = gateway::serve(&member, &call, Instant::now() + limit).await;
        // Who asked may have gone.
        let _ = done.send(served);
    });
    drop(door);
    let Ok(Ok(served)) = timeout(limit + GRACE, answered).await else {
        return Asked::Lost;
    };
    let Some(delay) = net::message_ms(host, client) else {
        sleep(limit).await;
        return Asked::Lost;
    };
    sleep(Duration::from_millis(delay)).await;
    Asked::Served(served)
}

/// A call with the root token.
pub(crate) fn root_call(ask: Ask) -> Call {
    let token = secrets(|secrets| secrets.root.clone()).unwrap_or_default();
    call(ask, Arc::new(token), String::new())
}

/// A call.
pub(crate) fn call(ask: Ask, token: Arc<Vec<u8>>, idempotency_key: String) -> Call {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&seed().to_be_bytes());
    id[8..].copy_from_slice(&seed().to_be_bytes());
    Call {
        id: RequestId::from_bytes(id),
        namespace: ask.namespace(),
        ask,
        token,
        idempotency_key,
    }
}

/// Asks one node after the other until one answers, with the root token.
pub(crate) async fn insist(ask_for: Ask, limit: Duration) -> Option<Result<Answer, Failure>> {
    insist_on(|| root_call(ask_for.clone()), limit).await
}

/// Asks one node after the other until one answers; each try is a call of its own.
pub(crate) async fn insist_on(call: impl Fn() -> Call, limit: Duration) -> Option<Result<Answer, Failure>> {
    let until = Instant::now() + limit;
    let mut turn = 0;
    while Instant::now() < until {
        let hosts: Vec<HostId> = STATE.with_borrow(|state| state.ids.keys().copied().collect());
        let host = *hosts.get(turn % hosts.len().max(1))?;
        turn += 1;
        match ask(OPERATOR, host, call(), TRY).await {
            Asked::Served(Served { answer: Ok(answer), .. }) => return Some(Ok(answer)),
            Asked::Served(Served { answer: Err(failure), .. }) if !is_passing(&failure) => return Some(Err(failure)),
            _ => sleep(PAUSE).await,
        }
    }
    None
}

fn is_passing(failure: &Failure) -> bool {
    failure.retry_after_ms > 0
        || matches!(
            failure.reason,
            "SEALED" | "OUTCOME_UNKNOWN" | "NOT_LEADER" | "NOT_INITIALISED" | "CLOCK_OFF" | "CONFLICT"
        )
}

/// Sets a cluster of these hosts up, of which the first one is started already.
pub(crate) async fn set_up(hosts: Vec<HostId>, work: Option<Arc<Work>>) {
    while secrets(|_| ()).is_none() {
        sleep(PAUSE).await;
    }
    STATE.with_borrow_mut(|state| {
        state.ids.insert(hosts[0], NodeId(1));
    });
    let policy = Ask::PolicyWrite(POLICY.to_owned(), POLICY_TEXT.to_owned());
    while !matches!(insist(policy.clone(), LONG).await, Some(Ok(_))) {}
    for host in &hosts[1..] {
        while !add(*host).await {
            sleep(PAUSE).await;
        }
    }
    while !are_all_voters(hosts.len()) {
        sleep(PAUSE).await;
    }
    if let Some(work) = work {
        tenants::set_up(&work).await;
    }
    trace::tell("the cluster is set up");
    STATE.with_borrow_mut(|state| state.is_ready = true);
}

fn are_all_voters(count: usize) -> bool {
    let hosts: Vec<HostId> = STATE.with_borrow(|state| state.ids.keys().copied().collect());
    let members: Vec<_> = hosts.iter().filter_map(|host| door(*host)?.member()).collect();
    let see_all = |member: &Arc<crate::process::Member>| {
        let voters = member.raft.status().members.iter().filter(|member| member.voter).count();
        voters == count && member.node.is_unsealed()
    };
    members.len() == count && members.iter().all(see_all)
}

/// Admits a node on a host, and has it started. Whether that came about.
pub(crate) async fn add(host: HostId) -> bool {
    let Some(Ok(answer)) = insist(Ask::JoinToken, LONG).await else {
        return false;
    };
    let Some(secret) = join_secret(&answer.reply) else { return false };
    let key = key_of(host);
    let join = Ask::Join {
        secret,
        host,
        key: key.clone(),
    };
    // Once only: the token is used up by whichever try succeeds.
    let joined = match insist(join, LONG).await {
        Some(Ok(Answer {
            reply: Reply::Joined(joined),
            ..
        })) => joined,
        _ => return false,
    };
    begin(host, joined, key);
    true
}

fn begin(host: HostId, joined: Joined, key: Vec<u8>) {
    STATE.with_borrow_mut(|state| {
        state.ids.insert(host, NodeId(joined.node_id));
        state.starts.push((host, Start::Joined(joined, key)));
    });
}

/// Removes the node of a host. Whether that came about.
pub(crate) async fn remove(host: HostId) -> bool {
    let Some(id) = id_of(host) else { return false };
    let removed = match insist(Ask::Remove(id), LONG).await {
        Some(Ok(_)) => true,
        // An earlier try did it, and its answer was lost.
        Some(Err(failure)) => failure.reason == "NO_SUCH_MEMBER",
        None => false,
    };
    if removed {
        STATE.with_borrow_mut(|state| {
            state.ids.remove(&host);
            state.removed.push(host);
        });
    }
    removed
}

/// A member that nobody knows: it was admitted, and the answer that said so was lost.
pub(crate) fn stranger(members: &[aumbry_state::Member]) -> Option<NodeId> {
    let is_known = |id: NodeId| STATE.with_borrow(|state| state.ids.values().any(|known| *known == id));
    members.iter().map(|member| member.id).find(|id| !is_known(*id))
}

/// Removes a member that nobody knows.
pub(crate) async fn remove_stranger(id: NodeId) -> bool {
    matches!(insist(Ask::Remove(id), LONG).await, Some(Ok(_)))
}

/// Opens nodes that are sealed and should not be, all the time.
pub(crate) async fn unseal_all() {
    loop {
        let (hosts, sealed) = STATE.with_borrow(|state| {
            let hosts: Vec<HostId> = state.ids.keys().copied().collect();
            (hosts, state.sealed.clone())
        });
        for host in hosts.into_iter().filter(|host| !sealed.contains(host)) {
            let Some(door) = door(host) else { continue };
            let Some(member) = door.member().filter(|member| !member.node.is_unsealed()) else {
                continue;
            };
            let sets = secrets(|secrets| secrets.sets.clone()).unwrap_or_default();
            door.handle.spawn(async move {
                if member.raft.barrier().await.is_err() {
                    return;
                }
                // It may be meant to be sealed by now.
                if STATE.with_borrow(|state| state.sealed.contains(&host)) {
                    return;
                }
                for shares in sets.iter().rev() {
                    for share in shares.iter().take(usize::from(THRESHOLD)) {
                        // One that was shown already, or does not count, helps nothing and harms nothing.
                        let _ = member.node.unseal(share);
                    }
                }
            });
        }
        sleep(UNSEAL_PAUSE).await;
    }
}

/// A connection that is refused is tried again after a while.
const REFUSED: Duration = Duration::from_millis(20);
/// A node answers by itself when the time is over; what comes later is lost.
const GRACE: Duration = Duration::from_millis(200);
const TRY: Duration = Duration::from_millis(1_500);
const PAUSE: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(10);
const UNSEAL_PAUSE: Duration = Duration::from_millis(300);
