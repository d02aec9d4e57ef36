//! Why a text is not a policy.

use core::fmt;

use crate::pattern::PatternError;

/// The text was refused: where, and why.
///
/// It repeats patterns, which are what the author of the policy has to find, and nothing else of the text.
#[derive(PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// The pattern of the block where it is inside one, with special characters escaped and cut after 128 characters.
    pub pattern: Option<String>,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a policy.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Over 64 KiB.
    #[error("the policy is longer than 64 KiB; split it into several policies")]
    TooLong,
    /// Over 1,000 rules, after `secret` blocks are expanded.
    #[error("the policy has more than 1,000 rules; use prefixes or split it")]
    TooManyRules,
    /// Over 16 brackets inside each other.
    #[error("brackets are nested deeper than 16; a policy needs three levels")]
    TooDeep,
    /// A character that cannot be seen, or that changes how others are shown.
    #[error("the policy has a control, bidirectional or invisible character; remove it")]
    Forbidden,
    /// Not of the language.
    #[error(
        "here the text is neither valid HCL nor JSON; a policy is blocks such as path \"secret/data/app/*\" {{ capabilities = [\"read\"] }}"
    )]
    Syntax,
    /// An expression, a template or a here-document.
    #[error(
        "only quoted strings and lists of them are allowed; write them out, without expressions, templates or here-documents"
    )]
    NotLiteral,
    /// Two equal keys in one object or block.
    #[error("a key appears twice; keep one")]
    DuplicateKey,
    /// Two blocks for one pattern.
    #[error("the pattern has a block already; merge the two")]
    DuplicateBlock,
    /// Something other than `path` and `secret` at the top.
    #[error("unknown block; known are path and secret, remove any other")]
    UnknownBlock,
    /// A block without exactly one quoted pattern.
    #[error("a block needs exactly one quoted pattern, as in path \"secret/*\"")]
    Label,
    /// A key that a block cannot have.
    #[error(
        "unknown key; known are capabilities, expiration, min_wrapping_ttl, max_wrapping_ttl, pagination_limit, comment, in path also policy, allowed_parameters, denied_parameters and required_parameters, in secret also mount"
    )]
    UnknownKey,
    /// A restriction that other products know and this one does not.
    #[error("{0} is not supported yet; remove it, for a restriction cannot be ignored")]
    Unsupported(&'static str),
    /// A restriction of one route in a block that stands for several.
    #[error("{0} is for path blocks only; write one for the route that is meant")]
    OnlyInPath(&'static str),
    /// A value of another type.
    #[error("{0}")]
    WrongType(&'static str),
    /// No capability.
    #[error("capabilities are missing or empty; use \"deny\" to refuse")]
    NoCapabilities,
    /// Both the old and the new form.
    #[error("a block has either capabilities or policy, not both")]
    BothForms,
    /// Not in the list.
    #[error(transparent)]
    Capability(#[from] aumbry_types::UnknownCapability),
    /// A capability that means nothing for a secret.
    #[error("a secret block cannot give this capability; use a path block")]
    NotForSecrets,
    /// Not an old name.
    #[error("unknown policy; known are read, write, sudo and deny")]
    UnknownLegacy,
    /// Not a pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A `secret` block that does not say which mount it is about.
    #[error("the pattern does not begin with a plain mount and a slash, as in secret/app/*")]
    NoMount,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(pattern) = &self.pattern {
            write!(f, "\"{pattern}\": ")?;
        }
        write!(f, "{}", self.reason)
    }
}

// A pattern holds names of secrets: the author sees them by `Display`, logs do not by `Debug`.
impl fmt::Debug for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParseError")
            .field("line", &self.line)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl core::error::Error for ParseError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        // The display above has said it already.
        None
    }
}

impl From<Reason> for ParseError {
    fn from(reason: Reason) -> Self {
        Self {
            line: None,
            pattern: None,
            reason,
        }
    }
}

impl Reason {
    /// At a line, if one is known.
    pub(crate) fn at(self, line: impl Into<Option<usize>>) -> ParseError {
        ParseError {
            line: line.into(),
            ..self.into()
        }
    }
}

/// A pattern as an error shows it.
pub(crate) fn shown(pattern: &str) -> String {
    let mut escaped = pattern.escape_debug();
    let mut shown: String = escaped.by_ref().take(PATTERN_CHARS_SHOWN_MAX).collect();
    if escaped.next().is_some() {
        shown.push('\u{2026}');
    }
    shown
}

/// Enough to find the block by; errors travel in headers, which hold a few KiB, and a refused pattern may have 64.
const PATTERN_CHARS_SHOWN_MAX: usize = 128;
