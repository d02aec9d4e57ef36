//! The cubbyhole: what a token keeps for itself. Nobody else reaches it, whatever their policies, and it goes with the token.

use std::collections::BTreeSet;

use aumbry_barrier::{Kind, ObjectOptions, Txn};
use aumbry_logical::{Body, Verb};
use aumbry_types::{ObjectId, SecretBytes, SecretPath};

use crate::Caller;
use crate::answer::{Answer, Error, object};
use crate::places::cubbyhole_of;
use crate::token::TokenType;

/// A request of a token about its own cubbyhole.
pub enum Request {
    /// Writes what is there, whole: one JSON object.
    Write(SecretPath, SecretBytes),
    /// Reads what is there.
    Read(SecretPath),
    /// Removes what is there.
    Delete(SecretPath),
    /// Lists the names in a directory, or at the top.
    List(Option<SecretPath>),
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: &Body) -> Result<Self, Error> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return match verb {
                Verb::List => Ok(Self::List(None)),
                _ => Err(Error::Unsupported),
            };
        }
        let path = SecretPath::parse(path).map_err(|_| Error::Invalid("this is no path of a secret"))?;
        match verb {
            Verb::Write if body.object().is_empty() => Err(Error::Invalid("missing data fields")),
            Verb::Write => Ok(Self::Write(path, body.encode())),
            Verb::Read => Ok(Self::Read(path)),
            Verb::Delete => Ok(Self::Delete(path)),
            Verb::List => Ok(Self::List(Some(path))),
            Verb::Patch | Verb::Scan => Err(Error::Unsupported),
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Write(..) | Self::Delete(_))
    }
}

/// Plans a request of the caller, who was authenticated by the same plan.
///
/// # Errors
/// [`Error`]
pub fn plan(txn: &mut Txn<'_>, caller: &Caller, request: &Request) -> Result<Answer, Error> {
    if caller.token_type == TokenType::Batch {
        return Err(Error::Invalid(
            "a batch token has no cubbyhole: nothing of it is stored",
        ));
    }
    let hole = cubbyhole_of(caller.id);
    match request {
        Request::Write(path, data) => {
            let id = match txn.lookup(hole, path.as_str())? {
                Some(child) => child.id,
                None => {
                    if txn.container(hole)?.children >= ENTRIES_MAX {
                        txn.fence_scan(hole)?;
                        return Err(Error::Invalid("a cubbyhole holds at most 256 entries"));
                    }
                    let id = ObjectId::make(txn.entropy());
                    txn.insert(hole, path.as_str(), Kind::Cubbyhole, id)?;
                    id
                }
            };
            let options = ObjectOptions {
                container: hole,
                ..ObjectOptions::default()
            };
            txn.put_object(id, Kind::Cubbyhole, data.expose(), options);
            Ok(Answer::done())
        }
        Request::Read(path) => {
            let child = txn.lookup(hole, path.as_str())?.ok_or(Error::NotFound)?;
            let object = txn.read_object(child.id, Kind::Cubbyhole)?.ok_or(Error::NotFound)?;
            let body = Body::parse(object.plain.expose()).map_err(|_| Error::Damaged(aumbry_barrier::DamagedRow))?;
            Ok(Answer::of(body.object().clone()))
        }
        Request::Delete(path) => {
            if let Some(child) = txn.lookup(hole, path.as_str())? {
                txn.remove(hole, path.as_str())?;
                txn.delete_object(child.id);
            }
            Ok(Answer::done())
        }
        Request::List(directory) => {
            let prefix = directory.as_ref().map(|path| format!("{}/", path.as_str()));
            let prefix = prefix.unwrap_or_default();
            let children = txn.list(hole)?;
            let below = children.iter().filter_map(|child| child.name.strip_prefix(&prefix));
            let names = below.map(|rest| match rest.split_once('/') {
                Some((directory, _)) => format!("{directory}/"),
                None => rest.to_owned(),
            });
            let names: BTreeSet<String> = names.collect();
            if names.is_empty() {
                return Err(Error::NotFound);
            }
            Ok(Answer::of(object([(
                "keys",
                names.into_iter().collect::<Vec<_>>().into(),
            )])))
        }
    }
}

/// A cubbyhole is for a few things that are handed over.
const ENTRIES_MAX: u64 = 256;
