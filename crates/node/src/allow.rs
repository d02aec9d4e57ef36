//! Whether a caller's policies allow a request, by all that rules can ask of it.

use std::borrow::Cow;

use aumbry_auth::Caller;
use aumbry_barrier::Txn;
use aumbry_logical::Object;
use aumbry_policy::{Access, Decision, PolicySet, with_parameters_of};
use aumbry_types::Capability;

use crate::authorize::Needs;
use crate::mounts::AuthCache;
use crate::pipeline::Made;
use crate::{Failure, Request};

/// What the caller's policies say of a request that they allow.
pub(crate) struct Allowed {
    /// What the operation needs.
    pub(crate) needs: Needs,
    /// Whether the caller could do it with `sudo` as well.
    pub(crate) privileged: bool,
    /// How many names a list gives at most, if a rule or the request says so.
    pub(crate) limit: Option<u64>,
}

/// Decides by the caller's policies.
pub(crate) fn allow(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    request: &Request,
    needs: Needs,
    caller: &Caller,
    made: &mut Made,
) -> Result<Allowed, Failure> {
    let policies = auth.policies_of(txn, caller)?;
    let parameters = match policies.restricts_parameters() {
        true => request.parameters()?,
        false => None,
    };
    let mut privileged = caller.is_root();
    // Policies speak of paths as their own namespace sees them.
    let prefix = auth.prefix(txn, caller.namespace)?;
    let mut limit: Option<u64> = None;
    for need in &needs.all {
        let path: Cow<'_, str> = match prefix.as_str() {
            "" => need.path.as_str().into(),
            prefix => format!("{prefix}{}", need.path).into(),
        };
        let mut access = Access::new(&path, need.capability, txn.now());
        access.wrap_ttl_s = request.sent().map(|sent| sent.wrap_ttl_s).filter(|ttl_s| *ttl_s > 0);
        if matches!(need.capability, Capability::List | Capability::Scan) {
            access.limit = request.limit();
        }
        let decide = |access: &Access<'_>| decide(&policies, access, parameters.as_ref());
        let wanted = if need.sudo { access.protected() } else { access };
        let mut decision = decide(&wanted);
        // The first time the secret may not have been there yet.
        if made.replayed && !decision.allowed && need.capability == Capability::Update {
            let capability = Capability::Create;
            decision = decide(&Access { capability, ..wanted });
        }
        made.policies.extend(decision.policies);
        made.rule = decision.rule.unwrap_or_default();
        if !decision.allowed {
            let sudo = if need.sudo { "sudo " } else { "" };
            made.needed = format!("{sudo}{} {path}", need.capability);
            return Err(Failure::denied());
        }
        limit = limit.into_iter().chain(decision.limit).min();
        privileged |= decide(&access.protected()).allowed;
    }
    made.policies.sort_unstable();
    made.policies.dedup();
    Ok(Allowed {
        needs,
        privileged,
        limit,
    })
}

/// Decides with the parameters, if any are known.
pub(crate) fn decide(policies: &PolicySet, access: &Access<'_>, parameters: Option<&Object>) -> Decision {
    match parameters {
        Some(parameters) => with_parameters_of(parameters, |given| policies.decide(&access.with_parameters(given))),
        None => policies.decide(access),
    }
}
