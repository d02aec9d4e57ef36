//! What is to be done with a path.

use aumbry_types::Capability;
use serde::{Deserialize, Serialize};

/// What is to be done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verb {
    /// Read what is there.
    Read,
    /// Write it whole, or do what the path stands for.
    Write,
    /// Change a part of it (RFC 7396).
    Patch,
    /// Remove it.
    Delete,
    /// List the names below it.
    List,
    /// List the names of the whole tree below it.
    Scan,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Write,
        Self::Patch,
        Self::Delete,
        Self::List,
        Self::Scan,
    ];

    /// Its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Scan => "scan",
        }
    }

    /// The capability that it needs. A write to a path that tells whether something is there needs `create` instead where nothing is.
    #[must_use]
    pub const fn capability(self) -> Capability {
        match self {
            Self::Read => Capability::Read,
            Self::Write => Capability::Update,
            Self::Patch => Capability::Patch,
            Self::Delete => Capability::Delete,
            Self::List => Capability::List,
            Self::Scan => Capability::Scan,
        }
    }

    /// Whether it may change something, as far as the verb tells.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::Patch | Self::Delete)
    }
}
