//! Limits on numbers: of tokens that are made by way of a path (`lease-count`, as Vault calls it), and of what else a namespace has (`object-count`).
//!
//! The rules are replicated, and so is what is counted: apply counts the children of each container, in the entry that enters or removes one. Tokens of a whole
//! namespace, those of the logins of a mount, entities and the like have a container each already. What no container holds by itself (a role, a path below a mount, a
//! namespace with all below it) is counted in one of the limit's own, where tokens stand by their accessors from when the limit was set.
//!
//! Unlike rate limits all that speak of something hold together: a number that is limited above is limited, whatever is said further down.

mod limits;
mod plan;
mod request;

pub(super) use limits::counter;
pub(crate) use limits::{check_namespaces, check_wrapping};
pub(super) use plan::{exists, plan};
pub use request::{Ask, Family, Request};

use aumbry_auth::{LIMITS, NAMESPACE_ROOT};
use aumbry_barrier::{DamagedRow, Kind, Txn, record};
use aumbry_types::{NamespacePath, ObjectId};
use serde::{Deserialize, Serialize};

use crate::namespaces::Tree;

/// A limit, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number {
    name: String,
    /// Nothing for the root namespace; a namespace, with a mount or a path of it if one is meant. It can end in `*`.
    path: String,
    /// For tokens of this role alone; empty for all.
    role: String,
    max: u64,
    /// Whether it holds below its namespace as well: for tokens of all of them together, for other things in each.
    inheritable: bool,
    what: What,
}

/// What is counted. Variants are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// Tokens that are stored.
    Leases,
    /// Aliases of entities.
    Aliases,
    /// Auth methods.
    AuthMounts,
    /// Entities.
    Entities,
    /// Groups.
    Groups,
    /// Methods of a second factor.
    MfaMethods,
    /// Secrets engines.
    Mounts,
    /// Namespaces, at any depth.
    Namespaces,
    /// Policies.
    Policies,
    /// Roles, users and certificates of an auth method.
    Roles,
    /// Secret ids of one role.
    SecretIds,
    /// Roles of tokens.
    TokenRoles,
}

impl What {
    /// What an operator can name.
    const OBJECTS: [(&'static str, Self); 11] = [
        ("aliases", Self::Aliases),
        ("auth-mounts", Self::AuthMounts),
        ("entities", Self::Entities),
        ("groups", Self::Groups),
        ("mfa-methods", Self::MfaMethods),
        ("mounts", Self::Mounts),
        ("namespaces", Self::Namespaces),
        ("policies", Self::Policies),
        ("roles", Self::Roles),
        ("secret-ids", Self::SecretIds),
        ("token-roles", Self::TokenRoles),
    ];

    fn name(self) -> &'static str {
        let found = Self::OBJECTS.iter().find(|(_, what)| *what == self);
        found.map_or("leases", |(name, _)| name)
    }

    const fn family(self) -> Family {
        match self {
            Self::Leases => Family::Leases,
            _ => Family::Objects,
        }
    }

    /// Whether it belongs to an auth method, and not to its namespace.
    const fn is_of_method(self) -> bool {
        matches!(self, Self::Roles | Self::SecretIds)
    }
}

/// A limit, and what its path means while the namespaces are as they are.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    /// The limit's own container has this id too.
    id: ObjectId,
    number: Number,
    namespace: ObjectId,
    namespace_path: NamespacePath,
    /// The path in that namespace.
    rest: String,
}

impl Placed {
    fn new(tree: &Tree, id: ObjectId, number: Number) -> Self {
        let (namespace_path, rest) = split(tree, &number.path);
        Self {
            id,
            namespace: tree.find(&namespace_path).unwrap_or(NAMESPACE_ROOT),
            namespace_path,
            rest,
            number,
        }
    }
}

/// The namespace that a path begins with, and the rest of it. Unlike the path of a request it can be a namespace alone.
fn split(tree: &Tree, path: &str) -> (NamespacePath, String) {
    let (mut found, mut rest) = (NamespacePath::root(), path);
    while !rest.is_empty() {
        let (name, below) = rest.split_once('/').unwrap_or((rest, ""));
        match found.join(name) {
            Ok(next) if tree.find(&next).is_some() => (found, rest) = (next, below),
            _ => break,
        }
    }
    (found, rest.to_owned())
}

/// Reads all of them.
pub(crate) fn read(txn: &mut Txn<'_>, tree: &Tree) -> Result<Vec<Placed>, DamagedRow> {
    let mut all = Vec::new();
    for child in txn.list(LIMITS)?.iter() {
        let object = txn.peek_object(child.id, Kind::Quota)?.ok_or(DamagedRow)?;
        let number = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
        all.push(Placed::new(tree, child.id, number));
    }
    Ok(all)
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use aumbry_types::hex;

    use super::*;

    #[test]
    fn frozen_bytes() {
        let number = |what| Number {
            name: "few".to_owned(),
            path: "team".to_owned(),
            role: "ci".to_owned(),
            max: 300,
            inheritable: true,
            what,
        };
        let check = |what, expect: &str| {
            let plain = record::encode(VERSION, &number(what));
            assert_eq!(hex::encode(plain.expose()), expect);
            assert_eq!(record::decode(VERSION, plain.expose()), Ok(number(what)));
        };
        check(What::Leases, "0103666577047465616d026369ac020100");
        check(What::TokenRoles, "0103666577047465616d026369ac02010b");
        let names: Vec<&str> = What::OBJECTS.iter().map(|(_, what)| what.name()).collect();
        assert!(names.is_sorted() && names.len() == 11);
    }
}
