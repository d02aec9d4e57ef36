//! What can be asked, by path below `sys/namespaces`.

use aumbry_logical::{Body, Verb};

use crate::answer::Error;
use crate::listing;

/// A request of somebody who has a token. Names are those of namespaces right below the one that it is made in: one further down is named in its parent,
/// so that rules about it have one path to speak of.
pub enum Request {
    /// Lists the names.
    List {
        /// Only names greater than this.
        after: String,
        /// At most so many; 0 is as many as a page holds.
        limit: usize,
    },
    /// Tells of one.
    Read(String),
    /// Makes one, or notes something else about it.
    Write(String, Body),
    /// Changes some of what is noted about one.
    Patch(String, Body),
    /// Removes one with all that it holds.
    Delete(String),
}

impl Request {
    /// Reads a request; `name` is what stands below `sys/namespaces/`, if anything does. Whether it can be a name is told by the plan, to those who
    /// may ask.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, name: Option<&str>, body: Body) -> Result<Self, Error> {
        Ok(match (name.map(|name| name.trim_end_matches('/').to_owned()), verb) {
            (None, Verb::List) => Self::List {
                after: body.text("after")?.unwrap_or_default(),
                limit: listing::limit(&body)?,
            },
            (Some(name), Verb::Read) => Self::Read(name),
            (Some(name), Verb::Write) => Self::Write(name, body),
            (Some(name), Verb::Patch) => Self::Patch(name, body),
            (Some(name), Verb::Delete) => Self::Delete(name),
            _ => return Err(Error::Unsupported),
        })
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Write(..) | Self::Patch(..) | Self::Delete(_))
    }
}
