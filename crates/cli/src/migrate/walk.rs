//! The tree of names below a mount, directory by directory.

use anyhow::Result;

use super::source::Source;

/// A directory and what it holds.
pub(super) struct Directory {
    /// Below the mount, with a slash at its end, or empty.
    pub(super) path: String,
    /// The secrets in it, by their own names.
    pub(super) secrets: Vec<String>,
}

/// The walk. It holds the names of the directories that are still to be seen on the way down, and one listing.
pub(super) struct Walk<'a> {
    source: &'a Source,
    /// Where the names are listed: the mount, with `/metadata` for an engine of version 2.
    root: String,
    open: Vec<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(source: &'a Source, root: String) -> Self {
        Self {
            source,
            root,
            open: vec![String::new()],
        }
    }

    /// The next directory.
    pub(super) async fn next(&mut self) -> Option<(String, Result<Directory>)> {
        let path = self.open.pop()?;
        let listed = self.source.list(&format!("{}/{path}", self.root)).await;
        let directory = listed.map(|names| {
            let (below, secrets): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| name.ends_with('/'));
            self.open.extend(below.into_iter().map(|name| format!("{path}{name}")));
            Directory {
                path: path.clone(),
                secrets,
            }
        });
        Some((path, directory))
    }
}
