//! Which paths a rule is about.

use core::cmp::{Ordering, Reverse};
use core::fmt;

use aumbry_types::{PathError, SecretPath};

use crate::template::Template;

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// `a/*/b`.
    #[error("* stands at the end of a pattern only; use + for one segment")]
    StarNotLast,
    /// `a/b+`.
    #[error("+ stands for a whole segment only")]
    PlusInSegment,
    /// `{{` and `}}` that hold nothing known, or stand where no template may.
    #[error(
        "{{{{ and }}}} hold a name that policies know: identity.entity.id, .name or .metadata.KEY, identity.entity.aliases.ACCESSOR.id, .name, .metadata.KEY or .custom_metadata.KEY, identity.groups.ids.ID.name or .metadata.KEY, identity.groups.names.NAME.id or .metadata.KEY"
    )]
    Template,
    /// Its plain part could not be a path.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A pattern of paths. Its order is its specificity: the greater of two that match decides.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// Invariant: the number of segments that are `+`.
    plus_count: usize,
}

impl Pattern {
    /// Checks a pattern without templates: those are of policies, which become patterns for an identity.
    ///
    /// # Errors
    /// [`PatternError`] says what is wrong, without repeating the text.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if Template::is_in(text) {
            return Err(PatternError::Template);
        }
        let prefix = text.strip_suffix('*');
        if prefix.unwrap_or(text).contains('*') {
            return Err(PatternError::StarNotLast);
        }
        if text.split('/').any(|s| s.contains('+') && s != "+") {
            return Err(PatternError::PlusInSegment);
        }
        match prefix {
            // Something follows, so `a/` is a beginning of paths, and so is `a/.` (of `a/.env`).
            Some(prefix) => SecretPath::parse(&format!("{prefix}x"))?,
            None => SecretPath::parse(text.strip_suffix('/').unwrap_or(text))?,
        };
        Ok(Self {
            text: text.to_owned(),
            plus_count: text.split('/').filter(|s| *s == "+").count(),
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it ends in `*`: then it also matches whatever is below a path that it matches.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.text.ends_with('*')
    }

    /// Matches every path.
    pub(crate) fn any() -> Self {
        Self {
            text: "*".to_owned(),
            plus_count: 0,
        }
    }

    /// The whole segments, and for a prefix the beginning of the segment after them, which may be empty.
    pub(crate) fn segments_and_prefix(&self) -> (impl Iterator<Item = &str>, Option<&str>) {
        let (whole, prefix) = match self.text.strip_suffix('*') {
            None => (Some(self.text.as_str()), None),
            Some(plain) => match plain.rsplit_once('/') {
                Some((whole, prefix)) => (Some(whole), Some(prefix)),
                None => (None, Some(plain)),
            },
        };
        (whole.into_iter().flat_map(|whole| whole.split('/')), prefix)
    }

    /// What the order compares, most important first.
    fn specificity(&self) -> (usize, bool, Reverse<usize>, usize, &str) {
        (
            self.text.find(['+', '*']).unwrap_or(usize::MAX),
            !self.is_prefix(),
            Reverse(self.plus_count),
            self.text.len(),
            &self.text,
        )
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.specificity().cmp(&other.specificity())
    }
}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// A pattern holds names of secrets, and those do not belong into logs.
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({} bytes)", self.text.len())
    }
}
