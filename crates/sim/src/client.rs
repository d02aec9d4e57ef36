//! Clients: each does one thing after the other, on a few secrets and tokens that all of them share, and writes down what it was told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aumbry_checker::{End, Event, History, Operation, Reply as Told};
use aumbry_node::{Failure, Reply};
use aumbry_sim_world::rng::Rng;
use aumbry_sim_world::{HostId, seed, strikes, trace};
use aumbry_types::hex;
use tokio::time::{Instant, sleep};

use crate::ask::{Ask, directory, is_unknown, told, told_by};
use crate::gateway::{Call, Served, serve_as_leader};
use crate::operator::{Asked, ask, call, root_call};
use crate::process::door;
use crate::tenants::{Tenant, Tenants};

/// What all clients share.
pub(crate) struct Work {
    history: Mutex<History>,
    /// Requests that a node made again by itself, each of which may have had an effect.
    repeated: Mutex<Vec<Event>>,
    /// Orders all calls and answers.
    moment: AtomicU64,
    value: AtomicU64,
    tokens: Mutex<Vec<Token>>,
    pub(crate) stops: AtomicBool,
    pub(crate) answered: AtomicU64,
    pub(crate) unknown: AtomicU64,
    nodes: Mutex<Vec<HostId>>,
    /// Answers that a node gave while it was sealed.
    pub(crate) slips: Mutex<Vec<String>>,
    tenants: Mutex<Tenants>,
}

#[derive(Clone)]
struct Token {
    name: String,
    text: Arc<Vec<u8>>,
    accessor: String,
}

impl Work {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            history: Mutex::default(),
            repeated: Mutex::default(),
            moment: AtomicU64::new(0),
            value: AtomicU64::new(0),
            tokens: Mutex::default(),
            stops: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            nodes: Mutex::default(),
            slips: Mutex::default(),
            tenants: Mutex::default(),
        })
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespaces beside the root, and what was seen of them.
    pub(crate) fn tenants(&self) -> MutexGuard<'_, Tenants> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that nothing else has.
    pub(crate) fn a_value(&self) -> u64 {
        self.value.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// All that was asked and told.
    pub(crate) fn whole_history(&self) -> History {
        let mut events = self.history().events().to_vec();
        events.extend(self.repeated.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        History::new(events)
    }

    /// Notes that a call may have had its effect more than once.
    fn note_repeated(&self, position: usize, times: u32) {
        let mut again = self.history().events()[position].clone();
        again.end = End::Open;
        let mut repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
        repeated.extend((0..times).map(|_| again.clone()));
    }

    /// Whom clients call.
    pub(crate) fn set_nodes(&self, hosts: Vec<HostId>) {
        *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    pub(crate) fn nodes(&self) -> Vec<HostId> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn a_node(&self, rng: &mut Rng) -> HostId {
        *rng.pick(&self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next moment.
    pub(crate) fn now(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::Relaxed)
    }

    fn begin(&self, client: HostId, call: Option<&Call>, operation: Operation) -> usize {
        let now = self.now();
        let request = call.map(|call| hex::encode(call.id.as_bytes()));
        self.history().call(client, request, now, operation)
    }

    fn end(&self, position: usize, end: Ended) {
        let at = self.now();
        let end = match end {
            Ended::Told(reply, seq) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                End::Returned { at, reply, seq }
            }
            Ended::Failed => End::Failed { at },
            Ended::Open => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        self.history().end(position, end);
    }
}

enum Ended {
    Told(Told, Option<u64>),
    Failed,
    Open,
}

/// One client, until it is told to stop.
pub(crate) async fn run(client: HostId, work: Arc<Work>) {
    let mut rng = Rng::new(seed());
    while !work.stops.load(Ordering::Relaxed) {
        match rng.below(100) {
            0..80 => secret(client, &work, &mut rng).await,
            80..88 => create_token(client, &work, &mut rng).await,
            88..96 => use_token(client, &work, &mut rng).await,
            _ => revoke_token(client, &work, &mut rng).await,
        }
        sleep(Duration::from_millis(rng.below(PAUSE_MS))).await;
    }
}

async fn secret(client: HostId, work: &Arc<Work>, rng: &mut Rng) {
    let tenant = work.tenants().pick(rng);
    let place = tenant.as_ref().map_or_else(|| directory(""), Tenant::directory);
    let keys = tenant.as_ref().map_or(KEYS, |_| TENANT_KEYS);
    let key = format!("{place}k{}", rng.below(keys));
    let value = work.a_value();
    let some = |rng: &mut Rng| 1 + rng.below(VERSIONS);
    let operation = match rng.below(100) {
        0..30 => Operation::Put {
            key,
            value,
            cas: match rng.below(3) {
                0 => None,
                1 => Some(rng.below(3)),
                _ => Some(some(rng)),
            },
        },
        30..35 => Operation::Patch { key, value, cas: None },
        35..60 => Operation::Get { key, version: None },
        60..66 => Operation::Get {
            key,
            version: Some(some(rng)),
        },
        66..72 => Operation::Delete {
            key,
            versions: match rng.below(2) {
                0 => Vec::new(),
                _ => vec![some(rng)],
            },
        },
        72..78 => Operation::Undelete {
            key,
            versions: vec![some(rng)],
        },
        78..84 => Operation::Destroy {
            key,
            versions: vec![some(rng)],
        },
        84..90 => Operation::ReadMetadata { key },
        90..98 => Operation::List { directory: place },
        _ => Operation::DeleteMetadata { key },
    };
    let is_write = operation.is_write();
    let key = if is_write && rng.percent(50) { format!("once-{value}-{client}") } else { String::new() };
    let is_repeatable = !key.is_empty();
    let ask = Ask::Kv(operation.clone());
    let request = match tenant {
        // From inside, or from above.
        Some(tenant) if rng.percent(50) => call(ask, tenant.token, key),
        _ => Call {
            idempotency_key: key,
            ..root_call(ask)
        },
    };
    let position = work.begin(client, Some(&request), operation);
    let end = try_for_long(client, work, rng, request, is_write).await;
    work.end(position, end_of(end, is_repeatable));
}

fn end_of(outcome: Outcome, is_repeatable: bool) -> Ended {
    match outcome {
        Outcome::Served(Served { answer: Ok(answer), .. }) => match &answer.reply {
            // An answer that is given again stands elsewhere than what it tells of.
            Reply::Kv(reply) => Ended::Told(told(reply), Some(answer.position.audit_seq).filter(|_| !is_repeatable)),
            _ => Ended::Open,
        },
        Outcome::Served(Served { answer: Err(failure), .. }) => match told_by(&failure) {
            Some(reply) => Ended::Told(reply, seq_of(&failure)),
            None if is_unknown(&failure) => Ended::Open,
            None => Ended::Failed,
        },
        Outcome::Failed => Ended::Failed,
        Outcome::Open => Ended::Open,
    }
}

/// Asks one node, once, and waits for long.
pub(crate) async fn insist(client: HostId, work: &Arc<Work>, host: HostId, operation: Operation, limit: Duration) {
    let request = root_call(Ask::Kv(operation.clone()));
    let position = work.begin(client, Some(&request), operation);
    let outcome = match ask(client, host, request, limit).await {
        Asked::Served(served) => Outcome::Served(served),
        Asked::NotSent => Outcome::Failed,
        Asked::Lost => Outcome::Open,
    };
    work.end(position, end_of(outcome, false));
}

trait Writes {
    fn is_write(&self) -> bool;
}

impl Writes for Operation {
    fn is_write(&self) -> bool {
        !matches!(
            self,
            Self::Get { .. } | Self::ReadMetadata { .. } | Self::List { .. } | Self::Look { .. }
        )
    }
}

enum Outcome {
    Served(Served),
    /// It certainly changed nothing.
    Failed,
    Open,
}

/// Asks until there is an answer, at most so often, where asking again is safe.
async fn try_for_long(client: HostId, work: &Arc<Work>, rng: &mut Rng, request: Call, is_write: bool) -> Outcome {
    // The last reads are made when all other work has stopped, and must succeed.
    let is_last = work.stops.load(Ordering::Relaxed);
    let tries = if is_last { LAST_TRIES } else { TRIES };
    let is_safe = !is_write || !request.idempotency_key.is_empty();
    let mut may_be_done = false;
    for _ in 0..tries {
        let host = work.a_node(rng);
        if is_write && is_safe && rng.percent(DOUBLE_PERCENT) {
            // The same again, over another node: a network, or a client, that sends twice.
            let (other, again) = (work.a_node(rng), request.clone());
            strikes::count("duplicate-request");
            tokio::spawn(async move {
                ask(client, other, again, LIMIT).await;
            });
            may_be_done = true;
        }
        let since = aumbry_sim_world::now_ms();
        match ask(client, host, request.clone(), LIMIT).await {
            Asked::Served(served) => {
                note_slip(work, host, since, &served);
                // A node that tried for itself, and does not know what became of that.
                may_be_done |= served.repeated > 0;
                let is_lost = served.answer.as_ref().is_err_and(|failure| {
                    is_unknown(failure) || matches!(failure.reason, "NOT_ANSWERED")
                });
                let says_something = match &served.answer {
                    Ok(_) => true,
                    Err(failure) => told_by(failure).is_some(),
                };
                if says_something && served.answer.is_err() && may_be_done && is_write {
                    // It was refused now, and an earlier one of the same may still be on its way and find another state.
                    return Outcome::Open;
                }
                if says_something {
                    return Outcome::Served(served);
                }
                may_be_done |= is_lost;
                if is_lost && !is_safe {
                    return Outcome::Open;
                }
            }
            Asked::NotSent => {}
            Asked::Lost => {
                may_be_done = true;
                if !is_safe {
                    return Outcome::Open;
                }
            }
        }
        if !is_last && work.stops.load(Ordering::Relaxed) {
            break;
        }
        sleep(Duration::from_millis(20 + rng.below(100))).await;
    }
    match may_be_done && is_write {
        true => Outcome::Open,
        false => Outcome::Failed,
    }
}

/// Asks a node that is sealed, past the gateway that would say so: as a peer does that takes it for the leader.
pub(crate) async fn ask_a_sealed_one(host: HostId) {
    let mut rng = Rng::new(seed());
    for _ in 0..SEALED_TRIES {
        sleep(Duration::from_millis(1 + rng.below(PAUSE_MS))).await;
        let Some(door) = door(host) else { continue };
        let Some(member) = door.member() else { continue };
        let get = Operation::Get {
            key: format!("k{}", rng.below(KEYS)),
            version: None,
        };
        let call = root_call(Ask::Kv(get));
        door.handle.spawn(async move {
            // What it says is noted where it is said.
            let _ = serve_as_leader(&member, &call, Instant::now() + LIMIT).await;
        });
    }
}

/// A node that was sealed all the time answers nothing.
fn note_slip(work: &Arc<Work>, host: HostId, since: u64, served: &Served) {
    if !crate::observe::is_sealed_since(host, since) {
        return;
    }
    strikes::count("sealed-node-asked");
    if served.answer.is_ok() {
        let mut slips = work.slips.lock().unwrap_or_else(PoisonError::into_inner);
        slips.push(format!("node {host} answered while it was sealed"));
    }
}

async fn create_token(client: HostId, work: &Arc<Work>, rng: &mut Rng) {
    let number = work.value.fetch_add(1, Ordering::Relaxed) + 1;
    let name = format!("t{number}");
    let uses = *rng.pick(&[0, 1, 2, 3, 5]);
    let request = root_call(Ask::CreateToken { uses });
    let operation = Operation::CreateToken {
        token: name.clone(),
        parent: None,
        uses,
    };
    let position = work.begin(client, Some(&request), operation);
    let host = work.a_node(rng);
    let end = match ask(client, host, request, LIMIT).await {
        Asked::Served(Served { answer: Ok(answer), .. }) => match answer.reply {
            Reply::NewToken(token) => {
                let mut tokens = work.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.push(Token {
                    name,
                    text: Arc::new(token.token.expose().to_vec()),
                    accessor: token.info.accessor,
                });
                Ended::Told(Told::Done, Some(answer.position.audit_seq))
            }
            _ => Ended::Open,
        },
        Asked::Served(Served { answer: Err(failure), .. }) if !is_unknown(&failure) => Ended::Failed,
        Asked::NotSent => Ended::Failed,
        Asked::Served(_) | Asked::Lost => Ended::Open,
    };
    work.end(position, end);
}

fn a_token(work: &Work, rng: &mut Rng) -> Option<Token> {
    let tokens = work.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let recent = tokens.len().saturating_sub(TOKENS_USED);
    (!tokens.is_empty()).then(|| rng.pick(&tokens[recent..]).clone())
}

async fn use_token(client: HostId, work: &Arc<Work>, rng: &mut Rng) {
    let Some(token) = a_token(work, rng) else { return };
    let operation = Operation::UseToken { token: token.name };
    let request = call(Ask::UseToken, token.text, String::new());
    let position = work.begin(client, Some(&request), operation);
    let host = work.a_node(rng);
    let end = match ask(client, host, request, LIMIT).await {
        Asked::Served(served) => {
            // The node has asked again where it did not know what became of it: each time may have been a use.
            work.note_repeated(position, served.repeated);
            match served.answer {
                Ok(answer) => Ended::Told(Told::Done, Some(answer.position.audit_seq)),
                Err(failure) if failure.reason == "TOKEN_INVALID" => {
                    Ended::Told(Told::Refused, seq_of(&failure))
                }
                Err(failure) if failure.reason == "PERMISSION_DENIED" => Ended::Told(Told::Done, None),
                Err(failure) if is_unknown(&failure) || failure.reason == "NOT_ANSWERED" => Ended::Open,
                Err(failure) if failure.position.audit_seq > 0 => Ended::Open,
                Err(_) => Ended::Failed,
            }
        }
        Asked::NotSent => Ended::Failed,
        Asked::Lost => Ended::Open,
    };
    work.end(position, end);
}

async fn revoke_token(client: HostId, work: &Arc<Work>, rng: &mut Rng) {
    let Some(token) = a_token(work, rng) else { return };
    let request = root_call(Ask::Revoke(token.accessor));
    let operation = Operation::RevokeToken { token: token.name };
    let position = work.begin(client, Some(&request), operation);
    let host = work.a_node(rng);
    let end = match ask(client, host, request, LIMIT).await {
        Asked::Served(Served { answer, .. }) => match answer {
            Ok(answer) => Ended::Told(Told::Done, Some(answer.position.audit_seq)),
            Err(failure) if failure.reason == "NOT_FOUND" => {
                Ended::Told(Told::NotFound, seq_of(&failure))
            }
            Err(failure) if is_unknown(&failure) => Ended::Open,
            Err(_) => Ended::Failed,
        },
        Asked::NotSent => Ended::Failed,
        Asked::Lost => Ended::Open,
    };
    work.end(position, end);
}

/// Reads everything at the end, over nodes in turn. Whether all of it was answered.
pub(crate) async fn read_all(client: HostId, work: Arc<Work>, done: Arc<AtomicBool>) {
    let mut rng = Rng::new(seed());
    let mut keys: Vec<String> = (0..KEYS).map(|number| format!("{}k{number}", directory(""))).collect();
    for directory in work.tenants().directories() {
        keys.extend((0..TENANT_KEYS).map(|number| format!("{directory}k{number}")));
    }
    for key in keys {
        for operation in [
            Operation::Get {
                key: key.clone(),
                version: None,
            },
            Operation::ReadMetadata { key: key.clone() },
        ] {
            let request = root_call(Ask::Kv(operation.clone()));
            let position = work.begin(client, Some(&request), operation);
            let end = match try_for_long(client, &work, &mut rng, request, false).await {
                Outcome::Served(Served { answer: Ok(answer), .. }) => match &answer.reply {
                    Reply::Kv(reply) => Ended::Told(told(reply), Some(answer.position.audit_seq)),
                    _ => Ended::Open,
                },
                Outcome::Served(Served { answer: Err(failure), .. }) => match told_by(&failure) {
                    Some(reply) => Ended::Told(reply, seq_of(&failure)),
                    None => Ended::Failed,
                },
                Outcome::Failed | Outcome::Open => Ended::Failed,
            };
            if matches!(end, Ended::Failed) {
                trace::tell("a last read failed");
                work.end(position, end);
                return;
            }
            work.end(position, end);
        }
    }
    done.store(true, Ordering::Relaxed);
}

/// Where the record of a refusal stands, if it has one.
fn seq_of(failure: &Failure) -> Option<u64> {
    Some(failure.position.audit_seq).filter(|seq| *seq > 0)
}

const KEYS: u64 = 4;
/// The same paths as in the root, and fewer of them: what is seen of few is seen often.
const TENANT_KEYS: u64 = 2;
/// Versions that are named: most are there now and then.
const VERSIONS: u64 = 8;
const PAUSE_MS: u64 = 60;
/// What one try may take.
const LIMIT: Duration = Duration::from_millis(1_500);
const TRIES: u32 = 6;
/// Some ten seconds of refusals.
const LAST_TRIES: u32 = 100;
/// How often a node is asked while it is sealed, beside what clients ask of it.
const SEALED_TRIES: u32 = 4;
const DOUBLE_PERCENT: u64 = 4;
/// Of the tokens only the newest are used: old ones are gone as a rule.
const TOKENS_USED: usize = 4;
