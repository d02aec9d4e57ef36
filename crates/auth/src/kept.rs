//! What most methods keep: how the method is set up, as one row, and roles by name, one row each. What they mean is the method's.
//!
//! The configuration stands in a container of its own, so that no role can have its name.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_crypto::sha256;
use aumbry_logical::{Body, Object, Verb};
use aumbry_types::{Name, ObjectId, SecretBytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Place;
use crate::answer::{Answer, Error, parse_name};
use crate::listing;

/// What is stored as one row.
pub(crate) trait Stored: Serialize + DeserializeOwned {
    /// What the fields that were added at the end since the first layout have in rows of that layout, as it is encoded.
    const ADDED: &'static [u8] = &[];
}

/// How a method is set up. Written as a whole: what a request does not name has its default again.
pub(crate) trait Config: Stored {
    /// Reads one; what was kept before is given for what cannot be read back, and so cannot be sent again.
    fn parse(body: &Body, before: Option<&Self>) -> Result<Self, Error>;
    /// What is told of it: nothing that is a secret.
    fn render(&self) -> Object;
}

/// A role.
pub(crate) trait Role: Stored {
    /// A role with this name, before anything is said of it.
    fn new(name: &Name) -> Self;
    /// Takes over the values that the body names.
    fn merge(&mut self, body: &Body) -> Result<(), Error>;
    /// Whether it goes with how the mount is set up.
    fn check(&self, _txn: &mut Txn<'_>, _mount: ObjectId) -> Result<(), Error> {
        Ok(())
    }
    /// What is told of it.
    fn render(&self) -> Object;
}

/// A request of somebody who has a token.
pub enum Request {
    /// Sets the method up.
    WriteConfig(Body),
    /// Tells how it is set up, without secrets.
    ReadConfig,
    /// Writes a role: the values that the body names.
    WriteRole(Name, Body),
    /// Reads a role.
    ReadRole(Name),
    /// Deletes a role.
    DeleteRole(Name),
    /// Lists the names of roles.
    ListRoles {
        /// Only names greater than this.
        after: String,
        /// At most so many; 0 is as many as a page holds.
        limit: usize,
    },
}

impl Request {
    /// Reads a request; the path is canonical. `roles` is what roles are called.
    pub(crate) fn parse(roles: &str, verb: Verb, path: &str, body: Body) -> Result<Self, Error> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        match (&segments[..], verb) {
            (["config"], Verb::Write) => Ok(Self::WriteConfig(body)),
            (["config"], Verb::Read) => Ok(Self::ReadConfig),
            ([place], Verb::List) if *place == roles => Ok(Self::ListRoles {
                after: body.text("after")?.unwrap_or_default(),
                limit: listing::limit(&body)?,
            }),
            ([place, name], Verb::Write) if *place == roles => Ok(Self::WriteRole(parse_name(name)?, body)),
            ([place, name], Verb::Read) if *place == roles => Ok(Self::ReadRole(parse_name(name)?)),
            ([place, name], Verb::Delete) if *place == roles => Ok(Self::DeleteRole(parse_name(name)?)),
            (["config"], _) => Err(Error::Unsupported),
            ([place] | [place, _], _) if *place == roles => Err(Error::Unsupported),
            _ => Err(Error::NotFound),
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::WriteConfig(_) | Self::WriteRole(..) | Self::DeleteRole(_))
    }

    /// Whether what it is about is there: a write where nothing is needs `create` instead of `update`.
    ///
    /// # Errors
    /// [`Error::Damaged`]
    pub fn exists(&self, txn: &mut Txn<'_>, mount: ObjectId) -> Result<bool, Error> {
        match self {
            Self::WriteRole(name, _) => Ok(txn.lookup(mount, name.as_str())?.is_some()),
            Self::WriteConfig(_) => Ok(txn.lookup(Place::Settings.of(mount), CONFIG)?.is_some()),
            _ => Ok(true),
        }
    }

    /// Plans the request.
    pub(crate) fn plan<C: Config, R: Role>(&self, txn: &mut Txn<'_>, mount: ObjectId) -> Result<Answer, Error> {
        match self {
            Self::WriteConfig(body) => {
                let before = config::<C>(txn, mount)?;
                let config = C::parse(body, before.as_ref().map(|found| &found.value))?;
                put_config(txn, mount, &config)?;
                Ok(Answer::done())
            }
            Self::ReadConfig => {
                let found = config::<C>(txn, mount)?.ok_or(Error::NotFound)?;
                Ok(Answer::of(found.value.render()))
            }
            Self::WriteRole(name, body) => {
                let found = role::<R>(txn, mount, name)?;
                let mut role = found.map_or_else(|| R::new(name), |found| found.value);
                role.merge(body)?;
                role.check(txn, mount)?;
                put(txn, mount, name.as_str(), Kind::MethodRole, &role)?;
                Ok(Answer::done())
            }
            Self::ReadRole(name) => {
                let found = role::<R>(txn, mount, name)?.ok_or(Error::NotFound)?;
                Ok(Answer::of(found.value.render()))
            }
            Self::DeleteRole(name) => {
                if let Some(child) = txn.lookup(mount, name.as_str())? {
                    txn.remove(mount, name.as_str())?;
                    txn.read_object(child.id, Kind::MethodRole)?;
                    txn.delete_object(child.id);
                }
                Ok(Answer::done())
            }
            Self::ListRoles { after, limit } => Answer::names(listing::names(txn, mount, after, *limit)?),
        }
    }
}

/// What was found.
pub(crate) struct Found<T> {
    pub(crate) id: ObjectId,
    pub(crate) value: T,
    /// Tells whether it is still what it was.
    pub(crate) digest: [u8; 32],
}

/// How the method is set up, if it is.
pub(crate) fn config<C: Config>(txn: &mut Txn<'_>, mount: ObjectId) -> Result<Option<Found<C>>, DamagedRow> {
    find(txn, Place::Settings.of(mount), CONFIG, Kind::MethodConfig)
}

/// Writes how the method is set up.
pub(crate) fn put_config<C: Config>(txn: &mut Txn<'_>, mount: ObjectId, config: &C) -> Result<(), Error> {
    put(txn, Place::Settings.of(mount), CONFIG, Kind::MethodConfig, config)
}

/// The role with this name.
pub(crate) fn role<R: Role>(txn: &mut Txn<'_>, mount: ObjectId, name: &Name) -> Result<Option<Found<R>>, DamagedRow> {
    find(txn, mount, name.as_str(), Kind::MethodRole)
}

/// What stands under a name.
pub(crate) fn find<T: Stored>(
    txn: &mut Txn<'_>,
    container: ObjectId,
    name: &str,
    kind: Kind,
) -> Result<Option<Found<T>>, DamagedRow> {
    let Some(child) = txn.lookup(container, name)? else {
        return Ok(None);
    };
    let object = txn.read_object(child.id, kind)?.ok_or(DamagedRow)?;
    let plain = object.plain.expose();
    Ok(Some(Found {
        id: child.id,
        value: decode(plain)?,
        digest: sha256(&[b"aumbry/kept/1\0", child.id.as_bytes(), plain]),
    }))
}

/// Writes what stands under a name.
pub(crate) fn put<T: Stored>(
    txn: &mut Txn<'_>,
    container: ObjectId,
    name: &str,
    kind: Kind,
    value: &T,
) -> Result<(), Error> {
    let id = match txn.lookup(container, name)? {
        Some(child) => child.id,
        None => {
            let id = ObjectId::make(txn.entropy());
            txn.insert(container, name, kind, id)?;
            id
        }
    };
    let plain = record::encode(layout::<T>(), value);
    txn.put_object(id, kind, plain.expose(), ObjectOptions::default());
    Ok(())
}

/// The layout in which it is written.
const fn layout<T: Stored>() -> u8 {
    if T::ADDED.is_empty() { FIRST } else { SECOND }
}

/// Reads what was written in this layout or the one before.
fn decode<T: Stored>(plain: &[u8]) -> Result<T, DamagedRow> {
    let read = match plain.split_first() {
        // Fields stand one after the other, so that what was added can be put behind.
        Some((&FIRST, rest)) if layout::<T>() == SECOND => {
            let completed = SecretBytes::new([&[SECOND], rest, T::ADDED].concat());
            record::decode(SECOND, completed.expose())
        }
        _ => record::decode(layout::<T>(), plain),
    };
    read.map_err(|_| DamagedRow)
}

/// The name of the row.
pub(crate) const CONFIG: &str = "config";
const FIRST: u8 = 1;
const SECOND: u8 = 2;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize)]
    struct Before {
        name: String,
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Now {
        name: String,
        count: u64,
        texts: Vec<String>,
    }

    impl Stored for Now {
        const ADDED: &'static [u8] = &[0, 0];
    }

    #[test]
    fn rows_of_the_first_layout_are_read() {
        let name = || "a".to_owned();
        let before = record::encode(FIRST, &Before { name: name() });
        let now = |count| Now {
            name: name(),
            count,
            texts: Vec::new(),
        };
        assert_eq!(decode(before.expose()), Ok(now(0)));
        let written = record::encode(layout::<Now>(), &now(7));
        assert_eq!((written.expose()[0], decode(written.expose())), (SECOND, Ok(now(7))));
        assert_eq!(decode::<Now>(&[]), Err(DamagedRow));
        assert_eq!(decode::<Now>(&[3, 1, b'a', 0, 0]), Err(DamagedRow));
    }
}
