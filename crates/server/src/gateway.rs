//! Takes a client's call to where it can be served: here, if this node leads, or at the leader.

use std::sync::Arc;
use std::time::Duration;

use aumbry_api::v1::{self, forward_answer};
use aumbry_api::{Reply as _, Tries};
use aumbry_node::{Answer, Class, Consistency, Evidence, Failure, Operation, Request};
use aumbry_raft::ForwardError;
use aumbry_types::{NodeId, RequestId, SecretBytes, hex};
use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;

use crate::convert;
use crate::lifecycle::Lifecycle;
use crate::member::Member;
use crate::metrics::RequestLabels;
use crate::ticket::Ticket;

/// The way from the listener to the pipeline.
pub(crate) struct Gateway {
    pub(crate) lifecycle: Arc<Lifecycle>,
}

impl Gateway {
    /// Serves a call that a client made on this node.
    pub(crate) async fn serve(
        &self,
        call: v1::Call,
        evidence: Evidence,
        deadline: Instant,
    ) -> Result<v1::Answer, v1::Failure> {
        let started = Instant::now();
        let (operation, answer) = self.route(call, evidence, deadline).await;
        let outcome = match &answer {
            Ok(_) => "ok",
            Err(failure) if failure.reason == "PERMISSION_DENIED" || failure.reason == "TOKEN_INVALID" => "refused",
            Err(_) => "failed",
        };
        let metrics = self.lifecycle.metrics();
        metrics
            .requests
            .get_or_create(&RequestLabels { operation, outcome })
            .inc();
        metrics.seconds.observe(started.elapsed().as_secs_f64());
        answer
    }

    /// Serves a call that another node hands over. It is not handed on: two nodes that each take the other for the leader would pass
    /// it back and forth.
    pub(crate) async fn serve_forwarded(&self, forwarded: Bytes) -> Bytes {
        let answer = match v1::Forwarded::decode(forwarded) {
            Ok(forwarded) => self.serve_here(forwarded).await,
            Err(_) => Err(wire_failure(
                &Failure::invalid("a malformed forwarded request"),
                RequestId::from_bytes([0; 16]),
            )),
        };
        let outcome = match answer {
            Ok(answer) => forward_answer::Outcome::Answer(answer),
            Err(failure) => forward_answer::Outcome::Failure(failure),
        };
        v1::ForwardAnswer { outcome: Some(outcome) }.encode_to_vec().into()
    }

    async fn serve_here(&self, forwarded: v1::Forwarded) -> Result<v1::Answer, v1::Failure> {
        let none = RequestId::from_bytes([0; 16]);
        // A peer takes this node for the leader, so it is a member: one that starts, or that has stopped.
        let member = self
            .lifecycle
            .member()
            .ok_or_else(|| wire_failure(&Failure::not_leader(None), none))?;
        let evidence = forwarded.evidence.unwrap_or_default();
        let evidence = Evidence {
            token: SecretBytes::new(evidence.token.into()),
            client_address: evidence.client_address,
            tls_identity: evidence.tls_identity,
            received_by: NodeId(evidence.received_by),
        };
        let deadline = Instant::now() + Duration::from_millis(forwarded.remaining_ms.min(FORWARDED_MS_MAX));
        let call = forwarded.call.unwrap_or_default();
        let request = self
            .request(call, evidence, deadline)
            .map_err(|failure| wire_failure(&failure, none))?;
        will_lead(&member, deadline).await;
        let answer = member.node.serve(&request).await;
        let answer = answer.and_then(|answer| complete(&member, &request.operation, request.id, answer));
        answer.map_err(|failure| leader_failure(&member, &failure, request.id))
    }

    /// Tries here, and at the leader, until there is an answer or no time is left.
    async fn route(
        &self,
        mut call: v1::Call,
        evidence: Evidence,
        deadline: Instant,
    ) -> (&'static str, Result<v1::Answer, v1::Failure>) {
        let none = RequestId::from_bytes([0; 16]);
        let Some(member) = self.lifecycle.member() else {
            let failure = match self.lifecycle.is_stopping() {
                true => Failure::not_leader(None),
                false => Failure::uninitialised(),
            };
            return ("none", Err(wire_failure(&failure, none)));
        };
        let forwardable = wire_evidence(&evidence);
        let given = call.header().map_or("", |header| &header.request_id);
        let is_given = !given.is_empty();
        let parsed = given.parse().ok();
        let id = parsed.unwrap_or_else(|| RequestId::make(self.lifecycle.entropy()));
        // One of another form is refused, and not replaced: its client would look for it in the audit log.
        if parsed.is_some() || !is_given {
            set_request_id(&mut call, id);
        }
        let request = match self.request(call.clone(), evidence, deadline) {
            Ok(request) => request,
            Err(failure) => return ("invalid", Err(wire_failure(&failure, id))),
        };
        let operation = request.operation.name();
        let mut changed = member.node.consensus().changed();
        // A heartbeat has the time of some round trips. Less is not enough for another try.
        let room = Duration::from_millis(self.lifecycle.config().raft.heartbeat_ms);
        let mut tries = Tries::default();
        let mut note = |mut failure: v1::Failure| {
            tries.note(request.operation.is_write(), &mut failure);
            failure
        };
        loop {
            // A sealed node answers for nobody, and hands nothing on.
            if !member.node.is_unsealed() {
                let failure = if member.node.seal_status().initialised {
                    Failure::sealed()
                } else {
                    Failure::uninitialised()
                };
                return (operation, Err(note(wire_failure(&failure, id))));
            }
            changed.mark_unchanged();
            let answer = if member.node.consensus().leadership().is_some() {
                let answer = member.node.serve(&request).await;
                let answer = answer.and_then(|answer| complete(&member, &request.operation, id, answer));
                answer.map_err(|failure| leader_failure(&member, &failure, id))
            } else if member.node.has_no_room_for(&request.operation) {
                Err(wire_failure(&Failure::disk_full(), id))
            } else {
                self.forward(&member, &call, &forwardable, &request, deadline).await
            };
            let answer = answer
                .map(|answer| self.complete_here(&member, &request.operation, answer))
                .map_err(&mut note);
            match answer {
                Err(failure) if may_retry(&request, &failure) && Instant::now() + room < deadline => {
                    // A new leader shows as a change; looking again soon costs little where none does.
                    let _ = tokio::time::timeout(RETRY_PAUSE, changed.changed()).await;
                }
                answer => return (operation, answer),
            }
        }
    }

    async fn forward(
        &self,
        member: &Member,
        call: &v1::Call,
        evidence: &v1::Evidence,
        request: &Request,
        deadline: Instant,
    ) -> Result<v1::Answer, v1::Failure> {
        let leader = member.node.consensus().changed().borrow().leader;
        let leader = match leader {
            Some(leader) if leader != member.raft_id() => leader,
            _ => return Err(wire_failure(&Failure::not_leader(None), request.id)),
        };
        self.lifecycle.metrics().forwarded.inc();
        let remaining = deadline.saturating_duration_since(Instant::now());
        let forwarded = v1::Forwarded {
            call: Some(call.clone()),
            evidence: Some(evidence.clone()),
            remaining_ms: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
        };
        let bytes = Bytes::from(forwarded.encode_to_vec());
        let answer = member.raft.forward(leader, bytes, deadline).await.map_err(|error| {
            let failure = match error {
                ForwardError::NotSent | ForwardError::Refused(_) => Failure::not_leader(None),
                ForwardError::Unknown if request.operation.is_write() => Failure::unknown(
                    Class::Unavailable,
                    "the leader did not answer; the request may have been applied",
                ),
                ForwardError::Unknown => {
                    Failure::new(Class::Unavailable, "NOT_ANSWERED", "the leader did not answer").retry()
                }
            };
            wire_failure(&failure, request.id)
        })?;
        match v1::ForwardAnswer::decode(answer).ok().and_then(|answer| answer.outcome) {
            Some(forward_answer::Outcome::Answer(answer)) => Ok(answer),
            Some(forward_answer::Outcome::Failure(failure)) => Err(failure),
            None => Err(wire_failure(
                &Failure::unknown(Class::Internal, "the leader's answer cannot be read"),
                request.id,
            )),
        }
    }

    fn request(&self, call: v1::Call, evidence: Evidence, deadline: Instant) -> Result<Request, Failure> {
        let header = call.header().cloned().unwrap_or_default();
        let consistency = match header.consistency() {
            v1::Consistency::Linearizable => Consistency::Linearizable,
            v1::Consistency::AtIndex => Consistency::AtIndex,
            v1::Consistency::Bounded => return Err(Failure::invalid("bounded staleness is not offered")),
        };
        let id = match header.request_id.as_str() {
            "" => RequestId::make(self.lifecycle.entropy()),
            text => text
                .parse()
                .map_err(|_| Failure::invalid("a request id is 32 hexadecimal digits"))?,
        };
        let op = call
            .op
            .ok_or_else(|| Failure::invalid("the request is empty, or of a newer version of Aumbry"))?;
        Ok(Request {
            id,
            operation: convert::operation(op)?,
            evidence,
            idempotency_key: header.idempotency_key,
            consistency,
            min_index: header.min_index,
            deadline,
        })
    }

    /// What only the node that was called can answer or do.
    fn complete_here(&self, member: &Member, operation: &Operation, answer: v1::Answer) -> v1::Answer {
        match operation {
            Operation::Status => {
                let mut status = member.status(self.lifecycle.name());
                status.header = v1::StatusReply::from_answer(answer).and_then(|reply| reply.header);
                status.into_answer()
            }
            Operation::Seal => {
                member.node.seal();
                answer
            }
            _ => answer,
        }
    }
}

/// Waits until this node's leadership has begun, if it is elected: what is asked of it meanwhile would go back, and come again.
async fn will_lead(member: &Member, deadline: Instant) {
    let mut changed = member.node.consensus().changed();
    let own = member.raft_id();
    let settled = changed.wait_for(|change| change.leadership.is_some() || change.leader != Some(own));
    let limit = deadline.min(Instant::now() + LEAD_PATIENCE);
    // Without a leadership the request is refused, with the leader.
    let _ = tokio::time::timeout_at(limit, settled).await;
}

/// The answer with its header, completed by what only the leader knows.
fn complete(member: &Member, operation: &Operation, id: RequestId, answer: Answer) -> Result<v1::Answer, Failure> {
    let Answer { reply, position } = answer;
    let mut answer = match (operation, reply) {
        (Operation::Members, _) => v1::MembersReply {
            header: None,
            members: member.members(),
        }
        .into_answer(),
        (Operation::JoinTokenCreate(_), aumbry_node::Reply::JoinToken(secret)) => {
            let join_token = join_ticket(member, secret)?;
            v1::JoinTokenCreateReply {
                header: None,
                join_token,
            }
            .into_answer()
        }
        (operation, reply) => convert::answer(operation, reply)
            .ok_or_else(|| Failure::internal("the reply does not go with the request"))?,
    };
    answer.set_header(v1::ReplyHeader {
        index: position.index,
        term: position.term,
        request_id: id.to_string(),
        audit_seq: position.audit_seq,
    });
    Ok(answer)
}

fn join_ticket(member: &Member, secret: SecretBytes) -> Result<Bytes, Failure> {
    let facts = member.facts().ok_or_else(Failure::uninitialised)?;
    let ticket = Ticket {
        cluster: facts.cluster_id,
        authority: hex::encode(&aumbry_crypto::sha256(&[facts.authority.as_bytes()])),
        addresses: member.members().into_iter().map(|member| member.client_addr).collect(),
        secret,
    };
    Ok(Bytes::copy_from_slice(ticket.to_text().expose()))
}

/// Whether the request can be tried again without anyone asking: it was not applied, or it is safe to repeat.
fn may_retry(request: &Request, failure: &v1::Failure) -> bool {
    let is_safe = !request.operation.is_write() || !request.idempotency_key.is_empty();
    match failure.reason.as_str() {
        "NOT_LEADER" => true,
        "NOT_ANSWERED" | "OUTCOME_UNKNOWN" => is_safe,
        // The leader is sealed and will hand over; this node is not.
        "SEALED" => true,
        _ => false,
    }
}

fn leader_failure(member: &Member, failure: &Failure, id: RequestId) -> v1::Failure {
    let address = failure
        .leader
        .and_then(|leader| member.raft.client_address(leader))
        .unwrap_or_default();
    convert::failure(failure, id, address)
}

fn wire_failure(failure: &Failure, id: RequestId) -> v1::Failure {
    convert::failure(failure, id, String::new())
}

fn wire_evidence(evidence: &Evidence) -> v1::Evidence {
    v1::Evidence {
        token: Bytes::copy_from_slice(evidence.token.expose()),
        client_address: evidence.client_address.clone(),
        tls_identity: evidence.tls_identity.clone(),
        received_by: evidence.received_by.0,
    }
}

/// The id is the same over forwarding and retries, so that all their records belong together.
fn set_request_id(call: &mut v1::Call, id: RequestId) {
    if let Some(header) = call.header_mut() {
        header.request_id = id.to_string();
    }
}

/// Failover takes about a second; waiting shorter than this for a change would be idle.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Longer than a leader's first entry takes. One that does not get it through has no majority.
const LEAD_PATIENCE: Duration = Duration::from_secs(1);
/// A forwarded request carries what is left of its caller's time, but no node believes in more than this.
const FORWARDED_MS_MAX: u64 = 600_000;
