//! Takes a client's call to where it can be served: here, if this node leads, or at the leader.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aumbry_api::v1::{self, forward_answer};
use aumbry_api::{Reply as _, Tries};
use aumbry_logical::Verb;
use aumbry_node::{Answer, Class, Consistency, Evidence, Failure, Node, Operation, Position, Reply, Request};
use aumbry_raft::ForwardError;
use aumbry_types::{NamespacePath, NodeId, RequestId, SecretBytes, hex};
use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;

use crate::convert;
use crate::lifecycle::Lifecycle;
use crate::logical::{self, Content, Resolved, Sealed};
use crate::machine;
use crate::member::Member;
use crate::metrics::RequestLabels;
use crate::ticket::Ticket;
use crate::unseal_records;

/// The way from the listener to the pipeline.
pub(crate) struct Gateway {
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Gives what this node has counted, once there is something that counts.
    pub(crate) scrape: OnceLock<Scrape>,
}

/// Gives what a node has counted, as Prometheus reads it.
pub(crate) type Scrape = Box<dyn Fn() -> String + Send + Sync>;

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
            Err(failure) if REFUSALS.contains(&failure.reason.as_str()) => "refused",
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

    /// Serves a call, or a report, that another node hands over. It is not handed on: two nodes that each take the other for the leader would pass
    /// it back and forth.
    pub(crate) async fn serve_forwarded(&self, from: NodeId, forwarded: Bytes) -> Bytes {
        let answer = match v1::Forwarded::decode(forwarded) {
            Ok(v1::Forwarded {
                unseal_report: Some(report),
                ..
            }) => self.record_unsealing(from, report).await,
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

    /// Records what was tried on the seal of the member that says so: of no other one, whatever it says.
    async fn record_unsealing(&self, from: NodeId, report: v1::UnsealReport) -> Result<v1::Answer, v1::Failure> {
        let none = RequestId::from_bytes([0; 16]);
        let recorded = async {
            let member = self.lifecycle.member().ok_or_else(|| Failure::not_leader(None))?;
            let report = unseal_records::from_wire(report)?;
            member.node.record_unsealing(from, report).await
        };
        let recorded = recorded.await.map_err(|failure| wire_failure(&failure, none));
        recorded.map(|()| v1::Answer::default())
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
            certificates: evidence.certificates.into_iter().map(Vec::from).collect(),
        };
        let deadline = Instant::now() + Duration::from_millis(forwarded.remaining_ms.min(FORWARDED_MS_MAX));
        let call = forwarded.call.unwrap_or_default();
        let wants_receipt = wants_receipt(&call);
        let request = self
            .request(call, evidence, deadline)
            .map_err(|failure| wire_failure(&failure, none))?;
        will_lead(&member, deadline).await;
        let answer = serve_leading(&member, &request, wants_receipt).await;
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
                let answer = serve_leading(&member, &request, wants_receipt(&call)).await;
                answer.map_err(|failure| leader_failure(&member, &failure, id))
            } else {
                match self.forward(&member, &call, &forwardable, &request, deadline).await {
                    // A leader knows better than what this one last heard of full disks. Where none is found, they are why.
                    Err(failure)
                        if failure.reason == "NOT_LEADER" && member.node.has_no_room_for(&request.operation) =>
                    {
                        Err(wire_failure(&Failure::disk_full(), id))
                    }
                    answer => answer,
                }
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
            unseal_report: None,
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
        let namespace =
            NamespacePath::parse(&header.namespace).map_err(|error| Failure::invalid(format!("namespace: {error}")))?;
        Ok(Request {
            id,
            namespace,
            operation: convert::operation(op)?,
            evidence,
            idempotency_key: header.idempotency_key,
            consistency,
            min_index: header.min_index,
            deadline,
            sent: None,
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
            // The same, by path: it was admitted under this name.
            Operation::Logical(ask) if logical::sealed_by(ask).is_some() => {
                match logical::sealed_by(ask) {
                    Some(Sealed::Cluster) => member.node.seal_with_cluster(),
                    _ => member.node.seal(),
                }
                answer
            }
            // The leader has admitted it, and knows nothing of this node. What is wrapped stays the leader's.
            Operation::Logical(ask) if ask.verb == Verb::Read && ask.sent.wrap_ttl_s == 0 => {
                let told = match ask.path.trim_end_matches('/') {
                    "sys/metrics" => serde_json::json!({ METRICS: self.scrape.get().map(|scrape| scrape()) }),
                    "sys/host-info" => machine::told(&self.lifecycle),
                    _ => return answer,
                };
                let header = answer_header(answer);
                v1::LogicalReply {
                    header,
                    data: told.to_string().into(),
                    ..v1::LogicalReply::default()
                }
                .into_answer()
            }
            _ => answer,
        }
    }
}

fn answer_header(answer: v1::Answer) -> Option<v1::ReplyHeader> {
    v1::LogicalReply::from_answer(answer).and_then(|reply| reply.header)
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

/// Serves a request on the node that leads. What is asked by path is resolved first, on the state that the leader plans on.
async fn serve_leading(member: &Member, request: &Request, wants_receipt: bool) -> Result<v1::Answer, Failure> {
    let header = |position: Position| {
        // Who is given none although he asked, was answered all the same: what was asked is done.
        let receipt = wants_receipt.then(|| member.node.receipt(position, request.id));
        reply_header(position, request.id, receipt.flatten().unwrap_or_default())
    };
    let Operation::Logical(ask) = &request.operation else {
        let Answer { reply, position } = member.node.serve(request).await?;
        let mut answer = complete(member, &request.operation, reply)?;
        answer.set_header(header(position));
        return Ok(answer);
    };
    Node::check_wrapping(ask.sent.wrap_ttl_s)?;
    let (namespace, path) = logical::place(member, &request.namespace, &ask.path)?;
    let Resolved {
        operation,
        render,
        absence,
    } = logical::resolve(member, request, &namespace, &path, ask).await?;
    // To wrap is to store: whoever has no token stores nothing before a login is done.
    let is_stateless = matches!(&operation, Operation::Login(login) if login.stores_nothing());
    if is_stateless && ask.sent.wrap_ttl_s > 0 {
        return Err(Failure::invalid(
            "the answer holds no secret, and is not wrapped: ask without a wrapping time",
        ));
    }
    if operation.tells_once() && ask.sent.wrap_ttl_s > 0 {
        return Err(Failure::invalid(
            "the answer is told once and stored nowhere, so it is not wrapped: ask without a wrapping time",
        ));
    }
    let resolved = request.resolved(namespace, operation);
    let (content, position) = match member.node.serve(&resolved).await {
        Ok(Answer { reply, position }) => {
            let content = render(member, reply).map_err(|failure| failure.at(position))?;
            (content, position)
        }
        Err(failure) => absence.told_of(failure)?,
    };
    let (content, position) = match ask.sent.wrap_ttl_s {
        0 => (content, position),
        _ if content.wrap_info.is_some() || content.data.is_none() && content.auth.is_none() => (content, position),
        ttl_s => wrap(member, &resolved, &path, &content, ttl_s).await?,
    };
    let bytes = |secret: Option<SecretBytes>| secret.map(|secret| Bytes::copy_from_slice(secret.expose()));
    let mut answer = v1::LogicalReply {
        header: None,
        data: bytes(content.data).unwrap_or_default(),
        auth: bytes(content.auth).unwrap_or_default(),
        wrap_info: bytes(content.wrap_info).unwrap_or_default(),
        warnings: content.warnings,
        mount_type: content.mount_type,
        absent: content.absent,
        lease_duration_s: content.lease_duration_s,
        accepted: content.is_accepted,
        namespace: resolved.namespace.as_str().to_owned(),
    }
    .into_answer();
    answer.set_header(header(position));
    Ok(answer)
}

/// Puts a wrapping token in the place of what was answered. What has nothing to wrap, or is wrapped already, stays as it is.
async fn wrap(
    member: &Member,
    request: &Request,
    path: &str,
    content: &Content,
    ttl_s: u64,
) -> Result<(Content, Position), Failure> {
    let accessor = content.auth.as_ref().and_then(|auth| {
        let auth: serde_json::Value = serde_json::from_slice(auth.expose()).ok()?;
        auth["accessor"].as_str().map(str::to_owned)
    });
    let accessor = accessor.unwrap_or_default();
    let path = path.trim_end_matches('/');
    let reply = content.encode()?;
    let wrapping = member.node.wrap(request, path, &reply, ttl_s, &accessor);
    let (wrapped, position) = wrapping.await?;
    let content = Content {
        wrap_info: Some(logical::encode(&wrapped.render())?),
        ..Content::default()
    };
    Ok((content, position))
}

/// The answer without its header, completed by what only the leader knows.
fn complete(member: &Member, operation: &Operation, reply: Reply) -> Result<v1::Answer, Failure> {
    Ok(match (operation, reply) {
        (Operation::Members, _) => v1::MembersReply {
            header: None,
            members: member.members(),
        }
        .into_answer(),
        (Operation::JoinTokenCreate(_), Reply::JoinToken(secret)) => {
            let join_token = join_ticket(member, secret)?;
            v1::JoinTokenCreateReply {
                header: None,
                join_token,
            }
            .into_answer()
        }
        (operation, reply) => convert::answer(operation, reply)
            .ok_or_else(|| Failure::internal("the reply does not go with the request"))?,
    })
}

/// Whether the answer is to hold a receipt.
fn wants_receipt(call: &v1::Call) -> bool {
    call.header().is_some_and(|header| header.receipt)
}

fn reply_header(position: Position, id: RequestId, receipt: String) -> v1::ReplyHeader {
    v1::ReplyHeader {
        index: position.index,
        term: position.term,
        request_id: id.to_string(),
        audit_seq: position.audit_seq,
        receipt,
    }
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
        certificates: evidence
            .certificates
            .iter()
            .map(|der| Bytes::copy_from_slice(der))
            .collect(),
    }
}

/// The id is the same over forwarding and retries, so that all their records belong together.
fn set_request_id(call: &mut v1::Call, id: RequestId) {
    if let Some(header) = call.header_mut() {
        header.request_id = id.to_string();
    }
}

/// The member of an answer about `sys/metrics` that holds the text.
pub(crate) const METRICS: &str = "metrics";
/// Reasons of failures that are refusals.
const REFUSALS: [&str; 3] = ["PERMISSION_DENIED", "TOKEN_INVALID", "LOGIN_REFUSED"];
/// Failover takes about a second; waiting shorter than this for a change would be idle.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Longer than a leader's first entry takes. One that does not get it through has no majority.
const LEAD_PATIENCE: Duration = Duration::from_secs(1);
/// A forwarded request carries what is left of its caller's time, but no node believes in more than this.
const FORWARDED_MS_MAX: u64 = 600_000;
