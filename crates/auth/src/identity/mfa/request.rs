//! What can be asked, by path below `identity/mfa/`.

use aumbry_logical::{Body, Verb};
use aumbry_types::{Name, ObjectId};

use crate::answer::{Error, parse_name};
use crate::identity::request::path_id;

/// A request of somebody who has a token.
pub enum Request {
    /// Writes a method: the values that the body names. A new one without an id.
    WriteMethod(Option<ObjectId>, Body),
    /// Reads a method.
    ReadMethod(ObjectId),
    /// Deletes a method with all its secrets.
    DeleteMethod(ObjectId),
    /// Lists methods.
    ListMethods,
    /// Makes a secret for the caller's entity.
    Generate(Body),
    /// Makes a secret for an entity.
    AdminGenerate(Body),
    /// Removes the secret of an entity.
    AdminDestroy(Body),
    /// Writes an enforcement: the values that the body names.
    WriteEnforcement(Name, Body),
    /// Reads an enforcement.
    ReadEnforcement(Name),
    /// Deletes an enforcement.
    DeleteEnforcement(Name),
    /// Lists enforcements.
    ListEnforcements,
}

impl Request {
    /// Reads a request; the path is canonical, and below `identity/mfa`.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: Body) -> Result<Self, Error> {
        use Verb::{Delete, List, Read, Write};
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        Ok(match (&segments[..], verb) {
            (["method", "totp"], Write) => Self::WriteMethod(None, body),
            (["method"] | ["method", "totp"], List) => Self::ListMethods,
            (["method", "totp", "generate"], Write) => Self::Generate(body),
            (["method", "totp", "admin-generate"], Write) => Self::AdminGenerate(body),
            (["method", "totp", "admin-destroy"], Write) => Self::AdminDestroy(body),
            (["method", "totp", id], Write) => Self::WriteMethod(Some(path_id(id)?), body),
            (["method", "totp", id] | ["method", id], Read) => Self::ReadMethod(path_id(id)?),
            (["method", "totp", id], Delete) => Self::DeleteMethod(path_id(id)?),
            (["login-enforcement"], List) => Self::ListEnforcements,
            (["login-enforcement", name], Write) => Self::WriteEnforcement(parse_name(name)?, body),
            (["login-enforcement", name], Read) => Self::ReadEnforcement(parse_name(name)?),
            (["login-enforcement", name], Delete) => Self::DeleteEnforcement(parse_name(name)?),
            (
                ["method"]
                | ["method", "totp"]
                | ["method", "totp", _]
                | ["login-enforcement"]
                | ["login-enforcement", _],
                _,
            ) => {
                return Err(Error::Unsupported);
            }
            _ => return Err(Error::NotFound),
        })
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        !matches!(
            self,
            Self::ReadMethod(_) | Self::ListMethods | Self::ReadEnforcement(_) | Self::ListEnforcements
        )
    }
}
