//! As much JSON as the demo reads: what `aumbry` prints.

use std::iter::Peekable;
use std::str::Chars;

/// A value. Numbers keep their text, since the demo only compares them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Reads one value and nothing after it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.chars().peekable();
        let value = value(&mut rest, 0).ok_or_else(|| format!("not JSON: {}", beginning(text)))?;
        skip_space(&mut rest);
        match rest.peek() {
            None => Ok(value),
            Some(_) => Err(format!("more than one JSON value: {}", beginning(text))),
        }
    }

    /// The member of this name.
    pub(crate) fn member(&self, name: &str) -> Result<&Self, String> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
        .ok_or_else(|| format!("the JSON has no member \"{name}\""))
    }

    /// The member's text; a number gives its digits, so that an id may be either.
    pub(crate) fn text(&self, name: &str) -> Result<String, String> {
        match self.member(name)? {
            Self::Text(text) | Self::Number(text) => Ok(text.clone()),
            _ => Err(format!("the JSON member \"{name}\" is neither text nor a number")),
        }
    }

    /// The member's elements.
    pub(crate) fn list(&self, name: &str) -> Result<&[Self], String> {
        match self.member(name)? {
            Self::List(elements) => Ok(elements),
            _ => Err(format!("the JSON member \"{name}\" is no list")),
        }
    }

    /// Whether the member is there and true.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        matches!(self.member(name), Ok(Self::Bool(true)))
    }
}

fn value(rest: &mut Peekable<Chars<'_>>, depth: usize) -> Option<Json> {
    if depth > DEPTH_MAX {
        return None;
    }
    skip_space(rest);
    match *rest.peek()? {
        '{' => {
            let members = elements(rest, '}', |rest| {
                skip_space(rest);
                let name = text(rest)?;
                skip_space(rest);
                (rest.next()? == ':').then_some(())?;
                Some((name, value(rest, depth + 1)?))
            })?;
            Some(Json::Object(members))
        }
        '[' => Some(Json::List(elements(rest, ']', |rest| value(rest, depth + 1))?)),
        '"' => text(rest).map(Json::Text),
        _ => word(rest),
    }
}

/// What stands between an opening bracket and `close`, separated by commas.
fn elements<T>(
    rest: &mut Peekable<Chars<'_>>,
    close: char,
    mut element: impl FnMut(&mut Peekable<Chars<'_>>) -> Option<T>,
) -> Option<Vec<T>> {
    rest.next()?;
    skip_space(rest);
    let mut all = Vec::new();
    if rest.next_if_eq(&close).is_some() {
        return Some(all);
    }
    loop {
        all.push(element(rest)?);
        skip_space(rest);
        match rest.next()? {
            ',' => {}
            end => return (end == close).then_some(all),
        }
    }
}

fn text(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    (rest.next()? == '"').then_some(())?;
    let mut text = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(text),
            '\\' => text.push(match rest.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                // Half of a surrogate pair is replaced: nothing that the demo compares has one.
                'u' => {
                    let digits: String = rest.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).ok()?;
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                plain @ ('"' | '\\' | '/') => plain,
                _ => return None,
            }),
            plain => text.push(plain),
        }
    }
}

fn word(rest: &mut Peekable<Chars<'_>>) -> Option<Json> {
    let mut word = String::new();
    while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
        word.push(c);
    }
    match word.as_str() {
        "null" => Some(Json::Null),
        "true" => Some(Json::Bool(true)),
        "false" => Some(Json::Bool(false)),
        number => number.parse::<f64>().is_ok().then_some(Json::Number(word)),
    }
}

fn skip_space(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|c| c.is_ascii_whitespace()).is_some() {}
}

fn beginning(text: &str) -> String {
    text.trim().chars().take(SHOWN_MAX).collect()
}

/// Deeper than anything that `aumbry` prints.
const DEPTH_MAX: usize = 32;

/// Enough to recognise what was printed instead.
const SHOWN_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_should_and_refuses_the_rest() {
        let read =
            Json::parse(r#" {"a": [1, -2.5e3, true, null], "b": {"c": "x\n\"\u00e9"}, "d": {}, "e": []} "#).unwrap();
        assert_eq!(read.list("a").unwrap().len(), 4);
        assert_eq!(read.member("b").unwrap().text("c").unwrap(), "x\n\"é");
        assert!(read.member("z").is_err());
        for wrong in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1} 2",
            "\"\\x\"",
            "nul",
            "[1 2]",
            &"[".repeat(10_000),
        ] {
            assert!(Json::parse(wrong).is_err(), "{wrong}");
        }
    }
}
