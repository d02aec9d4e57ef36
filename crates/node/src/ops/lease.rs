//! Tokens as leases.

use aumbry_auth::token::{self, LeaseError, REVOKED_MAX};
use aumbry_auth::{Place, Shelf};
use aumbry_barrier::Txn;
use aumbry_types::{ObjectId, SecretPath};

use crate::look::{LeaseAsk, LeaseVerb};
use crate::mounts::AuthCache;
use crate::{Class, Failure, Reply};

pub(super) fn plan(txn: &mut Txn<'_>, auth: &mut AuthCache, ask: &LeaseAsk) -> Result<Reply, Failure> {
    let lease = ask.lease.trim_matches('/');
    match ask.what {
        LeaseVerb::Lookup => {
            let id = token::find_by_lease(txn, lease)?.ok_or_else(|| Failure::invalid("invalid lease"))?;
            let info = token::info(txn, id).map_err(|_| Failure::invalid("invalid lease"))?;
            Ok(Reply::Token(info))
        }
        LeaseVerb::Renew => {
            token::find_by_lease(txn, lease)?.ok_or_else(|| Failure::invalid("lease not found"))?;
            // As in Vault: a token is renewed by who may renew tokens.
            Err(Failure::invalid(
                "tokens cannot be renewed through this endpoint; use auth/token/renew, renew-self or renew-accessor",
            ))
        }
        LeaseVerb::Revoke => {
            let not_found = || Failure::new(Class::NotFound, "NOT_FOUND", "no such lease");
            let id = token::find_by_lease(txn, lease)?.ok_or_else(not_found)?;
            token::revoke(txn, id)?;
            Ok(Reply::Done)
        }
        LeaseVerb::List => list(txn, auth, lease),
        LeaseVerb::RevokePrefix => {
            let Some(container) = container(txn, auth, lease)? else {
                return Ok(Reply::Done);
            };
            let (_, has_more) = token::revoke_leases(txn, container, lease).map_err(failure)?;
            let warning = format!("{REVOKED_MAX} tokens were revoked, and there are more: ask again");
            // Those who are told that all is done must be able to rely on it.
            Ok(if has_more {
                Reply::Names(vec![warning])
            } else {
                Reply::Done
            })
        }
    }
}

fn list(txn: &mut Txn<'_>, auth: &mut AuthCache, prefix: &str) -> Result<Reply, Failure> {
    let names = match prefix {
        "" => vec!["auth/".to_owned()],
        "auth" => {
            let mounts = auth.auth_mounts(txn)?;
            let mut names: Vec<String> = mounts.iter().map(|mount| format!("{}/", mount.path.as_str())).collect();
            names.push("token/".to_owned());
            names.sort_unstable();
            names
        }
        _ => match container(txn, auth, prefix)? {
            Some(container) => token::list_leases(txn, container, prefix).map_err(failure)?,
            None => Vec::new(),
        },
    };
    Ok(Reply::Names(names))
}

/// The container of the tokens that such a prefix names.
fn container(txn: &mut Txn<'_>, auth: &mut AuthCache, prefix: &str) -> Result<Option<ObjectId>, Failure> {
    let Some(rest) = prefix.strip_prefix("auth/") else {
        return Ok(None);
    };
    if rest == "token" || rest.starts_with("token/") {
        return Ok(Some(Shelf::Accessors.here(txn)));
    }
    let path = SecretPath::parse(rest).map_err(|error| Failure::invalid(error.to_string()))?;
    let mounts = auth.auth_mounts(txn)?;
    let mount = mounts.iter().find(|mount| path.below(&mount.path).is_some());
    Ok(mount.map(|mount| Place::Logins.of(mount.root)))
}

fn failure(error: LeaseError) -> Failure {
    match error {
        LeaseError::TooMany => Failure::new(Class::FailedPrecondition, "TOO_MANY", error.to_string()),
        LeaseError::Damaged(damaged) => damaged.into(),
    }
}
