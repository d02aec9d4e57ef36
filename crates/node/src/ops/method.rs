//! What auth methods, roles of tokens and cubbyholes do with requests by path.

use aumbry_auth::identity::{self, Mounts, mfa};
use aumbry_auth::lockout::{self, LockingMount};
use aumbry_auth::namespace::{self, Change};
use aumbry_auth::{
    Answer, Caller, Error, NAMESPACE_ROOT, Shelf, approle, cert, cubbyhole, jwt, kubernetes, ldap, userpass,
};
use aumbry_barrier::Txn;
use aumbry_logical::Object;
use aumbry_types::{MountPath, ObjectId, SecretBytes};

use crate::ceremony::{generate_root, rekey};
use crate::logins;
use crate::method::{Asked, MethodAsk, failure};
use crate::mounts::AuthCache;
use crate::{Failure, Reply, erasure, keys, passwords, quotas};

/// Whether what a write is about is there.
pub(crate) fn exists(txn: &mut Txn<'_>, auth: &mut AuthCache, ask: &MethodAsk) -> Result<bool, Failure> {
    let found = match &ask.asked {
        Asked::AppRole(mount, request) => {
            let mount = root(txn, auth, mount, "approle")?;
            approle::exists(txn, mount, request)
        }
        Asked::Userpass(mount, request) => {
            let mount = root(txn, auth, mount, "userpass")?;
            userpass::exists(txn, mount, request)
        }
        Asked::Jwt(mount, request) => {
            let mount = root(txn, auth, mount, "jwt")?;
            request.exists(txn, mount)
        }
        Asked::Kubernetes(mount, request) => {
            let mount = root(txn, auth, mount, "kubernetes")?;
            request.exists(txn, mount)
        }
        Asked::Ldap(mount, request) => {
            let mount = root(txn, auth, mount, "ldap")?;
            request.exists(txn, mount)
        }
        Asked::Cert(mount, request) => {
            let mount = root(txn, auth, mount, "cert")?;
            request.exists(txn, mount)
        }
        Asked::TokenRole(request) => request.exists(txn),
        Asked::Cubbyhole(_) | Asked::Mfa(_) | Asked::Keys(_) | Asked::Lockout(_) => Ok(true),
        Asked::Rekey(_) | Asked::GenerateRoot(_) | Asked::Erasure(_) => Ok(true),
        Asked::Identity(request) => identity::exists(txn, request),
        Asked::Quota(request) => quotas::exists(txn, request),
        Asked::Password(request) => passwords::exists(txn, request),
        Asked::Namespace(request) => {
            let here = auth.path_here(txn)?;
            namespace::exists(txn, &here, request)
        }
    };
    found.map_err(failure)
}

pub(super) fn plan(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    caller: &Caller,
    ask: &MethodAsk,
) -> Result<Reply, Failure> {
    let answer = match &ask.asked {
        Asked::AppRole(mount, request) => {
            let mount = root(txn, auth, mount, "approle")?;
            approle::plan(txn, mount, request)
        }
        Asked::Userpass(mount, request) => {
            let mount = root(txn, auth, mount, "userpass")?;
            userpass::plan(txn, mount, request)
        }
        Asked::Jwt(mount, request) => {
            let mount = root(txn, auth, mount, "jwt")?;
            jwt::plan(txn, mount, request)
        }
        Asked::Kubernetes(mount, request) => {
            let mount = root(txn, auth, mount, "kubernetes")?;
            kubernetes::plan(txn, mount, request)
        }
        Asked::Ldap(mount, request) => {
            let mount = root(txn, auth, mount, "ldap")?;
            ldap::plan(txn, mount, request)
        }
        Asked::Cert(mount, request) => {
            let mount = root(txn, auth, mount, "cert")?;
            cert::plan(txn, mount, request)
        }
        Asked::TokenRole(request) => request.plan(txn),
        Asked::Cubbyhole(request) => cubbyhole::plan(txn, caller, request),
        Asked::Mfa(request) => {
            if request.is_write() {
                txn.bump_auth_generation(txn.namespace());
            }
            mfa::plan(txn, caller, request)
        }
        Asked::Quota(request) => {
            if request.is_write() {
                txn.bump_auth_generation(txn.namespace());
            }
            quotas::plan(txn, auth, request)
        }
        Asked::Namespace(request) => namespaces(txn, auth, request),
        Asked::Keys(request) => keys::plan(txn, request),
        Asked::Erasure(request) => erasure::plan(txn, request),
        Asked::Rekey(request) => Ok(rekey::plan(txn, caller, request)?),
        Asked::GenerateRoot(request) => Ok(generate_root::plan(txn, caller, request)?),
        Asked::Password(request) => match passwords::plan(txn, request) {
            Ok(Err(wrong)) => return Err(Failure::invalid(wrong)),
            Ok(Ok(answer)) => Ok(answer),
            Err(error) => Err(error),
        },
        Asked::Lockout(request) => {
            let mounts = auth.auth_mounts(txn)?;
            let locking = mounts.iter().map(|mount| LockingMount {
                id: mount.root,
                accessor: mount.info.accessor.clone(),
                kind: mount.info.kind.clone(),
                lockout: mount.options.lockout,
            });
            let here = auth.told_path(txn, txn.namespace())?.unwrap_or_default();
            lockout::plan(txn, &locking.collect::<Vec<_>>(), &here, request)
        }
        Asked::Identity(request) => {
            let mounts = auth.named_mounts(txn)?;
            if request.is_write() {
                txn.bump_auth_generation(txn.namespace());
            }
            identity::plan(txn, Mounts(&mounts), request)
        }
    };
    let Answer { data, warnings } = answer.map_err(failure)?;
    Ok(Reply::Json {
        data: encode(data)?,
        warnings: warnings.into_iter().map(str::to_owned).collect(),
    })
}

/// An object as JSON; nothing if there is none.
pub(crate) fn encode(data: Option<Object>) -> Result<SecretBytes, Failure> {
    let encode = |data| serde_json::to_vec(&data).map(SecretBytes::new);
    let data = data.map(encode).transpose();
    let data = data.map_err(|_| Failure::internal("the answer cannot be written as JSON"))?;
    Ok(data.unwrap_or_default())
}

/// Plans a request about namespaces, with what the engines have to do with it.
fn namespaces(txn: &mut Txn<'_>, auth: &mut AuthCache, request: &namespace::Request) -> Result<Answer, Error> {
    let here = auth.path_here(txn)?;
    let mounts = auth.mounts(txn)?;
    let mounts: Vec<String> = mounts.iter().map(|mount| mount.path.as_str().to_owned()).collect();
    let place = namespace::Place {
        here: &here,
        mounts: &mounts,
    };
    let (answer, change) = namespace::plan(txn, &place, request)?;
    match change {
        Change::None => {}
        Change::Made(id) => {
            quotas::numbers::check_namespaces(txn, auth, &here)?;
            super::policy::enter_default(txn, id)?;
        }
        Change::Gone(id) => crate::expiry::abandon_mounts(txn, Shelf::Mounts.of(id))?,
    }
    // With it every request that was planned until now, wherever, is planned again.
    if change != Change::None {
        txn.bump_auth_generation(NAMESPACE_ROOT);
    }
    Ok(answer)
}

fn root(txn: &mut Txn<'_>, auth: &mut AuthCache, mount: &MountPath, kind: &str) -> Result<ObjectId, Failure> {
    let mount = logins::find(txn, auth, mount.as_str(), kind)?;
    mount.map(|mount| mount.root).ok_or_else(|| failure(Error::NotFound))
}
