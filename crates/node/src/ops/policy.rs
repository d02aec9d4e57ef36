//! Policies. Every change bumps the namespace's generation, so that nothing decided under the old rules is applied after it.

use aumbry_auth::{Error, NAMESPACE_ROOT, Shelf};
use aumbry_barrier::{Kind, ObjectOptions, Txn};
use aumbry_policy::Policy;
use aumbry_state::key;
use aumbry_types::{Name, ObjectId};
use bytes::Bytes;

use crate::genesis::{DEFAULT_POLICY, clear_row};
use crate::mounts::read_policy;
use crate::{Class, Failure, Reply};

pub(super) fn write(txn: &mut Txn<'_>, name: &Name, text: &str) -> Result<Reply, Failure> {
    if name.as_str() == "root" {
        return Err(Failure::invalid("the policy `root` is built in and cannot be changed"));
    }
    Policy::parse(text).map_err(|error| Failure::invalid(error.to_string()))?;
    enter(txn, name, text)?;
    txn.bump_auth_generation(txn.namespace());
    Ok(Reply::Done)
}

/// Stores a policy without bumping the generation, as the first entry of a cluster does.
pub(crate) fn enter(txn: &mut Txn<'_>, name: &Name, text: &str) -> Result<(), Failure> {
    let id = match txn.lookup(Shelf::Policies.here(txn), name.as_str())? {
        Some(child) => child.id,
        None => {
            let id = ObjectId::make(txn.entropy());
            txn.insert(Shelf::Policies.here(txn), name.as_str(), Kind::Policy, id)?;
            id
        }
    };
    txn.put_object(id, Kind::Policy, text.as_bytes(), ObjectOptions::default());
    Ok(())
}

/// Gives a new namespace the policy that every token has, and a generation.
pub(super) fn enter_default(txn: &mut Txn<'_>, namespace: ObjectId) -> Result<(), Error> {
    let before = txn.enter_namespace(namespace);
    let id = ObjectId::make(txn.entropy());
    let entered = txn.insert(Shelf::Policies.here(txn), "default", Kind::Policy, id);
    txn.enter_namespace(before);
    entered?;
    txn.put_object(id, Kind::Policy, DEFAULT_POLICY.as_bytes(), ObjectOptions::default());
    txn.write(clear_row(key::auth_generation(namespace), Bytes::new(), [1, 0]));
    Ok(())
}

pub(super) fn read(txn: &mut Txn<'_>, name: &Name) -> Result<Reply, Failure> {
    read_policy(txn, name.as_str())?
        .map(Reply::Policy)
        .ok_or_else(not_found)
}

pub(super) fn list(txn: &mut Txn<'_>) -> Result<Reply, Failure> {
    let mut names: Vec<String> = txn
        .list(Shelf::Policies.here(txn))?
        .iter()
        .map(|child| child.name.clone())
        .collect();
    if txn.namespace() == NAMESPACE_ROOT {
        names.push("root".to_owned());
    }
    names.sort_unstable();
    Ok(Reply::Names(names))
}

pub(super) fn delete(txn: &mut Txn<'_>, name: &Name) -> Result<Reply, Failure> {
    if matches!(name.as_str(), "root" | "default") {
        return Err(Failure::invalid("the policies `root` and `default` cannot be deleted"));
    }
    let child = txn
        .lookup(Shelf::Policies.here(txn), name.as_str())?
        .ok_or_else(not_found)?;
    txn.remove(Shelf::Policies.here(txn), name.as_str())?;
    txn.delete_object(child.id);
    txn.bump_auth_generation(txn.namespace());
    Ok(Reply::Done)
}

fn not_found() -> Failure {
    Failure::new(Class::NotFound, "NOT_FOUND", "no such policy")
}
