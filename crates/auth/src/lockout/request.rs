//! What can be asked of locked users, by path below `sys/`.

use aumbry_logical::{Body, Verb};

use crate::answer::Error;

/// A request of somebody who has a token.
pub enum Request {
    /// Lists who is locked.
    List {
        /// At this mount alone.
        accessor: Option<String>,
        /// Only names greater than this.
        after: String,
    },
    /// Forgets the failed logins of a user.
    Unlock {
        /// The mount.
        accessor: String,
        /// As the mount knows it.
        name: String,
    },
}

impl Request {
    /// Reads a request; the path is canonical.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: &Body) -> Result<Self, Error> {
        let segments: Vec<&str> = path.split('/').collect();
        match (&segments[..], verb) {
            (["locked-users"], Verb::Read) => {
                let accessor = body.text("mount_accessor")?.filter(|accessor| !accessor.is_empty());
                let after = body.text("after")?.unwrap_or_default();
                if accessor.is_none() && !after.is_empty() {
                    return Err(Error::Invalid(
                        "`after` is a name of one mount: name it with mount_accessor",
                    ));
                }
                Ok(Self::List { accessor, after })
            }
            (["locked-users", accessor, "unlock", name], Verb::Write) => Ok(Self::Unlock {
                accessor: (*accessor).to_owned(),
                name: (*name).to_owned(),
            }),
            (["locked-users"] | ["locked-users", _, "unlock", _], _) => Err(Error::Unsupported),
            _ => Err(Error::NotFound),
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Unlock { .. })
    }
}
