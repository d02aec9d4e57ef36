//! What can be asked of the method, by path below its mount.

use aumbry_crypto::password::PasswordHash;
use aumbry_logical::{Body, Verb};
use aumbry_types::{Entropy, Name, SecretBytes};

use crate::answer::{Error, parse_name};
use crate::listing;

/// A password with its hash. The password itself is for the audit record, which has a keyed digest of it.
pub struct Hashed {
    /// The password.
    pub password: SecretBytes,
    /// Its hash.
    pub hash: PasswordHash,
}

/// A request of somebody who has a token. A login is a [`super::LoginRequest`].
///
/// It is read with the password as it was sent, and planned with its hash: see [`Request::hashed`].
pub enum Request<P = Hashed> {
    /// Writes a user: the values that the body names.
    WriteUser {
        /// The user.
        user: Name,
        /// Its new password. A new user needs one.
        password: Option<P>,
        /// The other values.
        body: Body,
    },
    /// Reads a user.
    ReadUser(Name),
    /// Deletes a user.
    DeleteUser(Name),
    /// Lists the names of users.
    ListUsers {
        /// Only names greater than this.
        after: String,
        /// At most so many; 0 is as many as a page holds.
        limit: usize,
    },
    /// Gives a user another password.
    WritePassword(Name, P),
    /// Gives a user other policies: those that the body names.
    WritePolicies(Name, Body),
}

impl Request<SecretBytes> {
    /// Reads a request; the path is canonical.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, mut body: Body) -> Result<Self, Error> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        match (&segments[..], verb) {
            (["users"], Verb::List) => Ok(Self::ListUsers {
                after: body.text("after")?.unwrap_or_default(),
                limit: listing::limit(&body)?,
            }),
            (["users", user], Verb::Write) => {
                let user = parse_name(user)?;
                let password = password(&body)?;
                body = without_password(&body);
                Ok(Self::WriteUser { user, password, body })
            }
            (["users", user], Verb::Read) => Ok(Self::ReadUser(parse_name(user)?)),
            (["users", user], Verb::Delete) => Ok(Self::DeleteUser(parse_name(user)?)),
            (["users", user, "password"], Verb::Write) => {
                let user = parse_name(user)?;
                let password = password(&body)?.ok_or(Error::Invalid(MISSING_PASSWORD))?;
                Ok(Self::WritePassword(user, password))
            }
            (["users", user, "policies"], Verb::Write) => Ok(Self::WritePolicies(parse_name(user)?, body)),
            (["users"] | ["users", _] | ["users", _, "password" | "policies"], _) => Err(Error::Unsupported),
            _ => Err(Error::NotFound),
        }
    }

    /// Hashes the password in it, if there is one: some 20 ms of a processor and 19 MiB, to be had outside of any plan.
    #[must_use]
    pub fn hashed(self, entropy: &dyn Entropy) -> Request {
        let hash = |password: SecretBytes| Hashed {
            hash: PasswordHash::make(password.expose(), entropy),
            password,
        };
        match self {
            Self::WriteUser { user, password, body } => Request::WriteUser {
                user,
                password: password.map(hash),
                body,
            },
            Self::ReadUser(user) => Request::ReadUser(user),
            Self::DeleteUser(user) => Request::DeleteUser(user),
            Self::ListUsers { after, limit } => Request::ListUsers { after, limit },
            Self::WritePassword(user, password) => Request::WritePassword(user, hash(password)),
            Self::WritePolicies(user, body) => Request::WritePolicies(user, body),
        }
    }
}

impl<P> Request<P> {
    /// Whether there is a password to hash.
    #[must_use]
    pub const fn has_password(&self) -> bool {
        matches!(
            self,
            Self::WriteUser { password: Some(_), .. } | Self::WritePassword(..)
        )
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        !matches!(self, Self::ReadUser(_) | Self::ListUsers { .. })
    }
}

fn password(body: &Body) -> Result<Option<SecretBytes>, Error> {
    if body.get("password_hash").is_some() {
        return Err(Error::Invalid(
            "password_hash is not supported: passwords are hashed here, by argon2id; send the password",
        ));
    }
    let password = body.secret("password")?.filter(|password| !password.is_empty());
    if password
        .as_ref()
        .is_some_and(|password| password.len() > PASSWORD_BYTES_MAX)
    {
        return Err(Error::Invalid("a password has at most 1,024 bytes"));
    }
    Ok(password)
}

fn without_password(body: &Body) -> Body {
    let values = body.object().iter().filter(|(name, _)| *name != "password");
    Body::new(values.map(|(name, value)| (name.clone(), value.clone())).collect())
}

pub(super) const MISSING_PASSWORD: &str = "missing password";
/// A page of text.
pub(super) const PASSWORD_BYTES_MAX: usize = 1_024;
