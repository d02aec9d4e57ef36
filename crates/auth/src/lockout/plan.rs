//! Plans a request: who is locked, and unlocking.

use aumbry_barrier::Txn;
use aumbry_types::{Name, ObjectId};
use serde_json::{Value, json};

use super::{Lockout, Request, Strangers, is_of, strangers};
use crate::answer::{Answer, Error, object};
use crate::{NAMESPACE_ROOT, userpass};

/// A mount of an auth method.
pub struct LockingMount {
    /// Its container.
    pub id: ObjectId,
    /// Names it.
    pub accessor: String,
    /// Its method.
    pub kind: String,
    /// Its settings.
    pub lockout: Lockout,
}

/// What was found at one mount.
#[derive(Default)]
pub(crate) struct Looked {
    /// Who is locked.
    pub(crate) names: Vec<String>,
    /// How many were looked at.
    pub(crate) count: usize,
    /// The last that was looked at, if there are more.
    pub(crate) last: Option<String>,
}

/// Plans a request about the mounts of a namespace, of which the path is given too.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan(
    txn: &mut Txn<'_>,
    mounts: &[LockingMount],
    namespace_path: &str,
    request: &Request,
) -> Result<Answer, Error> {
    match request {
        Request::List { accessor, after } => {
            if let Some(accessor) = accessor {
                find(mounts, accessor)?;
            }
            let is_meant = |mount: &&LockingMount| accessor.as_ref().is_none_or(|wanted| mount.accessor == *wanted);
            let mounts = mounts.iter().filter(|mount| is_of(&mount.kind)).filter(is_meant);
            list(txn, mounts, after, namespace_path)
        }
        Request::Unlock { accessor, name } => {
            let mount = find(mounts, accessor)?;
            if mount.kind == LDAP {
                Strangers::read(txn, mount.id, name)?.forget(txn, &mount.lockout);
            } else if let Ok(name) = Name::parse(&name.to_ascii_lowercase()) {
                userpass::unlock(txn, mount.id, &name)?;
            }
            Ok(Answer::done())
        }
    }
}

fn find<'a>(mounts: &'a [LockingMount], accessor: &str) -> Result<&'a LockingMount, Error> {
    let mut found = mounts.iter().filter(|mount| is_of(&mount.kind));
    found
        .find(|mount| mount.accessor == accessor)
        .ok_or(Error::Invalid(NO_MOUNT))
}

fn list<'a>(
    txn: &mut Txn<'_>,
    mounts: impl Iterator<Item = &'a LockingMount>,
    after: &str,
    namespace_path: &str,
) -> Result<Answer, Error> {
    let mut left = LOOKED_MAX;
    let mut of_mounts = Vec::new();
    let mut total = 0;
    let mut next = None;
    for mount in mounts {
        if left == 0 {
            next = Some(json!({ "mount_accessor": mount.accessor, "after": "" }));
            break;
        }
        let looked = match mount.kind.as_str() {
            LDAP => strangers::locked(txn, mount.id, &mount.lockout, after)?,
            _ => userpass::locked(txn, mount.id, &mount.lockout, after, left)?,
        };
        left = left.saturating_sub(looked.count);
        if !looked.names.is_empty() {
            total += looked.names.len();
            of_mounts.push(json!({
                "mount_accessor": mount.accessor,
                "counts": looked.names.len(),
                "alias_identifiers": looked.names,
            }));
        }
        if let Some(last) = looked.last {
            next = Some(json!({ "mount_accessor": mount.accessor, "after": last }));
            break;
        }
    }
    let namespace = match txn.namespace() {
        NAMESPACE_ROOT => "root".to_owned(),
        namespace => namespace.to_string(),
    };
    let by_namespace = match total {
        0 => Vec::new(),
        _ => vec![json!({
            "namespace_id": namespace,
            "namespace_path": namespace_path,
            "counts": total,
            "mount_accessors": of_mounts,
        })],
    };
    let mut data = object([("by_namespace", Value::Array(by_namespace)), ("total", total.into())]);
    let mut warnings = Vec::new();
    if let Some(next) = next {
        data.insert("next".to_owned(), next);
        warnings.push(MORE);
    }
    Ok(Answer {
        data: Some(data),
        warnings,
    })
}

/// The method whose users have no rows here.
const LDAP: &str = "ldap";
const NO_MOUNT: &str = "there is no mount with this accessor that locks users; see `sys/auth` for accessors";
const MORE: &str = "there are more users than one request looks at: ask again with what stands in `next`, and of mounts behind that one by their accessors";
/// Every other plan waits for the look: so many rows are read in some milliseconds.
const LOOKED_MAX: usize = 2_000;
