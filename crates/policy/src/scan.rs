//! Looks at a text before a recursive parser does, so that no text can exhaust the parser's stack.
//!
//! For HCL the scan also confines the language to literals. That is what makes counting brackets exact: without
//! templates, here-documents and operators, a string ends at the next unescaped quote and only brackets recurse.

use aumbry_types::{PathError, SecretPath};

use crate::error::{ParseError, Reason};

/// The language of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Hcl,
    /// As that, with dashes in words, as keys of password policies have them.
    HclOfPasswords,
    Json,
}

/// Refuses what the parsers must not see.
///
/// # Errors
/// [`Reason::TooDeep`], [`Reason::Forbidden`] or [`Reason::NotLiteral`], with the line.
pub(crate) fn check(text: &str, language: Language) -> Result<(), ParseError> {
    let mut line = 1_usize;
    let mut depth = 0_usize;
    let mut place = Place::Code;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        if c == '\n' {
            line += 1;
        } else if is_forbidden(c) || (c == '\r' && next != Some('\n')) {
            // A return alone lets a terminal show one line over another, as a comment over a rule.
            return Err(Reason::Forbidden.at(line));
        }
        match place {
            Place::LineComment if c == '\n' => place = Place::Code,
            Place::BlockComment if c == '*' && next == Some('/') => {
                chars.next();
                place = Place::Code;
            }
            Place::LineComment | Place::BlockComment => {}
            Place::Text => match c {
                '"' => place = Place::Code,
                // The escaped character is looked at by the parser; here it only must not end the string.
                '\\' if next.is_some_and(|c| !c.is_control()) => {
                    chars.next();
                }
                '$' | '%' if language != Language::Json && next == Some('{') => {
                    return Err(Reason::NotLiteral.at(line));
                }
                _ => {}
            },
            Place::Code => match c {
                '"' => place = Place::Text,
                '[' | '{' => {
                    depth += 1;
                    if depth > NESTING_MAX {
                        return Err(Reason::TooDeep.at(line));
                    }
                }
                // A closing bracket too many is the parser's to refuse.
                ']' | '}' => depth = depth.saturating_sub(1),
                _ if language == Language::Json => {}
                '#' => place = Place::LineComment,
                '/' if next == Some('/') => place = Place::LineComment,
                '/' if next == Some('*') => {
                    chars.next();
                    place = Place::BlockComment;
                }
                '=' | ',' | ':' | '_' | ' ' | '\t' | '\r' | '\n' => {}
                '-' if language == Language::HclOfPasswords => {}
                c if c.is_ascii_alphanumeric() => {}
                _ => return Err(Reason::NotLiteral.at(line)),
            },
        }
    }
    Ok(())
}

/// The characters that paths refuse, comments included: one that reverses a line could show a deny as an allow.
fn is_forbidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control() && !matches!(c, '\t' | '\r');
    }
    SecretPath::parse(c.encode_utf8(&mut [0; 4])).is_err_and(|error| error == PathError::Forbidden)
}

/// Where a character stands.
#[derive(Clone, Copy)]
enum Place {
    Code,
    Text,
    LineComment,
    BlockComment,
}

/// A policy needs three levels; the rest is for values that are refused later with a better message.
const NESTING_MAX: usize = 16;
