//! Who is behind a caller, and what policies that gives: as of one generation of the namespace, like all that authorisation is made of.

use std::sync::Arc;

use aumbry_auth::identity::mfa::{Enforcements, Wanted};
use aumbry_auth::identity::{self, Groups, Mounts, NamedMount, Who, WhoError};
use aumbry_auth::{Caller, Shelf, token};
use aumbry_barrier::{DamagedRow, Txn};
use aumbry_policy::{Policy, PolicySet};
use aumbry_types::ObjectId;

use crate::Failure;
use crate::auth_cache::is_root;
use crate::mounts::{AuthCache, read_policy};

/// Whose a token is, and by which login.
pub(crate) type WhoKey = (ObjectId, Option<token::Alias>);

impl AuthCache {
    /// The compiled policies of a caller: its token's, its entity's, and its groups'.
    ///
    /// # Errors
    /// [`Failure`]; whoever has no entity any more may do nothing.
    pub(crate) fn policies_of(&mut self, txn: &mut Txn<'_>, caller: &Caller) -> Result<Arc<PolicySet>, Failure> {
        let key = caller.entity.map(|entity| (entity, caller.alias.clone()));
        self.policies_for(txn, caller.namespace, &caller.policies, key)
    }

    /// As [`Self::policies_of`], for a token of a namespace with these policies of it.
    pub(crate) fn policies_for(
        &mut self,
        txn: &mut Txn<'_>,
        namespace: ObjectId,
        names: &[String],
        key: Option<WhoKey>,
    ) -> Result<Arc<PolicySet>, Failure> {
        self.within(txn, namespace, |auth, txn| auth.policies_here(txn, names, key))?
    }

    fn policies_here(
        &mut self,
        txn: &mut Txn<'_>,
        names: &[String],
        key: Option<WhoKey>,
    ) -> Result<Arc<PolicySet>, Failure> {
        if is_root(txn, names) {
            return Ok(Arc::new(PolicySet::root()));
        }
        let Some(key) = key else {
            return Ok(self.policies(txn, names)?);
        };
        let who = self.who(txn, &key)?;
        if let Some(set) = self.here(txn).sets_of.get(&(names.to_vec(), key.clone())) {
            return Ok(Arc::clone(set));
        }
        let mut all: Vec<&String> = names.iter().chain(&who.policies).collect();
        all.sort_unstable();
        all.dedup();
        let mut parsed = Vec::new();
        for name in all {
            parsed.extend(self.parsed(txn, name)?.map(|policy| (name.as_str(), policy)));
        }
        let named = parsed.iter().map(|(name, policy)| (*name, &**policy));
        let set = Arc::new(PolicySet::compile_for(named, &who.identity));
        let sets_of = &mut self.here(txn).sets_of;
        if sets_of.len() >= SETS_MAX {
            sets_of.clear();
        }
        sets_of.insert((names.to_vec(), key), Arc::clone(&set));
        Ok(set)
    }

    /// The policies that come with an entity of a namespace and its groups, sorted.
    pub(crate) fn identity_policies_of(
        &mut self,
        txn: &mut Txn<'_>,
        namespace: ObjectId,
        key: &WhoKey,
    ) -> Result<Vec<String>, Failure> {
        self.within(txn, namespace, |auth, txn| auth.identity_policies(txn, key))?
    }

    /// The policies that come with an entity and its groups, sorted.
    pub(crate) fn identity_policies(&mut self, txn: &mut Txn<'_>, key: &WhoKey) -> Result<Vec<String>, Failure> {
        Ok(self.who(txn, key)?.policies.clone())
    }

    /// The same for an entity that may have been made by this very plan, of which nothing can be read yet.
    pub(crate) fn identity_policies_now(
        &mut self,
        txn: &mut Txn<'_>,
        key: &WhoKey,
        is_new: bool,
    ) -> Result<Vec<String>, Failure> {
        if is_new {
            return Ok(self.groups(txn)?.policies(key.0, key.1.as_ref()));
        }
        self.identity_policies(txn, key)
    }

    /// What a login needs beside what it showed.
    pub(crate) fn second_factors(
        &mut self,
        txn: &mut Txn<'_>,
        mount: ObjectId,
        entity: ObjectId,
        login: &token::Alias,
    ) -> Result<Vec<Wanted>, DamagedRow> {
        let known = self.here(txn).enforcements.clone();
        let enforcements = match known {
            Some(enforcements) => enforcements,
            None => {
                let read = Arc::new(Enforcements::read(txn)?);
                Arc::clone(self.here(txn).enforcements.insert(read))
            }
        };
        if enforcements.is_empty() {
            return Ok(Vec::new());
        }
        let mounts = self.named_mounts(txn)?;
        let mount = mounts.iter().find(|named| named.id == mount).ok_or(DamagedRow)?;
        let groups = self.groups(txn)?;
        Ok(enforcements.of(mount, &groups, entity, login))
    }

    fn groups(&mut self, txn: &mut Txn<'_>) -> Result<Arc<Groups>, DamagedRow> {
        if let Some(groups) = &self.here(txn).groups {
            return Ok(Arc::clone(groups));
        }
        let read = Arc::new(Groups::read(txn)?);
        Ok(Arc::clone(self.here(txn).groups.insert(read)))
    }

    fn who(&mut self, txn: &mut Txn<'_>, key: &WhoKey) -> Result<Arc<Who>, Failure> {
        if let Some(who) = self.here(txn).whos.get(key) {
            return Ok(Arc::clone(who));
        }
        let groups = self.groups(txn)?;
        let mounts = self.named_mounts(txn)?;
        let who = match identity::who(txn, &groups, Mounts(&mounts), key.0, key.1.as_ref()) {
            Ok(who) => Arc::new(who),
            Err(WhoError::Gone) => return Err(Failure::denied()),
            Err(WhoError::Damaged(damaged)) => return Err(damaged.into()),
        };
        let whos = &mut self.here(txn).whos;
        if whos.len() >= SETS_MAX {
            whos.clear();
        }
        whos.insert(key.clone(), Arc::clone(&who));
        Ok(who)
    }

    /// The mounts of auth methods as aliases speak of them, and that of tokens, which nobody mounts.
    pub(crate) fn named_mounts(&mut self, txn: &mut Txn<'_>) -> Result<Vec<NamedMount>, DamagedRow> {
        let mounts = self.auth_mounts(txn)?;
        let named = mounts.iter().map(|mount| NamedMount {
            id: mount.root,
            accessor: mount.info.accessor.clone(),
            path: mount.path.as_str().to_owned(),
            kind: mount.info.kind.clone(),
        });
        let of_tokens = NamedMount {
            id: Shelf::TokenMount.here(txn),
            accessor: TOKEN_ACCESSOR.to_owned(),
            path: "token".to_owned(),
            kind: "token".to_owned(),
        };
        Ok(named.chain([of_tokens]).collect())
    }

    /// A policy, parsed once a generation.
    fn parsed(&mut self, txn: &mut Txn<'_>, name: &str) -> Result<Option<Arc<Policy>>, DamagedRow> {
        if let Some(policy) = self.here(txn).parsed.get(name) {
            return Ok(policy.clone());
        }
        // It was parsed before it was stored; a newer build's policy that this one cannot read must not grant by half.
        let policy = match read_policy(txn, name)? {
            Some(text) => Some(Arc::new(Policy::parse(&text).map_err(|_| DamagedRow)?)),
            None => None,
        };
        let parsed = &mut self.here(txn).parsed;
        if parsed.len() >= SETS_MAX {
            parsed.clear();
        }
        parsed.insert(name.to_owned(), policy.clone());
        Ok(policy)
    }
}

/// As `sys/auth` shows it.
const TOKEN_ACCESSOR: &str = "token_builtin";
/// As many as have been seen in one generation; a policy compiled is some kilobytes.
const SETS_MAX: usize = 4_096;
