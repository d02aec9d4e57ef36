//! Which namespaces there are, where a request is made, and whether a caller's token is good there.

use std::collections::BTreeMap;
use std::sync::Arc;

use aumbry_auth::{Caller, NAMESPACE_ROOT, NAMESPACES};
use aumbry_barrier::{Child, DamagedRow, Txn};
use aumbry_policy::Access;
use aumbry_state::Precondition;
use aumbry_types::{Capability, NamespacePath, ObjectId};

use crate::mounts::AuthCache;
use crate::operation::Operation;
use crate::{Class, Failure, Node};

/// All namespaces, as of one generation of the root.
#[derive(Default)]
pub(crate) struct Tree {
    by_path: BTreeMap<NamespacePath, ObjectId>,
    by_id: BTreeMap<ObjectId, NamespacePath>,
}

impl Tree {
    /// Reads their names.
    pub(crate) fn read(txn: &mut Txn<'_>) -> Result<Self, DamagedRow> {
        let children = txn.list(NAMESPACES)?;
        let named = |child: &Child| Ok((NamespacePath::parse(&child.name).map_err(|_| DamagedRow)?, child.id));
        let named: Vec<_> = children.iter().map(named).collect::<Result<_, DamagedRow>>()?;
        Ok(Self::of(named))
    }

    /// That of these.
    pub(crate) fn of(namespaces: impl IntoIterator<Item = (NamespacePath, ObjectId)>) -> Self {
        let mut tree = Self::default();
        for (path, id) in namespaces {
            tree.by_path.insert(path.clone(), id);
            tree.by_id.insert(id, path);
        }
        tree
    }

    /// The namespace with this path.
    pub(crate) fn find(&self, path: &NamespacePath) -> Option<ObjectId> {
        if path.is_root() {
            return Some(NAMESPACE_ROOT);
        }
        self.by_path.get(path).copied()
    }

    /// Where a namespace is.
    pub(crate) fn path_of(&self, id: ObjectId) -> Option<NamespacePath> {
        if id == NAMESPACE_ROOT {
            return Some(NamespacePath::root());
        }
        self.by_id.get(&id).cloned()
    }

    /// Whether there is a namespace right below a path with this name.
    pub(crate) fn has(&self, above: &NamespacePath, name: &str) -> bool {
        above.join(name).is_ok_and(|path| self.by_path.contains_key(&path))
    }

    /// How many namespaces there are below one, at any depth.
    pub(crate) fn count_below(&self, above: &NamespacePath) -> u64 {
        let is_below = |path: &&NamespacePath| path.below(above).is_some_and(|below| !below.is_empty());
        self.by_path.keys().filter(is_below).count() as u64
    }

    /// Takes the names of namespaces off the beginning of a path, as many as there are below the base. Something is left of the path: a namespace is no
    /// thing that is read or written.
    pub(crate) fn descend<'a>(&self, base: &NamespacePath, path: &'a str) -> (NamespacePath, &'a str) {
        let (mut found, mut rest) = (base.clone(), path);
        while let Some((name, below)) = rest.split_once('/') {
            match found.join(name) {
                Ok(next) if !below.is_empty() && self.by_path.contains_key(&next) => (found, rest) = (next, below),
                _ => break,
            }
        }
        (found, rest)
    }
}

impl AuthCache {
    /// Begins a plan of a request in a namespace: it rests on the generation of the root, with which namespaces come and go, and on that of its own. The plan
    /// stays in the root if there is no such namespace, and then nothing is given.
    pub(crate) fn begin(
        &mut self,
        txn: &mut Txn<'_>,
        namespace: &NamespacePath,
    ) -> Result<Option<ObjectId>, DamagedRow> {
        let generation = self.enter(txn)?;
        txn.fence(Precondition::AuthGen(NAMESPACE_ROOT, generation));
        if namespace.is_root() {
            let limits = self.limits(txn)?;
            txn.set_limits(limits);
            return Ok(Some(NAMESPACE_ROOT));
        }
        let Some(id) = self.tree(txn)?.find(namespace) else {
            return Ok(None);
        };
        txn.enter_namespace(id);
        let generation = self.enter(txn)?;
        txn.fence(Precondition::AuthGen(id, generation));
        let limits = self.limits(txn)?;
        txn.set_limits(limits);
        Ok(Some(id))
    }

    /// Whether a caller's token is accepted in the namespace of a request, of which `found` says whether it is there: in its own, and in those below.
    pub(crate) fn admit(
        &mut self,
        txn: &mut Txn<'_>,
        caller: &Caller,
        namespace: &NamespacePath,
        found: Option<ObjectId>,
    ) -> Result<(), Failure> {
        if caller.namespace == NAMESPACE_ROOT && namespace.is_root() {
            return Ok(());
        }
        let generation = self.within(txn, caller.namespace, |auth, txn| auth.enter(txn))??;
        txn.fence(Precondition::AuthGen(caller.namespace, generation));
        let tree = self.tree(txn)?;
        let own = tree.path_of(caller.namespace).ok_or_else(Failure::denied)?;
        let below = namespace.below(&own).ok_or_else(Failure::denied)?;
        if found.is_some() {
            return Ok(());
        }
        // Those who may look for it are told that it is not there.
        let path = format!("sys/namespaces/{below}");
        let policies = self.policies_of(txn, caller)?;
        if policies
            .decide(&Access::new(&path, Capability::Read, txn.now()))
            .allowed
        {
            return Err(missing());
        }
        Err(Failure::denied())
    }

    /// What stands before a path of the plan's namespace where policies of another, which is above it, speak of it. Nothing if they are the same.
    pub(crate) fn prefix(&mut self, txn: &mut Txn<'_>, above: ObjectId) -> Result<String, Failure> {
        if above == txn.namespace() {
            return Ok(String::new());
        }
        let tree = self.tree(txn)?;
        let paths = tree.path_of(above).zip(tree.path_of(txn.namespace()));
        let (above, here) = paths.ok_or_else(Failure::denied)?;
        let below = here.below(&above).ok_or_else(Failure::denied)?;
        Ok(format!("{below}/"))
    }

    /// Where the plan is.
    pub(crate) fn path_here(&mut self, txn: &mut Txn<'_>) -> Result<NamespacePath, DamagedRow> {
        let id = txn.namespace();
        self.tree(txn)?.path_of(id).ok_or(DamagedRow)
    }

    /// Where a namespace is, as it is told: nothing for the root.
    pub(crate) fn told_path(&mut self, txn: &mut Txn<'_>, id: ObjectId) -> Result<Option<String>, DamagedRow> {
        if id == NAMESPACE_ROOT {
            return Ok(None);
        }
        Ok(self.tree(txn)?.path_of(id).map(|path| format!("{path}/")))
    }
}

impl Node {
    /// The namespace that a path leads to, from the one that a request names, and the rest of the path: the names of namespaces at its beginning are
    /// taken off. Whether the first is there at all, and all else, is decided by the plan.
    ///
    /// # Errors
    /// [`Failure`] if this node does not lead, or is sealed.
    pub fn find_namespace(&self, base: &NamespacePath, path: &str) -> Result<(NamespacePath, String), Failure> {
        let tree: Arc<Tree> = self
            .look(&NamespacePath::root(), |txn, auth| Ok(auth.tree(txn)?))?
            .unwrap_or_default();
        let (namespace, rest) = tree.descend(base, path);
        Ok((namespace, rest.to_owned()))
    }
}

/// Refuses what is the cluster's in a namespace of a tenant.
pub(crate) fn check_scope(operation: &Operation, namespace: &NamespacePath) -> Result<(), Failure> {
    let is_refused = match operation {
        // By path the table of paths says so, and those who have a token may know it.
        Operation::NoRoute(no_route) => no_route.failure.reason == ONLY_IN_ROOT,
        operation => operation.is_of_cluster(),
    };
    if is_refused && !namespace.is_root() {
        return Err(only_in_root());
    }
    Ok(())
}

/// What is refused in the namespaces of tenants.
#[must_use]
pub fn only_in_root() -> Failure {
    Failure::new(
        Class::InvalidArgument,
        ONLY_IN_ROOT,
        "this is there only in the root namespace; ask without a namespace (AUMBRY_NAMESPACE, X-Vault-Namespace)",
    )
}

/// What those who may know it are told of a namespace that is not there.
pub(crate) fn missing() -> Failure {
    Failure::new(Class::NotFound, "NO_NAMESPACE", "there is no such namespace")
}

const ONLY_IN_ROOT: &str = "ONLY_IN_ROOT";

#[cfg(test)]
mod tests {
    use super::*;

    /// Abuse cases: 9.
    #[test]
    fn paths_lead_down_alone() {
        let path = |text: &str| NamespacePath::parse(text).expect("is one");
        let names = ["team", "team/app", "other", "team/app/deep"];
        let tree = Tree::of(names.map(path).into_iter().zip((100..).map(ObjectId::well_known)));
        let check = |base: &str, asked: &str, namespace: &str, rest: &str| {
            assert_eq!(
                tree.descend(&path(base), asked),
                (path(namespace), rest),
                "{base:?} {asked:?}"
            );
        };
        check("", "secret/data/a", "", "secret/data/a");
        check("", "team/secret/data/a", "team", "secret/data/a");
        check("", "team/app/secret/data/a", "team/app", "secret/data/a");
        check("team", "app/secret/data/a", "team/app", "secret/data/a");
        check("team", "secret/data/app", "team", "secret/data/app");
        // The base's own name is not taken for it.
        check("team", "team/app/x", "team", "team/app/x");
        check("team", "other/x", "team", "other/x");
        check("team/app", "../other/x", "team/app", "../other/x");
        check("", "Team/secret", "", "Team/secret");
        check("", "team//app/x", "team", "/app/x");
        check("", "team", "", "team");
        check("", "team/", "", "team/");
        check("", "team/app/", "team", "app/");
        check("missing", "app/x", "missing", "app/x");
        assert!(tree.has(&path("team"), "app") && !tree.has(&path("team"), "team") && !tree.has(&path(""), ""));
    }
}
