//! What takes an entry of its own beside that of a request: the proof that a leader leads, and a reply that is wrapped.

use aumbry_audit::Outcome;
use aumbry_auth::token::{TTL_S_MAX, WrapError, Wrapped};
use aumbry_types::{LeaderId, SecretBytes};
use tokio::time::Instant;

use crate::{Class, Failure, Node, Position, Request, record};

impl Node {
    /// Waits until an entry that was appended from now on is applied in this leadership: then nobody else led when this began. A refusal without a
    /// record of its own rests on that; all others rest on their records.
    pub(crate) async fn prove_leadership(&self, leader: Option<LeaderId>, deadline: Instant) -> Result<(), Failure> {
        let mut changed = self.consensus.changed();
        let not_leader = || Failure::not_leader(self.consensus.changed().borrow().leader);
        let after = self.consensus.status().last_log;
        loop {
            let proof = changed.wait_for(|change| change.leadership != leader || change.applied > after);
            let until = deadline.min(Instant::now() + PROOF_PAUSE);
            match tokio::time::timeout_at(until, proof).await {
                Ok(Ok(change)) if change.leadership == leader && leader.is_some() => return Ok(()),
                Ok(_) => return Err(not_leader()),
                Err(_) if until == deadline => return Err(not_leader()),
                // Nobody else has anything to write: one entry serves all who wait.
                Err(_) if self.refusals.may_prove(self.clock.boottime_ms()) => {
                    let region = &self.outside.region;
                    let record = |leader: LeaderId, id| record::internal(PROOF, leader.node.0, region, id);
                    // In quarantine too: whoever is refused then must be told so.
                    drop(self.plan_recorded(record, |_| Ok(true))?);
                }
                Err(_) => {}
            }
        }
    }

    /// Refuses a time for which nothing is wrapped, before anything is done whose reply would be lost to it.
    ///
    /// # Errors
    /// [`Failure`], which says for how long a reply is wrapped.
    pub fn check_wrapping(ttl_s: u64) -> Result<(), Failure> {
        match ttl_s {
            0..=TTL_S_MAX => Ok(()),
            _ => Err(Failure::invalid(WrapError::Ttl.to_string())),
        }
    }

    /// Wraps a reply of this request, which was served: a token that opens it once, for so many seconds. On record under the request's own id.
    ///
    /// # Errors
    /// [`Failure`]: the reply is lost, as if its answer was. What was changed is changed, so of a write it says that the outcome is unknown.
    pub async fn wrap(
        &self,
        request: &Request,
        path: &str,
        reply: &SecretBytes,
        ttl_s: u64,
        accessor: &str,
    ) -> Result<(Wrapped, Position), Failure> {
        let wrapping = self.wrap_reply(request, path, reply, ttl_s, accessor).await;
        wrapping.map_err(|failure| match request.operation.is_write() {
            true => Failure::unknown(
                Class::Unavailable,
                "the request was carried out, and its reply could not be wrapped; look what became of it before it is made again",
            ),
            false => failure,
        })
    }

    async fn wrap_reply(
        &self,
        request: &Request,
        path: &str,
        reply: &SecretBytes,
        ttl_s: u64,
        accessor: &str,
    ) -> Result<(Wrapped, Position), Failure> {
        let region = &self.outside.region;
        let record = |leader: LeaderId, _| record::internal(WRAP, leader.node.0, region, request.id);
        let mut wrapped = None;
        let waiter = self.plan_recorded(record, |txn| {
            let namespace = aumbry_auth::namespace::find(txn, &request.namespace)?;
            let namespace = namespace.ok_or_else(Failure::denied)?;
            txn.enter_namespace(namespace);
            let made = aumbry_auth::token::wrap(txn, reply.expose(), path, ttl_s, accessor);
            wrapped = Some(made.map_err(|error| Failure::invalid(error.to_string()))?);
            Ok(true)
        })?;
        let (Some(waiter), Some(wrapped)) = (waiter, wrapped) else {
            return Err(Failure::internal("nothing was wrapped"));
        };
        let placed = self.wait(request, waiter).await?;
        match placed.outcome {
            // From then on nothing of the store leaves it.
            Outcome::Ok if !self.is_unsealed() => Err(Failure::sealed()),
            Outcome::Ok => Ok((
                wrapped,
                Position {
                    index: placed.index,
                    term: placed.term,
                    audit_seq: placed.seq,
                },
            )),
            _ => Err(Failure::internal("the plan was refused by apply")),
        }
    }
}

/// The name in audit records of a reply that was wrapped.
const WRAP: &str = "wrapping.made";
/// The name in audit records of an entry that shows that a leader leads.
const PROOF: &str = "sys.leads";
/// Longer than an entry takes where there is traffic.
const PROOF_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
