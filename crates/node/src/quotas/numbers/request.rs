//! What can be asked of limits on numbers.

use aumbry_auth::Error;
use aumbry_logical::{Body, Verb};
use aumbry_types::Name;

use crate::quotas::request::parse_name;

/// The two families of limits, each below a path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `lease-count`: tokens.
    Leases,
    /// `object-count`: all else.
    Objects,
}

impl Family {
    /// Its name in paths, and what clients are told as the type of a limit.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leases => "lease-count",
            Self::Objects => "object-count",
        }
    }

    pub(in crate::quotas) fn parse(text: &str) -> Option<Self> {
        [Self::Leases, Self::Objects]
            .into_iter()
            .find(|family| family.name() == text)
    }
}

/// A request about limits of one family.
pub struct Request {
    /// The family.
    pub family: Family,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked of them.
pub enum Ask {
    /// Writes one: the values that the body names.
    Write(Name, Body),
    /// Reads one.
    Read(Name),
    /// Deletes one.
    Delete(Name),
    /// Lists their names.
    List,
}

impl Request {
    pub(in crate::quotas) fn parse(family: Family, verb: Verb, below: &[&str], body: Body) -> Result<Self, Error> {
        let ask = match (below, verb) {
            ([], Verb::List) => Ask::List,
            ([name], Verb::Write) => Ask::Write(parse_name(name)?, body),
            ([name], Verb::Read) => Ask::Read(parse_name(name)?),
            ([name], Verb::Delete) => Ask::Delete(parse_name(name)?),
            ([] | [_], _) => return Err(Error::Unsupported),
            _ => return Err(Error::NotFound),
        };
        Ok(Self { family, ask })
    }

    pub(in crate::quotas) const fn is_write(&self) -> bool {
        matches!(self.ask, Ask::Write(..) | Ask::Delete(_))
    }
}
