//! What requests by path are answered, and why they are not.

use aumbry_barrier::{DIRECTORY_FULL, DamagedRow, InsertError};
use aumbry_logical::{Body, FieldError, Object};
use aumbry_types::{Name, ObjectId};
use serde_json::Value;

use crate::NAMESPACE_ROOT;
use crate::cidr::CidrError;

/// An answer, as it stands in the envelope. It can hold secrets.
#[derive(Default)]
pub struct Answer {
    /// The named values; `None` for a request that gives nothing back.
    pub data: Option<Object>,
    /// What whoever asked should know.
    pub warnings: Vec<&'static str>,
}

impl Answer {
    /// Nothing but that it was done.
    #[must_use]
    pub fn done() -> Self {
        Self::default()
    }

    /// Nothing but that it was done, and what whoever asked should know of it.
    pub(crate) fn warned(warning: &'static str) -> Self {
        Self {
            data: None,
            warnings: vec![warning],
        }
    }

    /// These values.
    #[must_use]
    pub fn of(data: Object) -> Self {
        Self {
            data: Some(data),
            warnings: Vec::new(),
        }
    }

    /// With the id of the namespace where it says of which one something is.
    pub(crate) fn of_namespace(mut self, namespace: ObjectId) -> Self {
        if namespace != NAMESPACE_ROOT
            && let Some(data) = &mut self.data
        {
            tell_namespace(data, &namespace.to_string());
        }
        self
    }

    /// A page of names. No names at all are no such path, as clients expect it.
    pub(crate) fn names((names, has_more): (Vec<String>, bool)) -> Result<Self, Error> {
        if names.is_empty() {
            return Err(Error::NotFound);
        }
        let mut answer = Self::of(object([("keys", names.into())]));
        if has_more {
            answer.warnings.push(MORE);
        }
        Ok(answer)
    }
}

/// Why a request was not served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such path, or nothing there.
    #[error("no such path, or nothing there")]
    NotFound,
    /// The path exists, and this cannot be done with it.
    #[error("unsupported operation")]
    Unsupported,
    /// A value cannot be used.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// What is no namespace's path.
    #[error(transparent)]
    Namespace(#[from] aumbry_types::NamespaceError),
    /// The request is not acceptable.
    #[error("{0}")]
    Invalid(&'static str),
    /// An operator's limit is reached.
    #[error("{0}")]
    Limited(&'static str),
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

impl From<InsertError> for Error {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Full => Self::Invalid(DIRECTORY_FULL),
            InsertError::Limited(text) => Self::Limited(text),
            InsertError::Damaged(damaged) => Self::Damaged(damaged),
        }
    }
}

impl From<CidrError> for Error {
    fn from(error: CidrError) -> Self {
        Self::Invalid(match error {
            CidrError::Form => "a bound address is an IP address or a range such as 10.1.0.0/16 or 2001:db8::/32",
            CidrError::TooMany => "at most 32 bound addresses",
        })
    }
}

/// Why a login was refused. A client is told the same whatever was wrong with what it showed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// What was shown gives no login. The text is the method's own, the same for each refusal.
    #[error("{0}")]
    Refused(&'static str),
    /// As that, to the client, who is told the method's own text; why is for the audit record alone.
    #[error("refused: {0}")]
    Because(&'static str),
    /// As that, to the client; and a failure was counted. The plan must be applied, though it gives no login.
    #[error("{0}")]
    Counted(&'static str),
    /// As that, with why for the audit record alone.
    #[error("refused: {0}")]
    CountedBecause(&'static str),
    /// A value is missing or has another type.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// What was verified before the plan is not what stands now: the login begins again.
    #[error("the credentials changed meanwhile; try again")]
    Stale,
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

/// The form in which a path below `auth/` is decided upon, recorded and parsed: names of roles and users have no upper case, so that two
/// spellings never are two subjects of one rule.
#[must_use]
pub fn canonical(path: &str) -> String {
    path.to_ascii_lowercase()
}

/// The names of policies that a body gives, which have no upper case either: a policy that was written as `Team` stands as `team`.
pub(crate) fn policy_names(body: &Body, field: &'static str) -> Result<Option<Vec<String>>, Error> {
    let names = body.texts(field)?;
    Ok(names.map(|names| names.iter().map(|name| canonical(name)).collect()))
}

/// A name in a path.
pub(crate) fn parse_name(text: &str) -> Result<Name, Error> {
    Name::parse(text).map_err(|_| {
        Error::Invalid(
            "a name is 1 to 128 characters of a-z, 0-9, `-`, `_`, `.` and `@`, beginning with a letter or digit",
        )
    })
}

fn tell_namespace(data: &mut Object, id: &str) {
    for (name, value) in data.iter_mut() {
        match value {
            Value::String(_) if name == "namespace_id" => *value = id.into(),
            // What people noted can have any name.
            Value::Object(inner) if name == "alias" => tell_namespace(inner, id),
            Value::Array(items) if name == "aliases" => items
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|item| tell_namespace(item, id)),
            _ => {}
        }
    }
}

/// An object of these values.
pub(crate) fn object<const N: usize>(values: [(&str, Value); N]) -> Object {
    values
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A list of texts.
pub(crate) fn texts<T: ToString>(values: &[T]) -> Value {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().into()
}

/// Milliseconds since 1970 as RFC 3339 writes them.
#[must_use]
pub fn timestamp(ms: u64) -> String {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    let since = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    since
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

const MORE: &str = "more names follow; ask for those after the last one with `after`";
