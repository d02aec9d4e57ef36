//! Plans a request: reads the state, checks, and writes what follows.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_logical::{Body, Object};
use aumbry_state::key;
use aumbry_types::{Name, ObjectId};

use super::request::{Hashed, MISSING_PASSWORD, Request};
use super::user::{Found, User};
use crate::answer::{Answer, Error};
use crate::listing;
use crate::lockout::{Lockout, Looked};
use crate::params::{OldNames, TokenParams};

/// Plans a request on the mount with this object.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan(txn: &mut Txn<'_>, mount: ObjectId, request: &Request) -> Result<Answer, Error> {
    match request {
        Request::WriteUser { user, password, body } => write_user(txn, mount, user, password.as_ref(), body),
        Request::ReadUser(user) => {
            let mut data = Object::new();
            existing(txn, mount, user)?.user.params.render(&mut data);
            Ok(Answer::of(data))
        }
        Request::DeleteUser(user) => {
            if let Some(found) = Found::find(txn, mount, user)? {
                txn.remove(mount, user.as_str())?;
                txn.delete_object(found.id);
            }
            Ok(Answer::done())
        }
        Request::ListUsers { after, limit } => Answer::names(listing::names(txn, mount, after, *limit)?),
        Request::WritePassword(user, password) => {
            let mut found = existing(txn, mount, user)?;
            found.user.set_hash(&password.hash);
            found.write(txn);
            Ok(Answer::done())
        }
        Request::WritePolicies(user, body) => {
            let mut found = existing(txn, mount, user)?;
            let named = |name: &str| matches!(name, "policies" | "token_policies");
            let values = body.object().iter().filter(|(name, _)| named(name));
            let only = Body::new(values.map(|(name, value)| (name.clone(), value.clone())).collect());
            found.user.params.merge(&only, OLD_NAMES)?;
            found.write(txn);
            Ok(Answer::done())
        }
    }
}

/// Whether what a request is about is there: a write where nothing is needs `create` instead of `update`.
///
/// # Errors
/// [`Error::Damaged`]
pub fn exists<P>(txn: &mut Txn<'_>, mount: ObjectId, request: &Request<P>) -> Result<bool, Error> {
    match request {
        Request::WriteUser { user, .. } => Ok(txn.lookup(mount, user.as_str())?.is_some()),
        _ => Ok(true),
    }
}

/// Whether a user is locked, for those who may know it.
///
/// # Errors
/// [`DamagedRow`]
pub fn is_locked(txn: &mut Txn<'_>, mount: ObjectId, user: &Name, lockout: &Lockout) -> Result<bool, DamagedRow> {
    let found = Found::find(txn, mount, user)?;
    let now_ms = txn.now().0;
    Ok(found.is_some_and(|found| lockout.is_locked(found.failures(), now_ms)))
}

/// Who is locked, of so many users with names greater than this. What is counted stands in the clear header of a row, so none is opened. The
/// rows are not recorded as read: a failed login that is still in flight may come to nothing.
pub(crate) fn locked(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    lockout: &Lockout,
    after: &str,
    most: usize,
) -> Result<Looked, DamagedRow> {
    let children = txn.list(mount)?;
    let first = children.partition_point(|child| child.name.as_str() <= after);
    let page = &children[first..children.len().min(first + most)];
    let now_ms = txn.now().0;
    let mut names = Vec::new();
    for child in page {
        let row = txn.peek_row(&key::object(child.id))?.ok_or(DamagedRow)?;
        let [failures, last_ms] = row.counters;
        if lockout.is_locked((failures, last_ms), now_ms) {
            names.push(child.name.clone());
        }
    }
    let has_more = first + page.len() < children.len();
    let last = page.last().map_or(after, |child| child.name.as_str());
    Ok(Looked {
        names,
        count: page.len(),
        last: has_more.then(|| last.to_owned()),
    })
}

/// Forgets the failed logins of a user. There may be none.
///
/// # Errors
/// [`DamagedRow`]
pub fn unlock(txn: &mut Txn<'_>, mount: ObjectId, user: &Name) -> Result<(), DamagedRow> {
    if let Some(found) = Found::find(txn, mount, user)? {
        found.forget_failures(txn);
    }
    Ok(())
}

fn existing(txn: &mut Txn<'_>, mount: ObjectId, user: &Name) -> Result<Found, Error> {
    Found::find(txn, mount, user)?.ok_or(Error::NotFound)
}

fn write_user(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    name: &Name,
    password: Option<&Hashed>,
    body: &Body,
) -> Result<Answer, Error> {
    match Found::find(txn, mount, name)? {
        Some(mut found) => {
            found.user.params.merge(body, OLD_NAMES)?;
            if let Some(password) = password {
                found.user.set_hash(&password.hash);
            }
            found.write(txn);
        }
        None => {
            let password = password.ok_or(Error::Invalid(MISSING_PASSWORD))?;
            let mut params = TokenParams::new();
            params.merge(body, OLD_NAMES)?;
            User::new(&password.hash, params).enter(txn, mount, name)?;
        }
    }
    Ok(Answer::done())
}

/// As older clients name them.
const OLD_NAMES: OldNames = OldNames(&["policies", "ttl", "max_ttl", "bound_cidrs"]);
