//! What can be asked, by path below `sys/quotas/`.

use aumbry_auth::Error;
use aumbry_logical::{Body, Verb};
use aumbry_types::Name;

use super::numbers::{self, Family};

/// A request about quotas.
pub enum Request {
    /// Writes one: the values that the body names.
    Write(Name, Body),
    /// Reads one.
    Read(Name),
    /// Deletes one.
    Delete(Name),
    /// Lists their names.
    List,
    /// Writes what is exempt.
    WriteConfig(Body),
    /// Reads what is exempt.
    ReadConfig,
    /// Of limits on numbers.
    Number(numbers::Request),
}

impl Request {
    /// Reads a request; the path is canonical.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: Body) -> Result<Self, Error> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        if let Some((family, below)) = segments.split_first()
            && let Some(family) = Family::parse(family)
        {
            return numbers::Request::parse(family, verb, below, body).map(Self::Number);
        }
        Ok(match (&segments[..], verb) {
            (["config"], Verb::Write) => Self::WriteConfig(body),
            (["config"], Verb::Read) => Self::ReadConfig,
            (["rate-limit"], Verb::List) => Self::List,
            (["rate-limit", name], Verb::Write) => Self::Write(parse_name(name)?, body),
            (["rate-limit", name], Verb::Read) => Self::Read(parse_name(name)?),
            (["rate-limit", name], Verb::Delete) => Self::Delete(parse_name(name)?),
            (["config" | "rate-limit"] | ["rate-limit", _], _) => return Err(Error::Unsupported),
            _ => return Err(Error::NotFound),
        })
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Write(..) | Self::Delete(_) | Self::WriteConfig(_) => true,
            Self::Read(_) | Self::List | Self::ReadConfig => false,
            Self::Number(request) => request.is_write(),
        }
    }
}

pub(super) fn parse_name(text: &str) -> Result<Name, Error> {
    Name::parse(text)
        .map_err(|_| Error::Invalid("the name of a quota is lower-case letters, digits, `-`, `_`, `.` and `@`"))
}
