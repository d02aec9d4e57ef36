//! Tokens.

use aumbry_auth::token::{self, Create, CreateError, Holder, Info, OrphanError, RenewError};
use aumbry_auth::{Caller, NAMESPACE_ROOT, Shelf};
use aumbry_barrier::Txn;
use aumbry_policy::Access;
use aumbry_types::{Capability, ObjectId};

use crate::logins::Verified;
use crate::mounts::AuthCache;
use crate::operation::TokenName;
use crate::request::Evidence;
use crate::{Class, Failure, Reply, certificates, genesis};

pub(super) fn create(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    caller: &Caller,
    privileged: bool,
    wanted: &Create,
) -> Result<Reply, Failure> {
    if wanted.id.is_some() && !genesis::allows_custom_tokens(txn) {
        return Err(Failure::invalid(
            "a token's text can be chosen in development clusters only; elsewhere each has 256 random bits, so that none can be guessed: leave `id` out",
        ));
    }
    let created = token::create(txn, caller, privileged, wanted.clone());
    let mut created = created.map_err(create_failure)?;
    created.info.namespace = auth.told_path(txn, txn.namespace())?;
    Ok(Reply::NewToken(created))
}

/// What a client is told of a token that was not made.
pub(crate) fn create_failure(error: CreateError) -> Failure {
    match error {
        CreateError::PolicyNotHeld => Failure::new(Class::PermissionDenied, "POLICY_NOT_HELD", error.to_string()),
        CreateError::PolicyNotAllowed => Failure::new(Class::InvalidArgument, "POLICY_NOT_ALLOWED", error.to_string()),
        CreateError::NoSuchRole => Failure::new(Class::InvalidArgument, "NO_SUCH_ROLE", error.to_string()),
        CreateError::Invalid(text) => Failure::invalid(text),
        CreateError::Limited(text) => Failure::limited(text),
        CreateError::Damaged(damaged) => damaged.into(),
    }
}

/// A token that is named, and is stored or is not.
enum Found {
    Stored(ObjectId),
    /// What is told of it, and what decides what it may do.
    Batch(Box<Info>, Holder),
}

pub(super) fn lookup(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    caller: &Caller,
    name: &TokenName,
) -> Result<Reply, Failure> {
    let (mut info, holder) = match found(txn, caller, name)? {
        Found::Stored(id) => {
            let info = token::info(txn, id).map_err(renew_failure)?;
            (info, token::holder(txn, id)?.ok_or_else(not_found)?)
        }
        Found::Batch(info, holder) => (*info, holder),
    };
    if let Some(who) = holder.who {
        // Of one whose entity is gone nothing is left to tell.
        let policies = auth.identity_policies_of(txn, holder.namespace, &who);
        info.identity_policies = policies.unwrap_or_default();
    }
    info.namespace = auth.told_path(txn, holder.namespace)?;
    Ok(Reply::Token(info))
}

pub(super) fn renew(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    caller: &Caller,
    (evidence, verified): (&Evidence, &Verified),
    name: &TokenName,
    increment_s: u64,
) -> Result<Reply, Failure> {
    match found(txn, caller, name)? {
        Found::Stored(id) => {
            certificates::check_renewal(txn, id, evidence, verified)?;
            let mut info = token::renew(txn, id, increment_s).map_err(renew_failure)?;
            if let Some(Holder {
                who: Some(who),
                namespace,
                ..
            }) = token::holder(txn, id)?
            {
                let policies = auth.identity_policies_of(txn, namespace, &who);
                info.identity_policies = policies.unwrap_or_default();
            }
            Ok(Reply::Token(info))
        }
        Found::Batch(..) => Err(Failure::invalid("a batch token cannot be renewed; log in again")),
    }
}

/// Revoking what is not there fails: a name that was mistyped would leave the token that was meant. A retry has its stored reply.
pub(super) fn revoke(txn: &mut Txn<'_>, caller: &Caller, name: &TokenName) -> Result<Reply, Failure> {
    match found(txn, caller, name)? {
        Found::Stored(id) if token::revoke(txn, id)? => Ok(Reply::Done),
        Found::Stored(_) => Err(not_found()),
        Found::Batch(..) => Err(Failure::invalid(
            "a batch token cannot be revoked: revoke its parent, or disable its entity",
        )),
    }
}

fn found(txn: &mut Txn<'_>, caller: &Caller, name: &TokenName) -> Result<Found, Failure> {
    let batch = match name {
        TokenName::Own => caller.batch.as_ref().map(|info| {
            let holder = Holder {
                namespace: caller.namespace,
                policies: caller.policies.clone(),
                who: caller.entity.map(|entity| (entity, caller.alias.clone())),
            };
            (info.clone(), holder)
        }),
        TokenName::Text(text) => {
            let info = token::batch_info(txn, text.expose());
            info.zip(token::batch_holder(txn, text.expose()))
                .map(|(info, holder)| (Box::new(info), holder))
        }
        TokenName::Accessor(_) => None,
    };
    match batch {
        Some((info, holder)) => Ok(Found::Batch(info, holder)),
        None => find(txn, caller, name)?.map(Found::Stored).ok_or_else(not_found),
    }
}

/// What decides what a token may do.
pub(super) fn holder(txn: &mut Txn<'_>, caller: &Caller, name: &TokenName) -> Result<Holder, Failure> {
    match found(txn, caller, name)? {
        Found::Stored(id) => token::holder(txn, id)?.ok_or_else(not_found),
        Found::Batch(_, holder) => Ok(holder),
    }
}

/// As [`revoke`], without what is below it.
pub(super) fn revoke_orphan(txn: &mut Txn<'_>, caller: &Caller, name: &TokenName) -> Result<Reply, Failure> {
    let Found::Stored(id) = found(txn, caller, name)? else {
        return Err(Failure::invalid("a batch token cannot be revoked, and has no children"));
    };
    match token::revoke_orphan(txn, id) {
        Ok(()) => Ok(Reply::Done),
        Err(OrphanError::NotFound) => Err(not_found()),
        Err(error @ OrphanError::TooMany) => {
            Err(Failure::new(Class::FailedPrecondition, "TOO_MANY", error.to_string()))
        }
        Err(OrphanError::Insert(error)) => Err(error.into()),
        Err(OrphanError::Damaged(damaged)) => Err(damaged.into()),
    }
}

/// The stored token that is named, if there is one.
pub(crate) fn find(txn: &mut Txn<'_>, caller: &Caller, name: &TokenName) -> Result<Option<ObjectId>, Failure> {
    Ok(match name {
        TokenName::Own => Some(caller.id),
        TokenName::Text(text) => {
            let custom = genesis::allows_custom_tokens(txn);
            token::find_by_text(txn, text.expose(), custom)?
        }
        TokenName::Accessor(accessor) => token::find_by_accessor(txn, accessor)?,
    })
}

fn renew_failure(error: RenewError) -> Failure {
    match error {
        RenewError::NotFound => not_found(),
        RenewError::NotRenewable | RenewError::SourceGone => {
            Failure::new(Class::FailedPrecondition, "NOT_RENEWABLE", error.to_string())
        }
        RenewError::Damaged(damaged) => damaged.into(),
    }
}

fn not_found() -> Failure {
    Failure::new(Class::NotFound, "NOT_FOUND", "no such token")
}

/// The capabilities of a token on paths.
pub(super) fn capabilities(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    caller: &Caller,
    name: &TokenName,
    paths: &[String],
) -> Result<Reply, Failure> {
    if paths.is_empty() || paths.len() > CAPABILITY_PATHS_MAX {
        return Err(Failure::invalid("name 1 to 100 paths"));
    }
    let Holder {
        policies: held,
        who,
        namespace,
    } = holder(txn, caller, name)?;
    let set = auth.policies_for(txn, namespace, &held, who)?;
    let prefix = auth.prefix(txn, namespace)?;
    let now = txn.now();
    let is_root = namespace == NAMESPACE_ROOT && held.iter().any(|policy| policy == "root");
    let on = |path: &String| {
        if is_root {
            return vec!["root".to_owned()];
        }
        let path = &format!("{prefix}{}", path.strip_prefix('/').unwrap_or(path));
        let allows = |capability: &&Capability| {
            let capability = **capability;
            set.decide(&Access::new(path, capability, now)).allowed
        };
        let has_some =
            |capability: &Capability| !matches!(capability, Capability::Deny | Capability::Sudo) && allows(&capability);
        let mut names: Vec<String> = Capability::ALL
            .iter()
            .filter(|capability| has_some(capability))
            .map(|capability| capability.as_str().to_owned())
            .collect();
        let with_sudo = |capability: &&Capability| {
            let access = Access::new(path, **capability, now).protected();
            !matches!(capability, Capability::Deny | Capability::Sudo) && set.decide(&access).allowed
        };
        if Capability::ALL.iter().any(|capability| with_sudo(&capability)) {
            names.push(Capability::Sudo.as_str().to_owned());
        }
        if names.is_empty() {
            names.push(Capability::Deny.as_str().to_owned());
        }
        names.sort_unstable();
        names
    };
    Ok(Reply::Capabilities(paths.iter().map(on).collect()))
}

/// The accessors of all tokens, a page of them.
pub(super) fn list(txn: &mut Txn<'_>, after: &str, limit: usize) -> Result<Reply, Failure> {
    if limit == 0 || limit > LIST_MAX {
        return Err(Failure::invalid("limit is 1 to 10,000"));
    }
    if txn.container(Shelf::Accessors.here(txn))?.children > LISTED_MAX {
        return Err(Failure::new(
            Class::FailedPrecondition,
            "TOO_MANY",
            "there are more than 100,000 tokens, which are not listed; look tokens up by what is known of them",
        ));
    }
    let children = txn.list(Shelf::Accessors.here(txn))?;
    let start = children.partition_point(|child| child.name.as_str() <= after);
    let names = children[start..].iter().take(limit).map(|child| child.name.clone());
    Ok(Reply::Names(names.collect()))
}

/// As many as clients ask at once, and as an audit record has room for.
const CAPABILITY_PATHS_MAX: usize = 100;
/// A page.
const LIST_MAX: usize = 10_000;
/// All names are opened for one page, while nothing else is planned.
const LISTED_MAX: u64 = 100_000;
