//! What limits on numbers mean for plans in a namespace.

use std::sync::Arc;

use aumbry_auth::{Error, Place, Shelf};
use aumbry_barrier::{Counted, DamagedRow, InsertError, Kind, Limits, Txn};
use aumbry_types::{NamespacePath, ObjectId};

use super::{Placed, What, read};
use crate::mounts::{AuthCache, Mount};
use crate::{Failure, Request};

impl AuthCache {
    /// All limits on numbers, as of one generation of the root.
    pub(super) fn numbers(&mut self, txn: &mut Txn<'_>) -> Result<Arc<Vec<Placed>>, DamagedRow> {
        if let Some(numbers) = &self.cluster().numbers {
            return Ok(Arc::clone(numbers));
        }
        let tree = self.tree(txn)?;
        let numbers = Arc::new(read(txn, &tree)?);
        self.cluster().numbers = Some(Arc::clone(&numbers));
        Ok(numbers)
    }

    /// What is limited in the namespace that the plan is in. Nothing, and no more than a look at what is known, where no limit is set.
    pub(crate) fn limits(&mut self, txn: &mut Txn<'_>) -> Result<Option<Arc<Limits>>, DamagedRow> {
        let numbers = self.numbers(txn)?;
        if numbers.is_empty() {
            return Ok(None);
        }
        // Limits change with the root's generation, and the mounts that they speak of with the namespace's own.
        let generation = self.cluster().generation;
        if let Some((known, limits)) = &self.here(txn).limits
            && *known == generation
        {
            return Ok(Some(Arc::clone(limits)));
        }
        let here = self.path_here(txn)?;
        let mounts = self.auth_mounts(txn)?;
        let mut limits = Limits::default();
        for placed in numbers.iter() {
            placed.limit(&mut limits, (txn.namespace(), &here), &mounts);
        }
        let limits = Arc::new(limits);
        self.here(txn).limits = Some((generation, Arc::clone(&limits)));
        Ok(Some(limits))
    }
}

/// Where that which is limited stands.
enum Kept {
    /// In a container.
    In(ObjectId),
    /// In the limit's own.
    Own,
    /// In each of these.
    Each(Vec<ObjectId>),
    /// In containers that belong to each of these.
    OfEach(Vec<ObjectId>),
    /// Among the namespaces.
    Namespaces,
    /// There is no such thing at present.
    Nowhere,
}

impl Placed {
    /// Limits what is limited in this namespace.
    fn limit(&self, limits: &mut Limits, (here, path): (ObjectId, &NamespacePath), mounts: &[Mount]) {
        let is_here = self.namespace == here;
        // A limit of a namespace that is gone means a path of the one above.
        let is_inherited =
            self.number.inheritable && self.rest.is_empty() && path.below(&self.namespace_path).is_some();
        if !is_here && !is_inherited {
            return;
        }
        let max = self.number.max;
        match self.kept(here, mounts) {
            Kept::In(container) => limits.limit(container, max),
            Kept::Each(containers) => containers.into_iter().for_each(|id| limits.limit(id, max)),
            Kept::OfEach(owners) => owners.into_iter().for_each(|id| limits.limit_each(id, max)),
            Kept::Own => {
                limits.limit(self.id, max);
                limits.count(Counted {
                    container: self.id,
                    path: self.rest.clone(),
                    role: self.number.role.clone(),
                });
            }
            Kept::Namespaces | Kept::Nowhere => {}
        }
    }

    fn kept(&self, here: ObjectId, mounts: &[Mount]) -> Kept {
        let is_whole = self.rest.is_empty();
        let mount = self.rest.strip_prefix("auth/").and_then(|path| {
            let mut found = mounts.iter().filter(|mount| mount.path.as_str() == path);
            found.next().map(|mount| mount.root)
        });
        let shelf = |shelf: Shelf| match is_whole {
            true => Kept::In(shelf.of(here)),
            false => Kept::Nowhere,
        };
        match self.number.what {
            What::Leases if self.number.inheritable || !self.number.role.is_empty() => Kept::Own,
            What::Leases if is_whole => Kept::In(Shelf::Accessors.of(here)),
            What::Leases => mount.map_or(Kept::Own, |mount| Kept::In(Place::Logins.of(mount))),
            What::Aliases => shelf(Shelf::Aliases),
            What::AuthMounts => shelf(Shelf::AuthMounts),
            What::Entities => shelf(Shelf::Entities),
            What::Groups => shelf(Shelf::Groups),
            What::MfaMethods => shelf(Shelf::MfaMethods),
            What::Mounts => shelf(Shelf::Mounts),
            What::Policies => shelf(Shelf::Policies),
            What::TokenRoles => shelf(Shelf::TokenRoles),
            What::Namespaces => Kept::Namespaces,
            // Names of roles stand in the mount itself, secret ids in their role.
            What::Roles if is_whole => Kept::Each(mounts.iter().map(|mount| mount.root).collect()),
            What::Roles => mount.map_or(Kept::Nowhere, Kept::In),
            What::SecretIds if is_whole => Kept::OfEach(mounts.iter().map(|mount| mount.root).collect()),
            What::SecretIds => mount.map_or(Kept::Nowhere, |mount| Kept::OfEach(vec![mount])),
        }
    }
}

/// How many there are of what a limit speaks of. Nothing, if that is no one number.
pub(in crate::quotas) fn counter(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    placed: &Placed,
) -> Result<Option<u64>, DamagedRow> {
    let mounts = auth.within(txn, placed.namespace, |auth, txn| auth.auth_mounts(txn))??;
    let container = match placed.kept(placed.namespace, &mounts) {
        Kept::In(container) => container,
        Kept::Own => placed.id,
        Kept::Namespaces if placed.rest.is_empty() => {
            return Ok(Some(auth.tree(txn)?.count_below(&placed.namespace_path)));
        }
        Kept::Each(_) | Kept::OfEach(_) | Kept::Namespaces | Kept::Nowhere => return Ok(None),
    };
    txn.fence_scan(container)?;
    Ok(Some(txn.container(container)?.children))
}

/// Refuses one more namespace below this one, if a limit of it or of one above says so. Each that is made or deleted bumps the root's generation, on which the plan
/// rests: the number is that of the plan's place in the log.
pub(crate) fn check_namespaces(txn: &mut Txn<'_>, auth: &mut AuthCache, here: &NamespacePath) -> Result<(), Error> {
    let numbers = auth.numbers(txn)?;
    let limited = numbers.iter().filter(|placed| placed.number.what == What::Namespaces);
    let limited: Vec<&Placed> = limited.filter(|placed| placed.rest.is_empty()).collect();
    if limited.is_empty() {
        return Ok(());
    }
    let tree = auth.tree(txn)?;
    let mut above = Some(here.clone());
    while let Some(path) = above {
        let holds = |placed: &&&Placed| {
            let is_below = path.below(&placed.namespace_path).is_some();
            placed.namespace_path == path || placed.number.inheritable && is_below
        };
        let most = limited.iter().filter(holds).map(|placed| placed.number.max).min();
        if most.is_some_and(|most| tree.count_below(&path) >= most) {
            return Err(InsertError::limited(Kind::Namespace).into());
        }
        above = path.parent();
    }
    Ok(())
}

/// Refuses a request whose reply is to be wrapped where no token has a place. The wrapping token is made by a plan of its own once the request is carried out,
/// which is too late to be refused; so it is asked for here, and as many as are under way at once may be one too many each.
pub(crate) fn check_wrapping(txn: &mut Txn<'_>, request: &Request) -> Result<(), Failure> {
    let is_wrapped = request.sent().is_some_and(|sent| sent.wrap_ttl_s > 0);
    if !is_wrapped || txn.limits().is_none() {
        return Ok(());
    }
    Ok(txn.check_place(Shelf::Accessors.here(txn), Kind::Token)?)
}
