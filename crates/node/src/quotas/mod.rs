//! Quotas: rate limits here, and limits on numbers in [`numbers`].
//!
//! Rate limits: how often a path, a mount, or everything may be asked for, by an address, by an entity, or by all together. The rules are replicated; what is
//! counted against them is in the leader's memory, as only the leader serves. A new leader begins with full measures.

mod measure;
pub mod numbers;
mod plan;
mod request;

pub(crate) use measure::Measures;
pub(crate) use plan::{exists, plan};
pub use request::Request;

use aumbry_auth::token::is_below;
use aumbry_auth::{Caller, QUOTAS};
use aumbry_barrier::{DamagedRow, Kind, Txn, record};
use aumbry_types::ObjectId;
use serde::{Deserialize, Serialize};

use crate::mounts::AuthCache;
use crate::pipeline::source_of;
use crate::{Class, Failure, Node};

/// A rate limit, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quota {
    pub(crate) name: String,
    /// Nothing for everything; a mount or a path; what begins so, if it ends in `*`.
    pub(crate) path: String,
    /// For logins with this role alone; empty for all.
    pub(crate) role: String,
    /// Thousandths of requests in an interval.
    pub(crate) rate_milli: u64,
    pub(crate) interval_ms: u64,
    /// For how long who was refused once is refused altogether; 0 is not at all.
    pub(crate) block_ms: u64,
    pub(crate) group_by: GroupBy,
}

/// Who is counted together. Variants are only ever added at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GroupBy {
    /// Whoever comes from one address.
    #[default]
    Address,
    /// All.
    Nobody,
    /// One entity; those who have none by address.
    EntityThenAddress,
    /// One entity; those who have none all together.
    EntityThenNobody,
}

/// All quotas with what is exempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas {
    pub(crate) all: Vec<(ObjectId, Quota)>,
    /// Paths that no quota holds for; `*` at the end for all that begin so.
    pub(crate) exempt: Vec<String>,
}

impl Quotas {
    /// Reads them. What is read stands as long as the namespace's generation.
    pub(crate) fn read(txn: &mut Txn<'_>) -> Result<Self, DamagedRow> {
        let mut quotas = Self::default();
        for child in txn.list(QUOTAS)?.iter() {
            let object = txn.peek_object(child.id, Kind::Quota)?.ok_or(DamagedRow)?;
            if child.name == EXEMPT {
                quotas.exempt = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
            } else {
                let quota = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
                quotas.all.push((child.id, quota));
            }
        }
        Ok(quotas)
    }

    /// The one that holds for a path: the most specific.
    fn of(&self, path: &str, role: Option<&str>) -> Option<&(ObjectId, Quota)> {
        if self.exempt.iter().any(|exempt| matches(exempt, path)) {
            return None;
        }
        let holds = |quota: &Quota| {
            let for_role = quota.role.is_empty() || role == Some(quota.role.as_str());
            for_role && is_below(&quota.path, path)
        };
        let rank = |quota: &Quota| {
            (
                quota.path.trim_end_matches('*').len(),
                !quota.path.ends_with('*'),
                !quota.role.is_empty(),
            )
        };
        self.all
            .iter()
            .filter(|(_, quota)| holds(quota))
            .max_by_key(|(_, quota)| rank(quota))
    }
}

/// Whether a path is this one, or begins so if that ends in `*`.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern,
    }
}

/// Refuses a request that comes too often. Asked once for each request, when it is known who asks.
pub(crate) fn check(
    node: &Node,
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    path: &str,
    role: Option<&str>,
    caller: Option<&Caller>,
    client_address: &str,
) -> Result<(), Failure> {
    // What changes quotas is never refused for one: who set it too low can mend it.
    if path.starts_with("sys/quotas/") {
        return Ok(());
    }
    let quotas = auth.quotas(txn)?;
    let Some((id, quota)) = quotas.of(path, role) else {
        return Ok(());
    };
    let entity = caller.and_then(|caller| caller.entity).map(|entity| entity.to_string());
    let who = match (quota.group_by, entity) {
        (GroupBy::EntityThenAddress | GroupBy::EntityThenNobody, Some(entity)) => entity,
        (GroupBy::Address | GroupBy::EntityThenAddress, _) => source_of(client_address).to_owned(),
        (GroupBy::Nobody | GroupBy::EntityThenNobody, _) => String::new(),
    };
    node.measures
        .take(*id, quota, who, node.clock.boottime_ms())
        .map_err(|wait_ms| {
            let mut failure = Failure::new(
                Class::ResourceExhausted,
                EXCEEDED,
                "rate limit quota exceeded; try again later",
            );
            failure.retry_after_ms = wait_ms;
            failure
        })
}

/// The reason of a refusal, and the name under which those of a flood are counted in the audit log.
pub(crate) const EXCEEDED: &str = "QUOTA_EXCEEDED";
/// No name of a quota has such a letter.
pub(crate) const EXEMPT: &str = "*exempt";
pub(crate) const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(path: &str, role: &str) -> (ObjectId, Quota) {
        let quota = Quota {
            name: format!("{path} {role}"),
            path: path.to_owned(),
            role: role.to_owned(),
            rate_milli: 1_000,
            interval_ms: 1_000,
            block_ms: 0,
            group_by: GroupBy::default(),
        };
        (ObjectId::well_known(100), quota)
    }

    #[test]
    fn the_most_specific_holds() {
        let quotas = Quotas {
            all: vec![
                quota("", ""),
                quota("secret", ""),
                quota("secret/data/a*", ""),
                quota("secret/data/ab", ""),
                quota("auth/approle", ""),
                quota("auth/approle", "ci"),
            ],
            exempt: vec!["sys/health".to_owned(), "free/*".to_owned()],
        };
        let check = |path: &str, role: Option<&str>, expect: Option<&str>| {
            let found = quotas.of(path, role).map(|(_, quota)| quota.name.as_str());
            assert_eq!(found, expect, "{path} {role:?}");
        };
        check("secret/data/x", None, Some("secret "));
        check("secret/data/a", None, Some("secret/data/a* "));
        check("secret/data/ab", None, Some("secret/data/ab "));
        check("secret/data/abc", None, Some("secret/data/a* "));
        check("secrets/data/x", None, Some(" "));
        check("auth/approle/login", None, Some("auth/approle "));
        check("auth/approle/login", Some("ci"), Some("auth/approle ci"));
        check("auth/approle/login", Some("other"), Some("auth/approle "));
        check("sys/health", None, None);
        check("free/x", None, None);
        check("free", None, Some(" "));
    }
}
