//! Plans a request. Every change bumps the root's generation, which is the caller's to do: a request anywhere rests on which namespaces there are.

use aumbry_barrier::{DamagedRow, Kind, Txn};
use aumbry_state::{Write, key};
use aumbry_types::{NamespacePath, ObjectId};
use serde_json::{Map, Value};

use super::request::Request;
use super::row::Row;
use crate::answer::{Answer, Error, object};
use crate::places::{NAMESPACE_ROOT, NAMESPACES, Place as MountPlace, Shelf};
use crate::{listing, sweep};

/// Where a request is made.
pub struct Place<'a> {
    /// In this namespace.
    pub here: &'a NamespacePath,
    /// The mounts of engines there.
    pub mounts: &'a [String],
}

/// What a plan came to, and what is left for its caller to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// A namespace was made, which wants its own policies.
    Made(ObjectId),
    /// A namespace is gone: mounts of engines are to be swept.
    Gone(ObjectId),
}

/// Plans a request.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan(txn: &mut Txn<'_>, place: &Place<'_>, request: &Request) -> Result<(Answer, Change), Error> {
    let done = |answer| Ok((answer, Change::None));
    match request {
        Request::List { after, limit } => done(list(txn, place.here, after, *limit)?),
        Request::Read(name) => {
            let path = child(place.here, name)?;
            let id = find(txn, &path)?.ok_or(Error::NotFound)?;
            done(Answer::of(Row::read(txn, id)?.show(id, &path)))
        }
        Request::Write(name, body) => {
            let path = child(place.here, name)?;
            let (id, mut row, change) = match find(txn, &path)? {
                Some(id) => (id, Row::read(txn, id)?, Change::None),
                None => {
                    let id = enter(txn, place, name, &path)?;
                    let created = txn.now().0;
                    (
                        id,
                        Row {
                            created,
                            ..Row::default()
                        },
                        Change::Made(id),
                    )
                }
            };
            row.replace(body)?;
            row.write(txn, id);
            Ok((Answer::of(row.show(id, &path)), change))
        }
        Request::Patch(name, body) => {
            let path = child(place.here, name)?;
            let id = find(txn, &path)?.ok_or(Error::NotFound)?;
            let mut row = Row::read(txn, id)?;
            row.merge(body)?;
            row.write(txn, id);
            done(Answer::of(row.show(id, &path)))
        }
        Request::Delete(name) => {
            let path = child(place.here, name)?;
            // As in Vault: what is not there is gone.
            let Some(id) = find(txn, &path)? else {
                return done(Answer::warned("requested namespace does not exist"));
            };
            delete(txn, &path, id)?;
            // Clients expect it: the namespace is gone, and what it held is removed by and by.
            let told = object([("status", "in-progress".into())]);
            Ok((Answer::of(told), Change::Gone(id)))
        }
    }
}

/// Whether what a request is about is there: a write where nothing is needs `create` instead of `update`.
///
/// # Errors
/// [`Error`]
pub fn exists(txn: &mut Txn<'_>, here: &NamespacePath, request: &Request) -> Result<bool, Error> {
    match request {
        Request::Write(name, _) => Ok(find(txn, &child(here, name)?)?.is_some()),
        _ => Ok(true),
    }
}

fn child(here: &NamespacePath, name: &str) -> Result<NamespacePath, Error> {
    if name.contains('/') {
        return Err(Error::Invalid(
            "name a namespace right below this one; one further down is named in its parent (X-Vault-Namespace, or before the path)",
        ));
    }
    Ok(here.join(name)?)
}

/// The namespace with this path.
///
/// # Errors
/// [`DamagedRow`]
pub fn find(txn: &mut Txn<'_>, path: &NamespacePath) -> Result<Option<ObjectId>, DamagedRow> {
    if path.is_root() {
        return Ok(Some(NAMESPACE_ROOT));
    }
    Ok(txn.lookup(NAMESPACES, path.as_str())?.map(|child| child.id))
}

/// Since when there is a namespace that is not the root, in log time (ms).
///
/// # Errors
/// [`DamagedRow`]
pub fn created(txn: &mut Txn<'_>, id: ObjectId) -> Result<u64, DamagedRow> {
    Ok(Row::read(txn, id)?.created)
}

fn enter(txn: &mut Txn<'_>, place: &Place<'_>, name: &str, path: &NamespacePath) -> Result<ObjectId, Error> {
    // A path is one thing's: the mount would be reached no more.
    if place.mounts.iter().any(|mount| mount.split('/').next() == Some(name)) {
        return Err(Error::Invalid(
            "a secrets engine is mounted at this path, or below it; move it, or choose another name",
        ));
    }
    if txn.container(NAMESPACES)?.children >= NAMESPACES_MAX {
        txn.fence_scan(NAMESPACES)?;
        return Err(Error::Invalid("there are 10,000 namespaces, which is the most"));
    }
    let id = ObjectId::make(txn.entropy());
    txn.insert(NAMESPACES, path.as_str(), Kind::Namespace, id)?;
    Ok(id)
}

/// The namespaces right below this one.
fn list(txn: &mut Txn<'_>, here: &NamespacePath, after: &str, limit: usize) -> Result<Answer, Error> {
    let limit = if limit == 0 {
        listing::PAGE_MAX
    } else {
        limit.min(listing::PAGE_MAX)
    };
    let all = txn.list(NAMESPACES)?;
    let mut children = Vec::new();
    for child in all.iter() {
        let path = NamespacePath::parse(&child.name).map_err(|_| DamagedRow)?;
        let name = path.below(here).filter(|name| !name.is_empty() && !name.contains('/'));
        if let Some(key) = name.map(|name| format!("{name}/")).filter(|key| key.as_str() > after) {
            children.push((key, child.id, path));
        }
    }
    children.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let has_more = children.len() > limit;
    children.truncate(limit);
    let mut info = Map::new();
    for (key, id, path) in &children {
        info.insert(key.clone(), Value::Object(Row::read(txn, *id)?.show(*id, path)));
    }
    let keys = children.into_iter().map(|(key, ..)| key).collect();
    let mut answer = Answer::names((keys, has_more))?;
    answer
        .data
        .get_or_insert_default()
        .insert("key_info".to_owned(), Value::Object(info));
    Ok(answer)
}

/// Removes a namespace. Its tokens are good for nothing from this entry on, as each needs the row that goes; what is left on disk is swept.
fn delete(txn: &mut Txn<'_>, path: &NamespacePath, id: ObjectId) -> Result<(), Error> {
    let is_below =
        |name: &str| NamespacePath::parse(name).is_ok_and(|other| other != *path && other.below(path).is_some());
    if txn.list(NAMESPACES)?.iter().any(|child| is_below(&child.name)) {
        return Err(Error::Invalid(
            "there are namespaces below this one; delete those first",
        ));
    }
    txn.remove(NAMESPACES, path.as_str())?;
    txn.delete_object(id);
    txn.write(Write::Delete(key::auth_generation(id)));
    for shelf in Shelf::ALL {
        match shelf {
            Shelf::Mounts => {}
            Shelf::TokenMount => sweep::revoke_container(txn, MountPlace::Aliases.of(shelf.of(id)))?,
            _ => sweep::revoke_container(txn, shelf.of(id))?,
        }
    }
    Ok(())
}

/// The names of all are in the leader's memory, and are read anew when one comes or goes: so many take some ten milliseconds.
const NAMESPACES_MAX: u64 = 10_000;
