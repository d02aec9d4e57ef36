//! What each operation does, once it is allowed.

mod audit;
mod cluster;
mod explain;
mod kv;
mod lease;
mod look;
mod method;
mod mount;
mod page;
mod policy;
mod seal;
mod token;

use aumbry_auth::Caller;
use aumbry_barrier::Txn;
use aumbry_state::Member;
use aumbry_types::NodeId;

use crate::authorize::Needs;
use crate::logins::Verified;
use crate::look::{Look, What};
use crate::method::{Asked, MethodAsk};
use crate::mounts::{AuthCache, MountTable};
use crate::{
    AuditQuery, Failure, Node, Operation, ProofAsk, Reply, Request, audit_floor, cluster_seal, erasure, logins,
    restored,
};

pub(crate) use audit::{sign, wait_before};
pub(crate) use cluster::join;
pub(crate) use method::{encode as encode_object, exists as method_exists};
pub use mount::auth_methods;
pub(crate) use mount::enter as enter_mount;
pub(crate) use page::cut;
pub(crate) use policy::enter as enter_policy;
pub(crate) use token::{create_failure, find as token_of};

/// What follows once the record is committed and applied.
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// A joined node is to be added as a learner.
    AddLearner(Member),
    /// A learner is to become a voter.
    Promote(NodeId),
    /// A member is to be removed.
    Remove(NodeId),
    /// Leadership is to be handed over.
    Transfer(Option<NodeId>),
    /// Audit records are to be read.
    ReadAudit {
        /// The first sequence number.
        from: u64,
        /// At most so many.
        limit: usize,
    },
    /// Audit records are to be looked for.
    QueryAudit(Box<AuditQuery>),
    /// The audit tree is to be signed.
    Checkpoint,
    /// A proof about it is to be found.
    Proof(ProofAsk),
}

/// Plans an operation that is allowed.
pub(crate) fn plan(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    request: &Request,
    needs: Needs,
    caller: &Caller,
    privileged: bool,
    verified: &Verified,
) -> Result<(Reply, Effect), Failure> {
    let operation = &request.operation;
    let reply = match operation {
        Operation::Kv(_) => {
            let (mount, request) = needs.kv.ok_or_else(Failure::denied)??;
            kv::plan(txn, &mount, &request)?
        }
        Operation::PlainKv(_) => {
            let (mount, request) = needs.plain.ok_or_else(Failure::denied)??;
            kv::plan_plain(txn, &mount, &request)?
        }
        Operation::MountOf(path) => mount::of(txn, auth, caller, path)?,
        Operation::MountsSeen => mount::seen(txn, auth, caller)?,
        Operation::Method(ask) => method::plan(txn, auth, caller, ask)?,
        Operation::Wrapped(ask) => logins::wrapped(txn, ask)?,
        Operation::NoRoute(no_route) => return Err(no_route.failure.clone()),
        Operation::Capabilities { token, paths } => token::capabilities(txn, auth, caller, token, paths)?,
        Operation::TokenList { after, limit } => token::list(txn, after, *limit)?,
        Operation::TokenCreate(create) => token::create(txn, auth, caller, privileged, create)?,
        Operation::TokenLookup(name) => token::lookup(txn, auth, caller, name)?,
        Operation::TokenRenew(name, increment_s) => {
            token::renew(txn, auth, caller, (&request.evidence, verified), name, *increment_s)?
        }
        Operation::TokenRevoke(name) => token::revoke(txn, caller, name)?,
        Operation::TokenOrphan(name) => token::revoke_orphan(txn, caller, name)?,
        Operation::Lease(ask) => lease::plan(txn, auth, ask)?,
        Operation::Look(Look {
            what: What::AuditQuery(query),
            ..
        }) => return Ok((Reply::Done, audit::query(txn, &request.namespace, query)?)),
        Operation::Look(look) => look::plan(txn, auth, caller, look)?,
        Operation::PolicyWrite(name, text) => policy::write(txn, name, text)?,
        Operation::PolicyRead(name) => policy::read(txn, name)?,
        Operation::PolicyExplain(ask) => explain::explain(txn, auth, caller, ask)?,
        Operation::PolicyList => policy::list(txn)?,
        Operation::PolicyDelete(name) => policy::delete(txn, name)?,
        Operation::MountEnable {
            table,
            path,
            kind,
            description,
            options,
        } => mount::enable(txn, auth, *table, path, (kind, description), options)?,
        Operation::MountDisable(table, path, contents) => mount::disable(txn, auth, *table, path, *contents)?,
        Operation::MountMove { table, from, to } => mount::relocate(txn, auth, *table, from, to)?,
        Operation::MountTune(table, path, change) => mount::tune(txn, auth, *table, path, change)?,
        Operation::MountRead(table, path) => mount::read(txn, auth, *table, path)?,
        Operation::MountRows(table) => mount::table(txn, auth, *table)?,
        Operation::KvConfigRead(path) => mount::read(txn, auth, MountTable::Secrets, path)?,
        Operation::KvConfigWrite(path, change) => mount::tune(txn, auth, MountTable::Secrets, path, change)?,
        Operation::MountList => mount::list(txn, auth)?,
        Operation::SealCluster => cluster_seal::seal(txn)?,
        Operation::SealRelease => cluster_seal::release(txn)?,
        Operation::SealAdd { key, shares, outer } => seal::add(txn, key, shares, outer.as_ref())?,
        Operation::SealList => seal::list(txn)?,
        Operation::SealRemove(key) => seal::remove(txn, *key)?,
        Operation::JoinTokenCreate(ttl_s) => cluster::create_join_token(txn, *ttl_s)?,
        Operation::Promote(node) => return Ok((Reply::Done, Effect::Promote(*node))),
        Operation::Remove(node) => return Ok((Reply::Done, Effect::Remove(*node))),
        Operation::Transfer(to) => return Ok((Reply::Done, Effect::Transfer(*to))),
        Operation::StepDown => return Ok((Reply::Done, Effect::Transfer(None))),
        Operation::AuditRead { from, limit, .. } => {
            return Ok((Reply::Audit(Vec::new()), audit::read(*from, *limit)?));
        }
        Operation::AuditFloor => audit_floor::read(txn)?,
        Operation::AuditPrune(ask) => match verified {
            Verified::Floor(found) => match &**found {
                Ok(floor) => audit_floor::plan(txn, ask, floor)?,
                Err(failure) => return Err(failure.clone()),
            },
            _ => return Err(Failure::denied()),
        },
        Operation::AuditCheckpoint => return Ok((Reply::Done, Effect::Checkpoint)),
        Operation::AuditProof(ask) => return Ok((Reply::Done, Effect::Proof(*ask))),
        Operation::SnapshotRelease => restored::release(txn)?,
        Operation::WrapData
        | Operation::Status
        | Operation::Seal
        | Operation::Members
        | Operation::SnapshotSave
        | Operation::TokenTidy => Reply::Done,
        Operation::Join(_) | Operation::Logical(_) | Operation::Login(_) => return Err(Failure::denied()),
    };
    Ok((reply, Effect::None))
}

/// Carries out what follows, and completes the reply.
pub(crate) async fn finish(node: &Node, request: &Request, reply: Reply, effect: Effect) -> Result<Reply, Failure> {
    // Whoever is told that there is a new key writes with it.
    if let Operation::Method(MethodAsk { asked, .. }) = &request.operation {
        match asked {
            Asked::Keys(keys) if keys.is_write() => node.follow_keys(),
            Asked::Rekey(rekey) if rekey.is_write() => node.follow_keys(),
            _ => {}
        }
    }
    match effect {
        Effect::None
            if matches!(
                &request.operation,
                Operation::Method(MethodAsk {
                    asked: Asked::Erasure(_),
                    ..
                })
            ) =>
        {
            erasure::complete(node, reply)
        }
        Effect::None => Ok(reply),
        Effect::ReadAudit { from, limit } => audit::rows(node, from, limit),
        Effect::QueryAudit(query) => node.search(&query, request.deadline).await,
        Effect::Checkpoint => audit::checkpoint(node),
        Effect::Proof(ask) => audit::proof(node, ask),
        Effect::AddLearner(_) | Effect::Promote(_) | Effect::Remove(_) | Effect::Transfer(_) => {
            cluster::change(node, request, effect).await.map(|()| reply)
        }
    }
}
