//! From a client's call to an answer, as `crates/server` does it: served here by the leader, handed on by everybody else, tried again where that is safe.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aumbry_node::{Answer, Class, Consistency, Evidence, Failure, Request};
use aumbry_raft::ForwardError;
use aumbry_state::Consensus as _;
use aumbry_types::{NodeId, RequestId, SecretBytes};
use bytes::Bytes;
use tokio::time::Instant;

use crate::ask::Ask;
use crate::process::Member;

/// A client's call.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) id: RequestId,
    pub(crate) ask: Ask,
    pub(crate) token: Arc<Vec<u8>>,
    pub(crate) idempotency_key: String,
}

/// What became of it.
pub(crate) struct Served {
    pub(crate) answer: Result<Answer, Failure>,
    /// How often it was tried again although it may have been applied.
    pub(crate) repeated: u32,
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
            let request = request(&call, deadline);
            will_lead(member, deadline).await;
            member.node.serve(&request).await
        }
        None => Err(Failure::invalid("a malformed forwarded request")),
    };
    ANSWERS.with_borrow_mut(|answers| put(answers, answer))
}

/// Serves a call on the node that was called.
pub(crate) async fn serve(member: &Member, call: &Call, deadline: Instant) -> Served {
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
        } else if member.node.has_no_room_for(&request.operation) {
            Err(Failure::disk_full())
        } else {
            forward(member, call, &request, deadline).await
        };
        match answer {
            Err(failure) if may_retry(&request, &failure) && Instant::now() + HEARTBEAT < deadline => {
                repeated += u32::from(matches!(failure.reason, "NOT_ANSWERED" | "OUTCOME_UNKNOWN"));
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
        operation: call.ask.operation(),
        evidence: Evidence {
            token: SecretBytes::new(call.token.to_vec()),
            // Each from elsewhere: many refusals of one place are summed up in one record.
            client_address: format!("10.{}.{}.{}:1", call.id.as_bytes()[0], call.id.as_bytes()[1], call.id.as_bytes()[2]),
            tls_identity: String::new(),
            received_by: NodeId(0),
        },
        idempotency_key: call.idempotency_key.clone(),
        consistency: Consistency::Linearizable,
        min_index: 0,
        deadline,
    }
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
