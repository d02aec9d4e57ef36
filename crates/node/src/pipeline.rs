//! One request, from admission to reply. Read this file first.
//!
//! admission -> unsealed? -> leading? -> authenticate -> decide -> plan -> audit record -> queue -> proposed, committed, applied ->
//! reply. The steps from authentication to the queue happen under one lock, on one state: the order of plans is the order in the log.

use aumbry_audit::{Outcome, commitment};
use aumbry_auth::Caller;
use aumbry_auth::token::{Refusal, authenticate, is_batch};
use aumbry_barrier::{Barrier, Txn};
use aumbry_state::{ProposeError, Reads};
use aumbry_types::{LeaderId, LogTime, RequestId};
use tokio::sync::oneshot;

use crate::allow::{Allowed, allow};
use crate::keys::Uses;
use crate::logins::{self, Verified};
use crate::mounts::AuthCache;
use crate::namespaces::check_scope;
use crate::operation::Operation;
use crate::ops::Effect;
use crate::planner::{Placed, Planner, Queued};
use crate::record::{self, Facts};
use crate::time::Timekeeper;
use crate::{
    Answer, Class, Consistency, Failure, Node, Position, Reply, Request, authorize, certificates, dedup, genesis, ops,
    quotas, restored,
};

pub(crate) type Waiter = oneshot::Receiver<Result<Placed, ProposeError>>;

/// What planning gave: an answer that waits for its record to be applied, if there is one.
struct Planned {
    result: Result<Reply, Failure>,
    waiter: Option<Waiter>,
    effect: Effect,
}

impl Node {
    /// Serves a request on the leader. On another node it fails as `NOT_LEADER` with the leader, for the caller to forward it.
    ///
    /// # Errors
    /// [`Failure`]; what it says of the outcome can be relied on.
    pub async fn serve(&self, request: &Request) -> Result<Answer, Failure> {
        let Some(place) = self.admission.admit(&*self.clock) else {
            return Err(Failure::overloaded());
        };
        self.check(request)?;
        ops::wait_before(self, request).await;
        for attempt in 1..=ATTEMPTS_MAX {
            // Before the view is taken: a leadership that ended and began again in between proves nothing of it.
            let leader = self.consensus.leadership();
            let verified = self.verify(request).await?;
            let Planned { result, waiter, effect } = match self.plan(request, attempt, &verified) {
                Err(failure) if failure.reason == STALE => continue,
                Err(failure) if failure.reason == UNRECORDED => {
                    // Who floods with bad tokens takes no place from others while it waits.
                    drop(place);
                    self.prove_leadership(leader, request.deadline).await?;
                    return Err(refusal_of(&request.operation));
                }
                planned => planned?,
            };
            let Some(waiter) = waiter else {
                drop(place);
                self.prove_leadership(leader, request.deadline).await?;
                let position = Position::default();
                return result.map(|reply| Answer { reply, position });
            };
            let placed = self.wait(request, waiter).await?;
            let position = Position {
                index: placed.index,
                term: placed.term,
                audit_seq: placed.seq,
            };
            match placed.outcome {
                Outcome::Ok => {
                    let reply = result.map_err(|failure| failure.at(position))?;
                    // Who sealed the whole cluster is told so: the answer says nothing else.
                    if !self.is_unsealed() && !matches!(request.operation, Operation::SealCluster) {
                        return Err(sealed_meanwhile(request).at(position));
                    }
                    let reply = ops::finish(self, request, reply, effect)
                        .await
                        .map_err(|failure| failure.at(position))?;
                    return Ok(Answer { reply, position });
                }
                // The token went, or was used up, between plan and apply.
                Outcome::Expired | Outcome::Exhausted => {
                    return Err(refusal_of(&request.operation).at(position));
                }
                Outcome::Conflict => {}
                Outcome::Rejected | Outcome::Clear => {
                    return Err(Failure::internal("the plan was refused by apply").at(position));
                }
            }
        }
        Err(Failure::new(Class::Aborted, "CONFLICT", "the request lost too many races; try again").retry())
    }

    /// Makes a plan and queues it, all on one state.
    fn plan(&self, request: &Request, attempt: u32, verified: &Verified) -> Result<Planned, Failure> {
        let mut guard = self.sequencer.lock();
        let planner = &mut *guard;
        let (leader, now) = self.enter_leadership(planner)?;
        let barrier = self.seal.barrier().ok_or_else(Failure::sealed)?;
        self.check_room(&request.operation)?;
        self.confirm(planner, &barrier, leader, now)?;
        let mut txn = Txn::new(&planner.overlay, &barrier, &self.lists, &*self.entropy, now);
        let made = self.decide(&mut txn, &mut planner.auth, request, verified)?;
        if made.result.is_err() {
            txn.abandon();
        }
        if made.is_only_counted {
            return Ok(Planned {
                result: made.result,
                waiter: None,
                effect: made.effect,
            });
        }
        let record = record::make(
            barrier.keyring().fields(),
            Facts {
                request,
                attempt,
                caller: made.caller.as_ref(),
                policies: made.policies,
                rule: made.rule,
                needed: made.needed,
                result: made.result.as_ref(),
                replayed: made.replayed,
                leader: leader.node.0,
                region: &self.outside.region,
            },
        );
        let (queued, reads, waiter) = self.make_command(&mut planner.uses, &barrier, txn, record.encode())?;
        planner.enqueue(queued, reads, now);
        drop(guard);
        self.sequencer.ring();
        Ok(Planned {
            result: made.result,
            waiter: Some(waiter),
            effect: made.effect,
        })
    }

    /// Authenticates, decides and plans. Fails only where no record is to be made.
    fn decide(
        &self,
        txn: &mut Txn<'_>,
        auth: &mut AuthCache,
        request: &Request,
        verified: &Verified,
    ) -> Result<Made, Failure> {
        let found = auth.begin(txn, &request.namespace)?;
        if let Operation::Join(join) = &request.operation {
            let mut made = Made::default();
            let joined = check_scope(&request.operation, &request.namespace).and_then(|()| ops::join(self, txn, join));
            match joined {
                Ok((reply, effect)) => {
                    made.effect = effect;
                    made.result = Ok(reply);
                }
                Err(_) if self.count_refusal(request).is_err() => return Err(unrecorded()),
                Err(failure) => made.result = Err(failure),
            }
            return Ok(made);
        }
        if let Operation::Login(ask) = &request.operation {
            return self.decide_login(txn, auth, request, ask, verified, found.is_some());
        }
        if let Operation::Wrapped(ask) = &request.operation
            && aumbry_auth::token::is_wrapping(request.evidence.token.expose())
        {
            return self.decide_wrapped(txn, auth, request, ask, found.is_some());
        }
        let custom = auth.allows_custom_tokens(txn);
        let evidence = &request.evidence;
        let caller = match authenticate(txn, evidence.token.expose(), custom, &evidence.client_address) {
            Ok(caller) => caller,
            Err(Refusal::Damaged(damaged)) => return Err(damaged.into()),
            Err(Refusal::Invalid) => {
                let text = request.evidence.token.expose();
                if let Err(refused) = self.count_refusal(request) {
                    // What can be no token is none on any node. What can be one may be known to another leader, if this one leads no more.
                    let can_be_one = custom || aumbry_crypto::token::parse(text).is_ok() || is_batch(text);
                    return Err(if can_be_one { unrecorded() } else { refused });
                }
                return Ok(Made {
                    result: Err(Failure::unauthenticated()),
                    ..Made::default()
                });
            }
        };
        let mut made = Made::default();
        let admitted = auth.admit(txn, &caller, &request.namespace, found);
        let decided = admitted.and_then(|()| self.decide_for(txn, auth, request, &caller, verified, &mut made));
        match decided {
            Ok((reply, effect)) => {
                made.result = Ok(reply);
                made.effect = effect;
            }
            // It begins again, and is recorded then.
            Err(failure) if failure.reason == STALE => return Err(failure),
            // Of a flood the first are recorded one by one, and the rest by their number.
            Err(failure) if failure.reason == quotas::EXCEEDED && !self.is_single(quotas::EXCEEDED, request) => {
                return Err(failure);
            }
            Err(failure) => made.result = Err(failure),
        }
        made.caller = Some(caller);
        Ok(made)
    }

    fn decide_for(
        &self,
        txn: &mut Txn<'_>,
        auth: &mut AuthCache,
        request: &Request,
        caller: &Caller,
        verified: &Verified,
        made: &mut Made,
    ) -> Result<(Reply, Effect), Failure> {
        let operation = &request.operation;
        if auth.is_quarantined(txn) && !caller.is_root() {
            return Err(restored::quarantined());
        }
        certificates::check(txn, caller, &request.evidence)?;
        check_scope(operation, &request.namespace)?;
        self.check_index(request)?;
        let stored = dedup::find(txn, request, caller.id)?;
        made.replayed = stored.is_some();
        let needs = authorize::needs(txn, auth, operation)?;
        if let Some(need) = needs.all.first() {
            let address = &request.evidence.client_address;
            let path = request.namespace.full(&need.path);
            quotas::check(self, txn, auth, &path, None, Some(caller), address)?;
            if !path.starts_with("sys/quotas/") {
                quotas::numbers::check_wrapping(txn, request)?;
            }
        }
        // What was allowed then may not be allowed now: a stored reply can hold a token.
        let Allowed {
            needs,
            privileged,
            limit,
        } = allow(txn, auth, request, needs, caller, made)?;
        if let Some(reply) = stored {
            return Ok((reply, Effect::None));
        }
        let (mut reply, effect) = ops::plan(txn, auth, request, needs, caller, privileged, verified)?;
        if let Some(limit) = limit {
            ops::cut(&mut reply, limit)?;
        }
        // What follows the record may fail, and does no harm if it is done again: only what is done with the record is done once.
        if matches!(effect, Effect::None) {
            dedup::keep(txn, request, caller.id, &reply);
        }
        Ok((reply, effect))
    }

    /// A read at an index: every read reflects all that was acknowledged, so an index that is not reached is of another history, of another
    /// cluster or of the one that this was restored from.
    fn check_index(&self, request: &Request) -> Result<(), Failure> {
        let applied = self.consensus.changed().borrow().applied.0;
        if request.consistency == Consistency::Linearizable || request.min_index <= applied {
            return Ok(());
        }
        let wanted = request.min_index;
        let text =
            format!("the cluster is at index {applied}, min_index is {wanted}: it is not an index of this cluster");
        Err(Failure::new(Class::FailedPrecondition, "INDEX_AHEAD", text))
    }

    /// Whether the request would be allowed now. Nothing is planned, counted or recorded: only for waiting before it is planned.
    pub(crate) fn is_allowed(&self, request: &Request) -> bool {
        let mut guard = self.sequencer.lock();
        let planner = &mut *guard;
        let Ok((_, now)) = self.enter_leadership(planner) else {
            return false;
        };
        let Some(barrier) = self.seal.barrier() else {
            return false;
        };
        let mut txn = Txn::new(&planner.overlay, &barrier, &self.lists, &*self.entropy, now);
        let auth = &mut planner.auth;
        let found = auth.begin(&mut txn, &request.namespace);
        let custom = found.is_ok() && auth.allows_custom_tokens(&txn);
        let evidence = &request.evidence;
        let Ok(caller) = authenticate(&mut txn, evidence.token.expose(), custom, &evidence.client_address) else {
            return false;
        };
        let is_here = found.is_ok_and(|found| auth.admit(&mut txn, &caller, &request.namespace, found).is_ok())
            && check_scope(&request.operation, &request.namespace).is_ok();
        let needs = authorize::needs(&mut txn, auth, &request.operation);
        let may = |needs| allow(&mut txn, auth, request, needs, &caller, &mut Made::default()).is_ok();
        is_here && needs.is_ok_and(may)
    }

    /// Before anything else in a leadership: the first entry can no more be repeated. A repetition removes every row, so nothing may
    /// be acknowledged while one is possible.
    fn confirm(&self, planner: &mut Planner, barrier: &Barrier, leader: LeaderId, now: LogTime) -> Result<(), Failure> {
        if planner.confirmed {
            return Ok(());
        }
        let mut txn = Txn::new(&planner.overlay, barrier, &self.lists, &*self.entropy, now);
        self.check_adopted(&txn)?;
        if genesis::confirm(&mut txn)? {
            let id = RequestId::make(&*self.entropy);
            let record = record::internal(genesis::CONFIRM, leader.node.0, &self.outside.region, id);
            // Nobody waits for it: if it is refused, so is every plan after it, as their tokens are gone.
            let (queued, reads, _) = self.make_command(&mut planner.uses, barrier, txn, record.encode())?;
            planner.enqueue(queued, reads, now);
        }
        planner.confirmed = true;
        Ok(())
    }

    /// Counts a refusal before authentication. Fails, without a record, once there were many.
    pub(crate) fn count_refusal(&self, request: &Request) -> Result<(), Failure> {
        if self.is_single(request.operation.name(), request) {
            Ok(())
        } else {
            Err(Failure::unauthenticated())
        }
    }

    /// Counts a refusal. True if it is to be recorded by itself.
    pub(crate) fn is_single(&self, name: &'static str, request: &Request) -> bool {
        let source = source_of(&request.evidence.client_address);
        self.refusals.count(name, source, self.clock.boottime_ms())
    }

    /// Queues what the leader does by itself: a plan with a record of its own.
    pub(crate) fn plan_internal(
        &self,
        operation: &str,
        make: impl FnOnce(&mut Txn<'_>) -> Result<bool, Failure>,
    ) -> Result<Option<Waiter>, Failure> {
        let record = |leader: LeaderId, id| record::internal(operation, leader.node.0, &self.outside.region, id);
        self.plan_recorded(record, |txn| {
            self.check_adopted(txn)?;
            // In quarantine nothing happens by itself.
            Ok(!restored::is_quarantined(txn) && make(txn)?)
        })
    }

    /// As [`Self::plan_internal`], with any record. `make` says whether there is anything to do.
    pub(crate) fn plan_recorded(
        &self,
        record: impl FnOnce(LeaderId, RequestId) -> aumbry_audit::Record,
        make: impl FnOnce(&mut Txn<'_>) -> Result<bool, Failure>,
    ) -> Result<Option<Waiter>, Failure> {
        let mut guard = self.sequencer.lock();
        let planner = &mut *guard;
        let (leader, now) = self.enter_leadership(planner)?;
        let barrier = self.seal.barrier().ok_or_else(Failure::sealed)?;
        self.check_own_room()?;
        let mut txn = Txn::new(&planner.overlay, &barrier, &self.lists, &*self.entropy, now);
        if !make(&mut txn)? {
            return Ok(None);
        }
        let record = record(leader, RequestId::make(&*self.entropy));
        let (queued, reads, waiter) = self.make_command(&mut planner.uses, &barrier, txn, record.encode())?;
        planner.enqueue(queued, reads, now);
        drop(guard);
        self.sequencer.ring();
        Ok(Some(waiter))
    }

    fn make_command(
        &self,
        uses: &mut Uses,
        barrier: &Barrier,
        mut txn: Txn<'_>,
        record: Vec<u8>,
    ) -> Result<(Queued, Reads, Waiter), Failure> {
        uses.reserve(&mut txn);
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        let (command, reads) = txn.finish_with_reads(commitment(&barrier.storage_id(), &salt, &record));
        if command.writes.len() > PARTS_MAX || command.preconditions.len() > PARTS_MAX {
            return Err(Failure::invalid("the request touches too many rows at once"));
        }
        let (done, waiter) = oneshot::channel();
        Ok((
            Queued {
                command,
                record,
                salt,
                since_ms: self.clock.boottime_ms(),
                done,
            },
            reads,
            waiter,
        ))
    }

    /// Makes the planner's state that of this node's present leadership.
    pub(crate) fn enter_leadership(&self, planner: &mut Planner) -> Result<(LeaderId, LogTime), Failure> {
        let present = self.consensus.leadership();
        if planner.leadership != present || present.is_none() {
            planner.reset();
            self.lists.clear();
            // The whole cluster may have been sealed by the leader before, while this node heard of nothing.
            self.seal.obey(&*self.consensus.view());
            // The keys may have been changed by the leader before. All that was committed by then is applied.
            self.seal.follow(&*self.consensus.view());
        }
        let leader = present.ok_or_else(|| Failure::not_leader(self.consensus.changed().borrow().leader))?;
        if planner.queue.len() >= QUEUE_MAX {
            return Err(Failure::overloaded());
        }
        planner.leadership = Some(leader);
        let time = match planner.time.take() {
            Some(time) => time,
            None => self.begin_time(planner)?,
        };
        let now = planner.time.insert(time).now(&*self.clock);
        Ok((leader, now))
    }

    /// Begins log time in a leadership. A leader that has only just started has not heard the other voters' clocks yet: it is no leader until it has,
    /// or has waited for long enough.
    fn begin_time(&self, planner: &mut Planner) -> Result<Timekeeper, Failure> {
        let verdict = self.clocks.look(&*self.clock, &self.consensus.status());
        let now = self.clock.boottime_ms();
        let since = *planner.waits_since_ms.get_or_insert(now);
        if verdict.is_open && now.saturating_sub(since) < CLOCKS_WAIT_MS {
            return Err(Failure::not_leader(None));
        }
        let carried = self.clocks.carried(&*self.clock);
        Ok(Timekeeper::take_over(&*self.clock, carried, &verdict))
    }

    /// Waits for the outcome of a queued command, at most until the caller's deadline.
    pub(crate) async fn wait(&self, request: &Request, waiter: Waiter) -> Result<Placed, Failure> {
        let is_write = request.operation.is_write();
        let uncertain = |class, message: &str| {
            if is_write {
                return Failure::unknown(class, message);
            }
            Failure::new(class, "NOT_ANSWERED", message).retry()
        };
        match tokio::time::timeout_at(request.deadline, waiter).await {
            Err(_) => Err(uncertain(
                Class::DeadlineExceeded,
                "no quorum answered before the deadline",
            )),
            Ok(Err(_)) => Err(uncertain(
                Class::Unavailable,
                "the node stopped before the outcome was known",
            )),
            Ok(Ok(Err(ProposeError::NotApplied(_)))) if !self.is_unsealed() => Err(Failure::sealed()),
            Ok(Ok(Err(ProposeError::NotApplied(_)))) => {
                Err(Failure::not_leader(self.consensus.changed().borrow().leader))
            }
            Ok(Ok(Err(ProposeError::Unknown(_)))) => Err(uncertain(
                Class::Unavailable,
                "the leadership changed before the outcome was known",
            )),
            Ok(Ok(Ok(placed))) => Ok(placed),
        }
    }
}

/// What deciding gave, for the record and the reply.
pub(crate) struct Made {
    pub(crate) caller: Option<Caller>,
    pub(crate) policies: Vec<String>,
    pub(crate) rule: String,
    /// What was refused, as a capability and a path.
    pub(crate) needed: String,
    pub(crate) result: Result<Reply, Failure>,
    pub(crate) effect: Effect,
    pub(crate) replayed: bool,
    /// Whether it has no record of its own, but is one of a number of which there is one.
    pub(crate) is_only_counted: bool,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            caller: None,
            policies: Vec::new(),
            rule: String::new(),
            needed: String::new(),
            result: Err(Failure::denied()),
            effect: Effect::None,
            replayed: false,
            is_only_counted: false,
        }
    }
}

/// The node was sealed while the request was on its way: from then on nothing of the store leaves it.
fn sealed_meanwhile(request: &Request) -> Failure {
    if request.operation.is_write() {
        return Failure::unknown(
            Class::Unavailable,
            "the node was sealed before it could tell the outcome",
        );
    }
    Failure::sealed()
}

/// What whoever showed nothing that counts is told.
fn refusal_of(operation: &Operation) -> Failure {
    match operation {
        Operation::Login(ask) => logins::refusal(ask),
        Operation::Wrapped(_) => Failure::invalid("wrapping token is not valid or does not exist"),
        _ => Failure::unauthenticated(),
    }
}

/// A refusal of which there is no record, and which may not be told before it is certain that this node leads.
pub(crate) fn unrecorded() -> Failure {
    Failure::new(Class::Unauthenticated, UNRECORDED, "a refusal that is only counted")
}

/// The address without its port: a flood comes from many ports.
pub(crate) fn source_of(client_address: &str) -> &str {
    aumbry_audit::host(client_address)
}

/// Says that what was verified before a plan is not what stands any more.
pub(crate) const STALE: &str = "STALE";
const UNRECORDED: &str = "UNRECORDED";
/// Commands that wait for a place in an entry.
const QUEUE_MAX: usize = 4_096;
/// Races that one request may lose. A race needs a change of leader, so one or two is the rule.
const ATTEMPTS_MAX: u32 = 8;
/// Peers that are up have told their time long before; of those that are not, a majority agrees without them or does not.
const CLOCKS_WAIT_MS: u64 = 2_000;
/// As apply's own bound on the parts of a command.
const PARTS_MAX: usize = 16_000;
