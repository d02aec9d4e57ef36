//! `sys/leases/`, and the older paths of the same: tokens as leases, which no engine has others of.

use aumbry_node::look::{Guard, LeaseAsk, LeaseVerb, What};
use aumbry_node::{Class, Failure, Operation, Reply};
use serde_json::json;

use super::content::{Content, time};
use super::tell::{looked, number};
use super::{Asked, Resolved, malformed, mismatched};

/// Tells of a lease.
pub(super) fn lookup(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let lease = asked.body.required_text("lease_id").map_err(malformed)?;
    let told = lease.clone();
    Ok(Resolved::new(ask(asked, LeaseVerb::Lookup, lease), move |_, reply| {
        let Reply::Token(info) = reply else {
            return Err(mismatched());
        };
        let expires = (info.expires_at > 0).then(|| time(info.expires_at));
        Content::data(&json!({
            "id": told,
            "issue_time": time(info.issued),
            "expire_time": expires,
            "last_renewal": null,
            "renewable": info.renewable,
            "ttl": info.ttl_s,
        }))
    }))
}

/// Lists leases.
pub(super) fn list(asked: &Asked<'_>, prefixes: &[String]) -> Result<Resolved, Failure> {
    let prefix = prefixes.first().cloned().unwrap_or_default();
    Ok(Resolved::new(
        ask(asked, LeaseVerb::List, prefix),
        |_, reply| match reply {
            Reply::Names(names) => Content::keys(names),
            _ => Err(mismatched()),
        },
    ))
}

/// Renews a lease.
pub(super) fn renew(asked: &Asked<'_>, leases: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::silent(ask(asked, LeaseVerb::Renew, named(asked, leases)?)))
}

/// Ends a lease. One that is not there has ended.
pub(super) fn revoke(asked: &Asked<'_>, leases: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::silent(ask(asked, LeaseVerb::Revoke, named(asked, leases)?)).or_absent())
}

/// Ends all below a prefix.
pub(super) fn revoke_prefix(asked: &Asked<'_>, prefixes: &[String]) -> Result<Resolved, Failure> {
    let ask = ask(asked, LeaseVerb::RevokePrefix, prefixes[0].clone());
    Ok(Resolved::new(ask, |_, reply| match reply {
        Reply::Done => Ok(Content::default()),
        // It is done in part, and nobody may take it for the whole.
        Reply::Names(left) => {
            let text = left.into_iter().next().unwrap_or_default();
            Err(Failure::new(Class::FailedPrecondition, "MORE_LEASES", text))
        }
        _ => Err(mismatched()),
    }))
}

/// Nothing has to be asked for.
pub(super) fn tidy(asked: &Asked<'_>, parameters: &[String]) -> Result<Resolved, Failure> {
    super::token::tidy(asked, parameters)
}

/// How many there are.
pub(super) fn count(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let look = looked(asked, What::LeaseCount, Guard::Sudo);
    Ok(Resolved::new(look, |_, reply| {
        let tokens = number(&reply, "tokens")?;
        Content::data(&json!({ "lease_count": tokens, "counts": { "auth/": tokens } }))
    }))
}

fn ask(asked: &Asked<'_>, what: LeaseVerb, lease: String) -> Operation {
    Operation::Lease(LeaseAsk {
        what,
        lease,
        path: asked.path.as_str().to_owned(),
    })
}

/// The lease, which stands in the path or in the body.
fn named(asked: &Asked<'_>, leases: &[String]) -> Result<String, Failure> {
    match leases.first() {
        Some(lease) => Ok(lease.clone()),
        None => asked.body.required_text("lease_id").map_err(malformed),
    }
}
