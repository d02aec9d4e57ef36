//! What can be asked of the keys by path.

use aumbry_auth::Error;
use aumbry_logical::{Body, Verb};

/// A request about keys.
pub enum Request {
    /// Tells of the current term.
    Status,
    /// Makes a new term.
    Rotate,
    /// Tells when new terms are made without being asked for.
    ReadConfig,
    /// Says when: the values that the body names.
    WriteConfig(Body),
    /// Tells how far what older terms seal is sealed anew.
    Progress,
    /// Takes out the terms that nothing uses. The body says whether batch tokens count as something.
    Retire(Body),
}

impl Request {
    /// Reads a request; the path is canonical, below `sys/`.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: Body) -> Result<Self, Error> {
        Ok(match (path, verb) {
            ("key-status", Verb::Read) => Self::Status,
            ("rotate" | "rotate/keyring", Verb::Write) => Self::Rotate,
            ("rotate/config" | "rotate/keyring/config", Verb::Read) => Self::ReadConfig,
            ("rotate/config" | "rotate/keyring/config", Verb::Write) => Self::WriteConfig(body),
            ("rotate/progress", Verb::Read) => Self::Progress,
            ("rotate/retire", Verb::Write) => Self::Retire(body),
            _ => return Err(Error::Unsupported),
        })
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Rotate | Self::WriteConfig(_) | Self::Retire(_))
    }

    /// Whether it takes `sudo`: what cannot be undone, or decides when that happens.
    #[must_use]
    pub const fn takes_sudo(&self) -> bool {
        self.is_write()
    }
}
