//! Roles of tokens: what a token that is created with the role can have, whatever its creator has.

use aumbry_barrier::{DamagedRow, InsertError, Kind, ObjectOptions, Txn, record};
use aumbry_types::{Name, ObjectId};
use serde::{Deserialize, Serialize};

use super::create::{Create, CreateError};
use super::record::TokenType;
use crate::Shelf;
use crate::params::{TokenParams, WantedType};

/// A role of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// The policies that can be asked for; those that a token gets if none are asked for.
    pub allowed_policies: Vec<String>,
    /// As those, with `*` for any characters.
    pub allowed_policies_glob: Vec<String>,
    /// Policies that cannot be asked for.
    pub disallowed_policies: Vec<String>,
    /// As those, with `*` for any characters.
    pub disallowed_policies_glob: Vec<String>,
    /// Whether its tokens have no parent.
    pub orphan: bool,
    /// Whether its tokens can be renewed.
    pub renewable: bool,
    /// Stands at the end of the path that its tokens tell.
    pub path_suffix: String,
    /// The names of aliases that its tokens can be given.
    pub allowed_entity_aliases: Vec<String>,
    /// What its tokens are like. Their lifetimes, policies and number of uses are those asked for, within these.
    pub params: TokenParams,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            allowed_policies: Vec::new(),
            allowed_policies_glob: Vec::new(),
            disallowed_policies: Vec::new(),
            disallowed_policies_glob: Vec::new(),
            orphan: false,
            renewable: true,
            path_suffix: String::new(),
            allowed_entity_aliases: Vec::new(),
            params: TokenParams::default(),
        }
    }
}

impl Role {
    /// The role with this name, and its object.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn read(txn: &mut Txn<'_>, name: &Name) -> Result<Option<(ObjectId, Self)>, DamagedRow> {
        let Some(child) = txn.lookup(Shelf::TokenRoles.here(txn), name.as_str())? else {
            return Ok(None);
        };
        let object = txn.read_object(child.id, Kind::TokenRole)?.ok_or(DamagedRow)?;
        let role = record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow)?;
        Ok(Some((child.id, role)))
    }

    /// Writes the role whole.
    ///
    /// # Errors
    /// [`InsertError`]
    pub fn write(&self, txn: &mut Txn<'_>, name: &Name) -> Result<(), InsertError> {
        let id = match txn.lookup(Shelf::TokenRoles.here(txn), name.as_str())? {
            Some(child) => child.id,
            None => {
                let id = ObjectId::make(txn.entropy());
                txn.insert(Shelf::TokenRoles.here(txn), name.as_str(), Kind::TokenRole, id)?;
                id
            }
        };
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::TokenRole, plain.expose(), ObjectOptions::default());
        Ok(())
    }

    /// Removes the role with this name. Gives whether there was one. Its tokens live on, and are not renewed.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn delete(txn: &mut Txn<'_>, name: &Name) -> Result<bool, DamagedRow> {
        let Some(child) = txn.lookup(Shelf::TokenRoles.here(txn), name.as_str())? else {
            return Ok(false);
        };
        txn.remove(Shelf::TokenRoles.here(txn), name.as_str())?;
        txn.delete_object(child.id);
        Ok(true)
    }

    /// Whether policies are those of the role, and not those of the creator.
    pub(super) const fn decides_policies(&self) -> bool {
        !(self.allowed_policies.is_empty()
            && self.allowed_policies_glob.is_empty()
            && self.disallowed_policies.is_empty()
            && self.disallowed_policies_glob.is_empty())
    }

    /// Whether its tokens can be given this alias. As in Vault, names are compared without case.
    pub(super) fn allows_alias(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let mut allowed = self.allowed_entity_aliases.iter();
        allowed.any(|allowed| matches_glob(&allowed.to_lowercase(), &name))
    }

    /// The policies of a token, sorted, if the role allows them. As in Vault: those that are asked for, or those that the role allows
    /// by name, or the creator's, and none that it disallows.
    pub(super) fn choose_policies(
        &self,
        held: &[String],
        wanted: &[String],
        no_default_policy: bool,
    ) -> Result<Vec<String>, CreateError> {
        let takes_default = !no_default_policy && !self.params.no_default_policy && !self.disallows("default");
        let has_allowed = !(self.allowed_policies.is_empty() && self.allowed_policies_glob.is_empty());
        let mut policies = match (wanted, has_allowed) {
            ([], true) => self.allowed_policies.clone(),
            ([], false) => held.to_vec(),
            (wanted, _) => wanted.to_vec(),
        };
        let is_root = policies.iter().any(|policy| policy == "root");
        if takes_default && !is_root {
            policies.push("default".to_owned());
        }
        policies.sort_unstable();
        policies.dedup();
        for policy in &policies {
            let is_given = takes_default && policy == "default";
            let is_allowed = !has_allowed || is_given || self.allows(policy);
            if !is_allowed || self.disallows(policy) {
                return Err(CreateError::PolicyNotAllowed);
            }
        }
        Ok(policies)
    }

    fn allows(&self, policy: &str) -> bool {
        self.allowed_policies.iter().any(|allowed| allowed == policy)
            || self.allowed_policies_glob.iter().any(|glob| matches_glob(glob, policy))
    }

    fn disallows(&self, policy: &str) -> bool {
        self.disallowed_policies.iter().any(|disallowed| disallowed == policy)
            || self
                .disallowed_policies_glob
                .iter()
                .any(|glob| matches_glob(glob, policy))
    }

    /// What is asked for, within what the role gives.
    pub(super) fn apply(&self, wanted: Create) -> Create {
        let params = &self.params;
        Create {
            ttl_s: wanted.ttl_s,
            explicit_max_ttl_s: least(wanted.explicit_max_ttl_s, params.explicit_max_ttl_s),
            num_uses: least(wanted.num_uses, params.num_uses),
            renewable: wanted.renewable && self.renewable,
            orphan: wanted.orphan || self.orphan,
            period_s: least(wanted.period_s, params.period_s),
            token_type: match params.token_type {
                WantedType::Batch => Some(TokenType::Batch),
                WantedType::Service => Some(TokenType::Service),
                WantedType::DefaultBatch => wanted.token_type.or(Some(TokenType::Batch)),
                WantedType::Default | WantedType::DefaultService => wanted.token_type,
            },
            bound_cidrs: if params.bound_cidrs.is_empty() {
                wanted.bound_cidrs
            } else {
                params.bound_cidrs.clone()
            },
            ..wanted
        }
    }

    /// The path that its tokens tell.
    pub(super) fn path(&self, name: Option<&Name>) -> String {
        let mut path = "auth/token/create".to_owned();
        for part in [name.map_or("", Name::as_str), &self.path_suffix] {
            if !part.is_empty() {
                path.push('/');
                path.push_str(part);
            }
        }
        path
    }
}

/// The names of roles after this one, in order, at most so many, and whether more follow.
///
/// # Errors
/// [`DamagedRow`]
pub fn list_roles(txn: &mut Txn<'_>, after: &str, limit: usize) -> Result<(Vec<String>, bool), DamagedRow> {
    crate::listing::names(txn, Shelf::TokenRoles.here(txn), after, limit)
}

/// Whether all are names of policies, and no more than a token has.
pub(crate) fn check_policies(policies: &[String]) -> Result<(), &'static str> {
    if policies.len() > POLICIES_MAX || policies.iter().any(|policy| Name::parse(policy).is_err()) {
        return Err("at most 63 policies, each a name of a-z, 0-9, `-`, `_`, `.`");
    }
    Ok(())
}

/// The lesser of two limits of which 0 is none.
fn least(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, limit) | (limit, 0) => limit,
        (a, b) => a.min(b),
    }
}

/// Whether the text is as the glob says, in which `*` stands for any characters.
fn matches_glob(glob: &str, text: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The first place is the best one: it leaves the most for what follows.
        let Some(place) = text.find(part) else { return false };
        text = &text[place + part.len()..];
    }
    text.ends_with(last)
}

/// With `default` a token has 64, all of which an audit record names.
const POLICIES_MAX: usize = 63;
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let check = |glob: &str, text: &str, expect: bool| {
            assert_eq!(matches_glob(glob, text), expect, "{glob} {text}");
        };
        check("app", "app", true);
        check("app", "apps", false);
        check("app-*", "app-", true);
        check("app-*", "app-x", true);
        check("app-*", "ap", false);
        check("*", "", true);
        check("*-ro", "app-ro", true);
        check("*-ro", "app-rw", false);
        check("a*b*c", "abc", true);
        check("a*b*c", "a1b2b3c", true);
        check("a*b*c", "acb", false);
        check("a*a", "a", false);
        check("a**a", "aa", true);
    }
}
