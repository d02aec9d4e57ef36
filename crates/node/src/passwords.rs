//! Policies of passwords, and passwords made by them. What a policy says is `aumbry_policy`'s.

use aumbry_auth::{Answer, Error, Shelf};
use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn};
use aumbry_logical::Object;
use aumbry_policy::PasswordPolicy;
use aumbry_types::{Name, ObjectId};
use serde_json::Value;

/// A request about policies of passwords.
pub enum Request {
    /// Writes one, whose text is given.
    Write(Name, String),
    /// Reads one.
    Read(Name),
    /// Deletes one.
    Delete(Name),
    /// Lists their names.
    List,
    /// Makes a password by one. It is told, and kept nowhere.
    Generate(Name),
}

impl Request {
    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Write(..) | Self::Delete(_))
    }
}

/// Whether what a write is about is there: a write where nothing is needs `create` instead of `update`.
pub(crate) fn exists(txn: &mut Txn<'_>, request: &Request) -> Result<bool, Error> {
    match request {
        Request::Write(name, _) => Ok(txn.lookup(Shelf::PasswordPolicies.here(txn), name.as_str())?.is_some()),
        _ => Ok(true),
    }
}

/// Plans a request. The inner refusal is what is wrong with a text, for whoever wrote it.
pub(crate) fn plan(txn: &mut Txn<'_>, request: &Request) -> Result<Result<Answer, String>, Error> {
    let shelf = Shelf::PasswordPolicies.here(txn);
    Ok(Ok(match request {
        Request::Write(name, text) => {
            let checked = PasswordPolicy::parse(text).and_then(|policy| policy.check(txn.entropy()));
            if let Err(error) = checked {
                return Ok(Err(error.to_string()));
            }
            let id = match txn.lookup(shelf, name.as_str())? {
                Some(child) => child.id,
                None => {
                    let id = ObjectId::make(txn.entropy());
                    txn.insert(shelf, name.as_str(), Kind::PasswordPolicy, id)?;
                    id
                }
            };
            txn.put_object(id, Kind::PasswordPolicy, text.as_bytes(), ObjectOptions::default());
            Answer::done()
        }
        Request::Read(name) => said("policy", read(txn, name)?),
        Request::Delete(name) => {
            if let Some(child) = txn.lookup(shelf, name.as_str())? {
                txn.remove(shelf, name.as_str())?;
                txn.delete_object(child.id);
            }
            Answer::done()
        }
        Request::List => {
            let children = txn.list(shelf)?;
            if children.is_empty() {
                return Err(Error::NotFound);
            }
            let names = children.iter().map(|child| Value::from(child.name.as_str()));
            Answer::of(Object::from_iter([("keys".to_owned(), names.collect())]))
        }
        Request::Generate(name) => {
            let text = read(txn, name)?;
            // It was parsed before it was stored.
            let policy = PasswordPolicy::parse(&text).map_err(|_| DamagedRow)?;
            let Some(password) = policy.generate(txn.entropy()) else {
                return Ok(Err("no password that keeps the policy was found; try again".to_owned()));
            };
            said("password", password.expose_str().ok_or(DamagedRow)?.to_owned())
        }
    }))
}

fn read(txn: &mut Txn<'_>, name: &Name) -> Result<String, Error> {
    let child = txn.lookup(Shelf::PasswordPolicies.here(txn), name.as_str())?;
    let child = child.ok_or(Error::NotFound)?;
    let object = txn.read_object(child.id, Kind::PasswordPolicy)?.ok_or(DamagedRow)?;
    let text = object.plain.expose_str().ok_or(DamagedRow)?;
    Ok(text.to_owned())
}

fn said(name: &str, text: String) -> Answer {
    Answer::of(Object::from_iter([(name.to_owned(), Value::String(text))]))
}
