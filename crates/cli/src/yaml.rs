//! YAML, as far as documents need it: written, never read.
//!
//! What it guarantees: a parser of YAML 1.1 or 1.2 gets the same value back as one of the JSON would; what is dangerous for a terminal stands as
//! its code.

use core::fmt::Write as _;

use aumbry_audit::text::is_dangerous;
use serde_json::Value;

/// The value as a document, with a line feed at its end.
pub(crate) fn document(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, 0, Place::Top, &mut text);
    text
}

/// What stands before the value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing.
    Top,
    /// A key and its colon.
    Key,
    /// A dash and a space.
    Item,
}

fn write_value(value: &Value, depth: usize, place: Place, text: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (position, (key, value)) in map.iter().enumerate() {
                begin_line(position, depth, place, text);
                text.push_str(&scalar(key));
                text.push(':');
                write_value(value, depth + 1, Place::Key, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (position, item) in items.iter().enumerate() {
                begin_line(position, depth, place, text);
                text.push('-');
                text.push(' ');
                write_value(item, depth + 1, Place::Item, text);
            }
        }
        plain => {
            if place == Place::Key {
                text.push(' ');
            }
            match plain {
                Value::String(word) => text.push_str(&scalar(word)),
                // Numbers, truth values, null and what is empty are the same in both.
                other => text.push_str(&other.to_string()),
            }
            text.push('\n');
        }
    }
}

fn begin_line(position: usize, depth: usize, place: Place, text: &mut String) {
    if position == 0 && place == Place::Key {
        text.push('\n');
    }
    // The first entry of what stands in a list is on the line of its dash.
    if position > 0 || place != Place::Item {
        text.push_str(&"  ".repeat(depth));
    }
}

/// A text that is no other kind of scalar, in quotes unless it certainly needs none.
fn scalar(word: &str) -> String {
    let begins = word
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let is_plain = begins && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b));
    if is_plain && !RESERVED.contains(&word.to_ascii_lowercase().as_str()) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in word.chars() {
        let code = u32::from(character);
        // Writing to a string cannot fail.
        let _ = match character {
            '"' | '\\' => write!(quoted, "\\{character}"),
            '\n' => write!(quoted, "\\n"),
            '\t' => write!(quoted, "\\t"),
            _ if !is_dangerous(character) && character != '\u{feff}' => write!(quoted, "{character}"),
            _ if code > 0xffff => write!(quoted, "\\U{code:08x}"),
            _ => write!(quoted, "\\u{code:04x}"),
        };
    }
    quoted.push('"');
    quoted
}

/// Words that are no texts in one version of YAML or another.
const RESERVED: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_documents() {
        let check = |value: Value, expected: &str| assert_eq!(document(&value), expected, "{value}");
        check(json!({}), "{}\n");
        check(json!([]), "[]\n");
        check(json!("a b"), "\"a b\"\n");
        check(
            json!({ "a": 1, "b": [], "c": null, "d": { "e": "x" }, "f": ["y", { "g": true, "h": [1, 2] }] }),
            "a: 1\nb: []\nc: null\nd:\n  e: x\nf:\n  - \"y\"\n  - g: true\n    h:\n      - 1\n      - 2\n",
        );
        check(json!([[1], { "a": {} }]), "- - 1\n- a: {}\n");
    }

    #[test]
    fn a_text_stays_a_text() {
        for (word, expected) in [
            ("app", "app"),
            ("secret/app-1", "secret/app-1"),
            ("No", "\"No\""),
            ("1e3", "\"1e3\""),
            ("-x", "\"-x\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("a\"\\\n\t", "\"a\\\"\\\\\\n\\t\""),
            ("\u{1b}[2J", "\"\\u001b[2J\""),
            ("ü", "\"ü\""),
        ] {
            assert_eq!(scalar(word), expected);
        }
    }
}
