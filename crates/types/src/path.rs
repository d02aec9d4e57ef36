//! Paths and names, checked once at the door. The text that was checked is the text that is stored.

use core::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// Why a text is not a path.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum PathError {
    /// Nothing.
    #[error("the path is empty")]
    Empty,
    /// Over [`PATH_BYTES_MAX`].
    #[error("the path is longer than 1,024 bytes")]
    TooLong,
    /// A segment over [`SEGMENT_BYTES_MAX`].
    #[error("a path segment is longer than 255 bytes")]
    SegmentTooLong,
    /// More than [`DEPTH_MAX`] segments.
    #[error("the path has more than 32 segments")]
    TooDeep,
    /// `a//b`, `/a` or `a/`.
    #[error("the path has an empty segment (a leading, trailing or doubled slash)")]
    EmptySegment,
    /// `.` or `..`.
    #[error("the path has a segment `.` or `..`")]
    DotSegment,
    /// Control, bidirectional, zero-width or unassigned-looking characters.
    #[error("the path has a control, bidirectional or invisible character")]
    Forbidden,
    /// Not in Unicode normal form C.
    #[error("the path is not in Unicode normal form C")]
    NotNormal,
}

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("a name is 1 to 128 characters of a-z, 0-9, `-`, `_`, `.` and `@`, beginning with a letter or digit")]
pub struct NameError;

/// The path of a secret below its mount: 1 to 32 segments, no slash at either end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SecretPath(String);

impl SecretPath {
    /// Checks a path. Percent-encoding is not decoded: `%2e` is three plain characters.
    ///
    /// # Errors
    /// [`PathError`] says what is wrong, without repeating the path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The whole path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands below a mount: `Some(None)` is the mount itself, `None` is elsewhere.
    #[must_use]
    pub fn below(&self, mount: &MountPath) -> Option<Option<Self>> {
        match self.0.strip_prefix(&mount.0)? {
            "" => Some(None),
            rest => rest.strip_prefix('/').map(|rest| Some(Self(rest.to_owned()))),
        }
    }

    /// The segments, from the outermost.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

/// Where an engine is mounted: 1 to 32 segments, kept without the slash at its end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MountPath(String);

impl MountPath {
    /// Checks a mount path; one slash at the end is allowed and dropped.
    ///
    /// # Errors
    /// [`PathError`] says what is wrong, without repeating the path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The path without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a policy or role: lower-case ASCII, so that no two look alike.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] if a character is not allowed or the length is wrong.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let first = text.bytes().next().ok_or(NameError)?;
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.' | b'@');
        let begins = first.is_ascii_lowercase() || first.is_ascii_digit();
        if text.len() > 128 || !begins || !text.bytes().all(allowed) {
            return Err(NameError);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// Names are secret on disk, so a path in a log or an error would defeat the encryption: Debug shows the length only.
macro_rules! hide {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }
    )*};
}
hide!(SecretPath, MountPath, Name);

fn check(text: &str) -> Result<(), PathError> {
    if text.is_empty() {
        return Err(PathError::Empty);
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if text.chars().any(forbidden) {
        return Err(PathError::Forbidden);
    }
    if text.split('/').count() > DEPTH_MAX {
        return Err(PathError::TooDeep);
    }
    for segment in text.split('/') {
        match segment {
            "" => return Err(PathError::EmptySegment),
            "." | ".." => return Err(PathError::DotSegment),
            _ if segment.len() > SEGMENT_BYTES_MAX => return Err(PathError::SegmentTooLong),
            _ => {}
        }
    }
    let normal = match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => true,
        IsNormalized::No => false,
        IsNormalized::Maybe => text.nfc().eq(text.chars()),
    };
    if normal { Ok(()) } else { Err(PathError::NotNormal) }
}

/// Characters that a person cannot see or that change how others are shown.
fn forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

/// A path of four lines of a terminal is long enough, and bounds every index key.
const PATH_BYTES_MAX: usize = 1_024;
/// The longest file name of common file systems, for tools that mirror secrets to files.
const SEGMENT_BYTES_MAX: usize = 255;
/// Each level costs one row to look up.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |text: &str, expect: Result<(), PathError>| {
            assert_eq!(SecretPath::parse(text).map(|_| ()), expect, "{text:?}");
        };
        check("a", Ok(()));
        check("team/app/db password", Ok(()));
        check("caf\u{e9}", Ok(()));
        check("%2e%2e/a;b", Ok(()));
        check("", Err(PathError::Empty));
        for text in ["/a", "a/", "a//b", "/"] {
            check(text, Err(PathError::EmptySegment));
        }
        for text in [".", "a/../b", "a/."] {
            check(text, Err(PathError::DotSegment));
        }
        for text in ["a\0", "a\r\nb", "a\u{202e}b", "a\u{200b}", "\u{feff}a", "a\u{85}"] {
            check(text, Err(PathError::Forbidden));
        }
        check("cafe\u{301}", Err(PathError::NotNormal));
        check(&"a".repeat(255), Ok(()));
        check(&"a".repeat(256), Err(PathError::SegmentTooLong));
        check(&["a"; 32].join("/"), Ok(()));
        check(&["a"; 33].join("/"), Err(PathError::TooDeep));
        check(&"a/".repeat(513), Err(PathError::TooLong));
    }

    #[test]
    fn names() {
        for good in ["a", "app-1", "0x.y_z"] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ROOT",
            "Root ",
            "root\u{200b}",
            "\u{ff52}oot",
            "-a",
            "a b",
            "a/b",
            &"a".repeat(129),
        ] {
            assert_eq!(Name::parse(bad), Err(NameError), "{bad:?}");
        }
    }

    #[test]
    fn debug_hides_names() {
        let path = SecretPath::parse("canary/path").expect("is valid");
        assert_eq!(format!("{path:?}"), "SecretPath(11 bytes)");
    }
}
