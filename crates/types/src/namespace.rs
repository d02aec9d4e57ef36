//! Where a namespace is: names below one another, the root above them all.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not the path of a namespace.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum NamespaceError {
    /// A character that no name has, or a length.
    #[error("the name of a namespace is 1 to 64 characters of a-z, 0-9, `-` and `_`")]
    Name,
    /// An upper-case letter. It is not made lower-case for anybody: two texts would be one namespace.
    #[error("the name of a namespace has no upper-case letters")]
    UpperCase,
    /// A name that means something else.
    #[error("no namespace is called `root`, `sys`, `auth`, `cubbyhole`, `identity` or `audit`")]
    Reserved,
    /// More than [`NAMESPACE_DEPTH_MAX`] names.
    #[error("namespaces are at most 8 deep")]
    TooDeep,
}

/// The path of a namespace, from the root's, which is empty. It has no slash at either end.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamespacePath(String);

impl NamespacePath {
    /// That of the root.
    #[must_use]
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Checks a path. One slash at either end is allowed and dropped; nothing at all is the root.
    ///
    /// # Errors
    /// [`NamespaceError`] says what is wrong, without repeating the path.
    pub fn parse(text: &str) -> Result<Self, NamespaceError> {
        if matches!(text, "" | "/") {
            return Ok(Self::root());
        }
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        text.split('/').try_for_each(check)?;
        if text.split('/').count() > NAMESPACE_DEPTH_MAX {
            return Err(NamespaceError::TooDeep);
        }
        Ok(Self(text.to_owned()))
    }

    /// The path of a namespace below this one.
    ///
    /// # Errors
    /// As [`Self::parse`]; nothing is a namespace below itself.
    pub fn join(&self, below: &str) -> Result<Self, NamespaceError> {
        if below.is_empty() {
            return Err(NamespaceError::Name);
        }
        below.split('/').try_for_each(check)?;
        Self::parse(&self.full(below))
    }

    /// The path of the namespace that this one is in; nothing for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let above = self.0.rsplit_once('/').map_or("", |(above, _)| above);
        Some(Self(above.to_owned()))
    }

    /// A path in this namespace, as the root sees it.
    #[must_use]
    pub fn full(&self, path: &str) -> String {
        if self.0.is_empty() {
            return path.to_owned();
        }
        format!("{}/{path}", self.0)
    }

    /// The path without slashes at its ends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root's.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path from a namespace above to this one: empty if they are the same, nothing if that one is not above it.
    #[must_use]
    pub fn below(&self, above: &Self) -> Option<&str> {
        if above.0.is_empty() {
            return Some(&self.0);
        }
        let rest = self.0.strip_prefix(&above.0)?;
        if rest.is_empty() {
            return Some(rest);
        }
        rest.strip_prefix('/')
    }
}

impl fmt::Display for NamespacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(name: &str) -> Result<(), NamespaceError> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(NamespaceError::UpperCase);
    }
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_allowed) {
        return Err(NamespaceError::Name);
    }
    if RESERVED.contains(&name) {
        return Err(NamespaceError::Reserved);
    }
    Ok(())
}

/// Each level is a part of every path below it, and organisations are not deeper.
pub const NAMESPACE_DEPTH_MAX: usize = 8;
/// Longer than names that people give; eight of them are half of what a path may have.
const NAME_BYTES_MAX: usize = 64;
/// What stands first in paths of every namespace, and what would be taken for the root.
const RESERVED: [&str; 6] = ["root", "sys", "auth", "cubbyhole", "identity", "audit"];

#[cfg(test)]
mod tests {
    use super::*;

    /// Abuse cases: 8.
    #[test]
    fn names() {
        let check = |text: &str, expect: Result<&str, NamespaceError>| {
            let found = NamespacePath::parse(text);
            assert_eq!(
                found.as_ref().map(NamespacePath::as_str),
                expect.as_ref().copied(),
                "{text:?}"
            );
        };
        for (text, path) in [
            ("", ""),
            ("/", ""),
            ("team", "team"),
            ("team/", "team"),
            ("/team/app-1/", "team/app-1"),
            ("a/b/c/d/e/f/g/h", "a/b/c/d/e/f/g/h"),
            ("_x", "_x"),
        ] {
            check(text, Ok(path));
        }
        for text in [
            "root",
            "team/root",
            "sys",
            "auth/x",
            "cubbyhole",
            "identity",
            "audit",
            "/root/",
        ] {
            check(text, Err(NamespaceError::Reserved));
        }
        for text in ["Team", "ROOT", "team/App", "Sys"] {
            check(text, Err(NamespaceError::UpperCase));
        }
        for text in [
            "//",
            "a//b",
            "//a",
            "a//",
            ".",
            "..",
            "a/..",
            "a/./b",
            "a b",
            "a%2fb",
            "a;b",
            "ä",
            "a\u{200b}",
            "a.b",
            "a\\b",
        ] {
            check(text, Err(NamespaceError::Name));
        }
        check(&"a".repeat(64), Ok(&"a".repeat(64)));
        check(&"a".repeat(65), Err(NamespaceError::Name));
        check("a/b/c/d/e/f/g/h/i", Err(NamespaceError::TooDeep));
    }

    /// Abuse cases: 9.
    #[test]
    fn above_and_below() {
        let path = |text: &str| NamespacePath::parse(text).expect("is one");
        let check = |below: &str, above: &str, expect: Option<&str>| {
            assert_eq!(path(below).below(&path(above)), expect, "{below:?} {above:?}");
        };
        check("", "", Some(""));
        check("team/app", "", Some("team/app"));
        check("team/app", "team", Some("app"));
        check("team", "team", Some(""));
        check("", "team", None);
        check("team", "team/app", None);
        check("teams", "team", None);
        check("other", "team", None);
        assert_eq!(path("team").join("app"), Ok(path("team/app")));
        assert_eq!(path("").join("app"), Ok(path("app")));
        for below in ["", "/", "..", "../other", "app/", "/app"] {
            assert_eq!(path("team").join(below), Err(NamespaceError::Name), "{below:?}");
        }
        assert_eq!(path("").full("secret/a"), "secret/a");
        assert_eq!(path("team/app").full("secret/a"), "team/app/secret/a");
    }
}
