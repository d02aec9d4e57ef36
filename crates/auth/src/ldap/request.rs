//! What can be asked of the method by those who have a token, by path below its mount.

use aumbry_barrier::{Kind, Txn};
use aumbry_logical::{Body, Verb};
use aumbry_types::ObjectId;

use super::config::Config;
use super::entry::{Entry, EntryName};
use crate::answer::{Answer, Error};
use crate::kept::{self, Config as _};
use crate::{Place, listing};

/// A request of somebody who has a token. A login is a [`super::LoginRequest`].
pub enum Request {
    /// Sets the method up: the values that the body names.
    WriteConfig(Body),
    /// Tells how it is set up, without secrets.
    ReadConfig,
    /// Writes a user or group: the values that the body names.
    Write(Table, EntryName, Body),
    /// Reads one.
    Read(Table, EntryName),
    /// Deletes one.
    Delete(Table, EntryName),
    /// Lists their names.
    List {
        /// Which.
        table: Table,
        /// Only names greater than this.
        after: String,
        /// At most so many; 0 is as many as a page holds.
        limit: usize,
    },
}

/// What the mount has entries of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Users.
    Users,
    /// Groups.
    Groups,
}

impl Table {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "users" => Some(Self::Users),
            "groups" => Some(Self::Groups),
            _ => None,
        }
    }

    pub(super) fn of(self, mount: ObjectId) -> ObjectId {
        match self {
            Self::Users => mount,
            Self::Groups => Place::LdapGroups.of(mount),
        }
    }
}

impl Request {
    /// Reads a request; the path is canonical.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: Body) -> Result<Self, Error> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        if let ["config"] = segments[..] {
            return match verb {
                Verb::Write => Ok(Self::WriteConfig(body)),
                Verb::Read => Ok(Self::ReadConfig),
                _ => Err(Error::Unsupported),
            };
        }
        let table = Table::parse(segments[0]).ok_or(Error::NotFound)?;
        match (&segments[1..], verb) {
            ([], Verb::List) => Ok(Self::List {
                table,
                after: body.text("after")?.unwrap_or_default(),
                limit: listing::limit(&body)?,
            }),
            ([name], Verb::Write) => Ok(Self::Write(table, EntryName::parse(name)?, body)),
            ([name], Verb::Read) => Ok(Self::Read(table, EntryName::parse(name)?)),
            ([name], Verb::Delete) => Ok(Self::Delete(table, EntryName::parse(name)?)),
            ([] | [_], _) => Err(Error::Unsupported),
            _ => Err(Error::NotFound),
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::WriteConfig(_) | Self::Write(..) | Self::Delete(..))
    }

    /// Whether what it is about is there: a write where nothing is needs `create` instead of `update`.
    ///
    /// # Errors
    /// [`Error::Damaged`]
    pub fn exists(&self, txn: &mut Txn<'_>, mount: ObjectId) -> Result<bool, Error> {
        match self {
            Self::Write(table, name, _) => Ok(txn.lookup(table.of(mount), name.as_str())?.is_some()),
            Self::WriteConfig(_) => Ok(kept::config::<Config>(txn, mount)?.is_some()),
            _ => Ok(true),
        }
    }
}

/// Plans a request on the mount with this object.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan(txn: &mut Txn<'_>, mount: ObjectId, request: &Request) -> Result<Answer, Error> {
    match request {
        Request::WriteConfig(body) => {
            let before = kept::config::<Config>(txn, mount)?;
            let config = Config::parse(body, before.as_ref().map(|found| &found.value))?;
            kept::put_config(txn, mount, &config)?;
            Ok(Answer::done())
        }
        Request::ReadConfig => {
            let found = kept::config::<Config>(txn, mount)?.ok_or(Error::NotFound)?;
            Ok(Answer::of(found.value.render()))
        }
        Request::Write(table, name, body) => {
            let mut entry = find(txn, mount, *table, name.as_str())?.unwrap_or_default();
            entry.merge(body, *table == Table::Users)?;
            kept::put(txn, table.of(mount), name.as_str(), Kind::MethodRole, &entry)?;
            Ok(Answer::done())
        }
        Request::Read(table, name) => {
            let entry = find(txn, mount, *table, name.as_str())?.ok_or(Error::NotFound)?;
            Ok(Answer::of(entry.render(*table == Table::Users)))
        }
        Request::Delete(table, name) => {
            let container = table.of(mount);
            if let Some(child) = txn.lookup(container, name.as_str())? {
                txn.remove(container, name.as_str())?;
                txn.read_object(child.id, Kind::MethodRole)?;
                txn.delete_object(child.id);
            }
            Ok(Answer::done())
        }
        Request::List { table, after, limit } => Answer::names(listing::names(txn, table.of(mount), after, *limit)?),
    }
}

/// What the mount says of a user or group, if it says anything.
pub(super) fn find(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    table: Table,
    name: &str,
) -> Result<Option<Entry>, aumbry_barrier::DamagedRow> {
    let found = kept::find::<Entry>(txn, table.of(mount), name, Kind::MethodRole)?;
    Ok(found.map(|found| found.value))
}
