//! From a client's call to an answer, as `crates/server` does it: served here by the leader, handed on by everybody else, tried again where that is safe.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aumbry_node::{Answer, Class, Consistency, Evidence, Failure, Request};
use aumbry_raft::ForwardError;
use aumbry_state::Consensus as _;
use aumbry_sim_world::now_ms;
use aumbry_types::{NamespacePath, NodeId, RequestId, SecretBytes};
use bytes::Bytes;
use tokio::time::Instant;

use crate::ask::{Ask, told_by};
use crate::observe;
use crate::process::Member;

/// A client's call.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) id: RequestId,
    pub(crate) ask: Ask,
    /// Where it is asked.
    pub(crate) namespace: NamespacePath,
    pub(crate) token: Arc<Vec<u8>>,
    pub(crate) idempotency_key: String,
}

/// What became of it.
pub(crate) struct Served {
    pub(crate) answer: Result<Answer, Failure>,
    /// How often it was tried again although it may have been applied.
    pub(crate) repeated: u32,
}

thread_local! {
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
}

type Handed = (Call, u64);

thread_local! {
    /// What stands for the bytes of forwarded calls and of their answers: their content goes no other way.
    static CALLS: RefCell<(u64, BTreeMap<u64, Handed>)> = const { RefCell::new((0, BTreeMap::new())) };
    static ANSWERS: RefCell<(u64, BTreeMap<u64, Result<Answer, Failure>>)> = const { RefCell::new((0, BTreeMap::new())) };
}

/// Forgets what an earlier run left.
pub(crate) fn reset() {
    CALLS.with_borrow_mut(|calls| *calls = (0, BTreeMap::new()));
    ANSWERS.with_borrow_mut(|answers| *answers = (0, BTreeMap::new()));
    REQUESTS.set(0);
}

fn put<T>(table: &mut (u64, BTreeMap<u64, T>), value: T) -> Bytes {
    table.0 += 1;
    table.1.insert(table.0, value);
    Bytes::copy_from_slice(&table.0.to_be_bytes())
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// Serves a call that a peer hands over.
pub(crate) async fn serve_forwarded(member: &Member, call: &Bytes) -> Bytes {
    let call = CALLS.with_borrow(|calls| calls.1.get(&number(call)).cloned());
    let answer = match call {
        Some((call, remaining_ms)) => {
            let deadline = Instant::now() + Duration::from_millis(remaining_ms);
            serve_as_leader(member, &call, deadline).await
        }
        None => Err(Failure::invalid("a malformed forwarded request")),
    };
    ANSWERS.with_borrow_mut(|answers| put(answers, answer))
}

/// Serves a call on a node that is taken for the leader, sealed or not.
pub(crate) async fn serve_as_leader(member: &Member, call: &Call, deadline: Instant) -> Result<Answer, Failure> {
    let asked = now_ms();
    let request = request(call, deadline);
    will_lead(member, deadline).await;
    let answer = member.node.serve(&request).await;
    note(member, asked, &answer);
    answer
}

/// Serves a call on the node that was called.
pub(crate) async fn serve(member: &Member, call: &Call, deadline: Instant) -> Served {
    let asked = now_ms();
    let served = serve_or_hand_on(member, call, deadline).await;
    note(member, asked, &served.answer);
    served
}

/// Notes an answer that tells something of the store.
fn note(member: &Member, asked: u64, answer: &Result<Answer, Failure>) {
    let tells = |failure: &Failure| told_by(failure).is_some() || failure.position.audit_seq > 0;
    if answer.as_ref().err().is_none_or(tells) {
        observe::note_answer(member.host, asked);
    }
}

async fn serve_or_hand_on(member: &Member, call: &Call, deadline: Instant) -> Served {
    let mut repeated = 0;
    let mut changed = member.node.consensus().changed();
    loop {
        if !member.node.is_unsealed() {
            let answer = Err(if member.node.seal_status().initialised {
                Failure::sealed()
            } else {
                Failure::uninitialised()
            });
            return Served { answer, repeated };
        }
        changed.mark_unchanged();
        let request = request(call, deadline);
        let answer = if member.node.consensus().leadership().is_some() {
            member.node.serve(&request).await
        } else {
            match forward(member, call, &request, deadline).await {
                Err(failure)
                    if failure.reason == "NOT_LEADER" && member.node.has_no_room_for(&request.operation) =>
                {
                    Err(Failure::disk_full())
                }
                answer => answer,
            }
        };
        match answer {
            Err(failure) if may_retry(&request, &failure) && Instant::now() + HEARTBEAT < deadline => {
                // A node that was sealed after the record was applied gives no answer, and the token has lost its use.
                let may_be_done = matches!(failure.reason, "NOT_ANSWERED" | "OUTCOME_UNKNOWN");
                repeated += u32::from(may_be_done || failure.position.audit_seq > 0);
                // A new leader shows as a change.
                let _ = tokio::time::timeout(RETRY_PAUSE, changed.changed()).await;
            }
            answer => return Served { answer, repeated },
        }
    }
}

async fn forward(member: &Member, call: &Call, request: &Request, deadline: Instant) -> Result<Answer, Failure> {
    let own = member.raft.status().node;
    let leader = member.node.consensus().changed().borrow().leader;
    let leader = match leader {
        Some(leader) if leader != own => leader,
        _ => return Err(Failure::not_leader(None)),
    };
    let remaining = deadline.saturating_duration_since(Instant::now());
    let remaining_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
    let bytes = CALLS.with_borrow_mut(|calls| put(calls, (call.clone(), remaining_ms)));
    let answer = member.raft.forward(leader, bytes, deadline).await.map_err(|error| match error {
        ForwardError::NotSent | ForwardError::Refused(_) => Failure::not_leader(None),
        ForwardError::Unknown if request.operation.is_write() => Failure::unknown(
            Class::Unavailable,
            "the leader did not answer; the request may have been applied",
        ),
        ForwardError::Unknown => Failure::new(Class::Unavailable, "NOT_ANSWERED", "the leader did not answer").retry(),
    })?;
    let answer = ANSWERS.with_borrow_mut(|answers| answers.1.remove(&number(&answer)));
    answer.unwrap_or_else(|| Err(Failure::unknown(Class::Internal, "the leader's answer cannot be read")))
}

fn request(call: &Call, deadline: Instant) -> Request {
    Request {
        id: call.id,
        namespace: call.namespace.clone(),
        operation: call.ask.operation(),
        evidence: Evidence {
            token: SecretBytes::new(call.token.to_vec()),
            // Each try from elsewhere: many refusals of one place are summed up in one record.
            client_address: somewhere(),
            tls_identity: String::new(),
            certificates: Vec::new(),
            received_by: NodeId(0),
        },
        idempotency_key: call.idempotency_key.clone(),
        consistency: Consistency::Linearizable,
        min_index: 0,
        deadline,
        sent: None,
    }
}

fn somewhere() -> String {
    let number = REQUESTS.get() + 1;
    REQUESTS.set(number);
    let [.., a, b, c] = number.to_be_bytes();
    format!("10.{a}.{b}.{c}:1")
}

async fn will_lead(member: &Member, deadline: Instant) {
    let own = member.raft.status().node;
    let mut changed = member.node.consensus().changed();
    let settled = changed.wait_for(|change| change.leadership.is_some() || change.leader != Some(own));
    let limit = deadline.min(Instant::now() + LEAD_PATIENCE);
    let _ = tokio::time::timeout_at(limit, settled).await;
}

fn may_retry(request: &Request, failure: &Failure) -> bool {
    let is_safe = !request.operation.is_write() || !request.idempotency_key.is_empty();
    match failure.reason {
        "NOT_LEADER" | "SEALED" => true,
        "NOT_ANSWERED" | "OUTCOME_UNKNOWN" => is_safe,
        _ => false,
    }
}

const RETRY_PAUSE: Duration = Duration::from_millis(50);
const LEAD_PATIENCE: Duration = Duration::from_secs(1);
const HEARTBEAT: Duration = Duration::from_millis(50);
