//! Looks at the state that the leader's next plan would be made on. Nothing is planned, recorded or told by them: what rests on one is decided again by a plan.

use aumbry_auth::token::authenticate;
use aumbry_barrier::Txn;
use aumbry_policy::Access;
use aumbry_types::{Capability, NamespacePath, SecretPath};

use crate::allow::decide;
use crate::mounts::{AuthCache, Mount, MountRow};
use crate::{Failure, Node, Request};

impl Node {
    /// The mount of a secrets engine that holds a path, as the next plan would see it. For resolving what is asked by path: the plan looks again.
    ///
    /// # Errors
    /// [`Failure`] if this node does not lead, or is sealed.
    pub fn find_mount(&self, namespace: &NamespacePath, path: &SecretPath) -> Result<Option<MountRow>, Failure> {
        let found = self.look(namespace, |txn, auth| {
            Ok(auth.mount_of(txn, path)?.map(|mount| mount.row()))
        });
        Ok(found?.flatten())
    }

    /// The mount of an auth method that holds a path, of which `auth/` is left out.
    ///
    /// # Errors
    /// As [`Self::find_mount`].
    pub fn find_auth_mount(&self, namespace: &NamespacePath, path: &SecretPath) -> Result<Option<MountRow>, Failure> {
        let found = self.look(namespace, |txn, auth| {
            let mounts = auth.auth_mounts(txn)?;
            let mount = mounts.iter().find(|mount| path.below(&mount.path).is_some());
            Ok(mount.map(Mount::row))
        });
        Ok(found?.flatten())
    }

    /// Looks at a namespace. `None` if there is no such one.
    pub(crate) fn look<T>(
        &self,
        namespace: &NamespacePath,
        look: impl FnOnce(&mut Txn<'_>, &mut AuthCache) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let mut guard = self.sequencer.lock();
        let planner = &mut *guard;
        let (_, now) = self.enter_leadership(planner)?;
        let barrier = self.seal.barrier().ok_or_else(Failure::sealed)?;
        let mut txn = Txn::new(&planner.overlay, &barrier, &self.lists, &*self.entropy, now);
        if planner.auth.begin(&mut txn, namespace)?.is_none() {
            return Ok(None);
        }
        look(&mut txn, &mut planner.auth).map(Some)
    }

    /// Whether the caller may do one of these on a path of a namespace, as the next plan would see it. For work that is too dear to be done for anybody before the plan,
    /// which decides again.
    #[must_use]
    pub fn may(&self, request: &Request, namespace: &NamespacePath, path: &str, capabilities: &[Capability]) -> bool {
        let decided = self.look(namespace, |txn, auth| {
            let custom = auth.allows_custom_tokens(txn);
            let evidence = &request.evidence;
            let caller = authenticate(txn, evidence.token.expose(), custom, &evidence.client_address)
                .map_err(|_| Failure::denied())?;
            auth.admit(txn, &caller, namespace, Some(txn.namespace()))?;
            let policies = auth.policies_of(txn, &caller)?;
            let path = format!("{}{path}", auth.prefix(txn, caller.namespace)?);
            let parameters = request.parameters()?;
            let may = |capability: &Capability| {
                let access = Access::new(&path, *capability, txn.now());
                decide(&policies, &access, parameters.as_ref()).allowed
            };
            Ok(capabilities.iter().any(may))
        });
        decided.ok().flatten().unwrap_or(false)
    }
}
