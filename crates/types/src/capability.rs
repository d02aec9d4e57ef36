//! What a policy can allow.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// One thing that a rule allows on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u16)]
pub enum Capability {
    /// Write where nothing is.
    Create = 1 << 0,
    /// Read a value.
    Read = 1 << 1,
    /// Write where something is.
    Update = 1 << 2,
    /// Change part of a value.
    Patch = 1 << 3,
    /// Delete.
    Delete = 1 << 4,
    /// List names.
    List = 1 << 5,
    /// List names of a whole tree.
    Scan = 1 << 6,
    /// Operate on a root-protected path; needed beside the plain capability.
    Sudo = 1 << 7,
    /// Refuse, whatever else is granted.
    Deny = 1 << 8,
    /// Be told of changes.
    Subscribe = 1 << 9,
}

/// The text names no capability.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown capability; known are create, read, update, patch, delete, list, scan, sudo, deny, subscribe")]
pub struct UnknownCapability;

impl Capability {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::Create,
        Self::Read,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::List,
        Self::Scan,
        Self::Sudo,
        Self::Deny,
        Self::Subscribe,
    ];

    /// The name in policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Scan => "scan",
            Self::Sudo => "sudo",
            Self::Deny => "deny",
            Self::Subscribe => "subscribe",
        }
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        Self::ALL
            .into_iter()
            .find(|c| c.as_str() == text)
            .ok_or(UnknownCapability)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capabilities(u16);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);

    /// With this one added.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability as u16)
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether this one is in the set.
    #[must_use]
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & capability as u16 != 0
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in the order in which they are shown.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |c| self.contains(*c))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(iter: I) -> Self {
        iter.into_iter().fold(Self::NONE, Self::with)
    }
}
