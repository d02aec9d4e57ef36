//! Making text safe to look at: a name chosen by an attacker must not move a terminal's cursor, reverse the reading
//! direction, hide characters or forge a second line.
//!
//! [`json`] is for machines and people alike: plain JSON whose parsed strings are unchanged. [`escape`] is for tables
//! and messages. Neither hides anything: what is dangerous is shown as its code point.

use core::fmt::Write as _;

use serde::Serialize;
use time::OffsetDateTime;

/// The value as JSON in one line, with every [dangerous](is_dangerous) character as a `\u` escape. A parser gets the
/// unchanged strings back.
///
/// # Errors
/// As [`serde_json::to_string`]: a map key that is not text, or a failing `Serialize`.
pub fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let plain = serde_json::to_string(value)?;
    if !plain.contains(is_dangerous) {
        return Ok(plain);
    }
    let mut safe = String::with_capacity(plain.len() + 16);
    // All structure of JSON is ASCII, so a dangerous character is inside a string, where an escape is allowed.
    for character in plain.chars() {
        if is_dangerous(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
    }
    Ok(safe)
}

/// The text for a terminal: every [dangerous](is_dangerous) character as `\u{..}`, and a backslash doubled so that
/// what was in the text cannot be mistaken for an escape.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => safe.push_str("\\\\"),
            _ if is_dangerous(character) => {
                // Writing to a string cannot fail.
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
            }
            _ => safe.push(character),
        }
    }
    safe
}

/// A time in milliseconds as people write it, always of one width; empty for 0.
#[must_use]
pub fn time(ms: u64) -> String {
    if ms == 0 {
        return String::new();
    }
    let Ok(time) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000) else {
        return ms.to_string();
    };
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond(),
    )
}

/// Whether a character acts on the display instead of standing for itself: the controls (C0, DEL, C1), line and
/// paragraph separators, bidirectional controls, and characters that are invisible (Unicode category Cf and the tags).
#[must_use]
pub const fn is_dangerous(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Abuse cases: 88.
    #[test]
    fn dangerous_text_is_shown_and_not_obeyed() {
        // What an attacker writes, what a table shows, what a line of JSON holds.
        let cases = [
            ("plain/ünïcode", "plain/ünïcode", "\"plain/ünïcode\""),
            ("a\nb\r", "a\\u{a}b\\u{d}", "\"a\\nb\\r\""),
            ("\u{1b}[2J", "\\u{1b}[2J", "\"\\u001b[2J\""),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}", "\"\\u009b2J\\u007f\""),
            ("\u{202e}txt", "\\u{202e}txt", "\"\\u202etxt\""),
            ("a\u{200b}b\u{2028}", "a\\u{200b}b\\u{2028}", "\"a\\u200bb\\u2028\""),
            ("\u{e0041}", "\\u{e0041}", "\"\\udb40\\udc41\""),
            (
                "\",\"decision\":\"allowed",
                "\",\"decision\":\"allowed",
                "\"\\\",\\\"decision\\\":\\\"allowed\"",
            ),
            ("\\u{1b}", "\\\\u{1b}", "\"\\\\u{1b}\""),
        ];
        for (text, table, line) in cases {
            assert_eq!(escape(text), table);
            let json = json(&text).unwrap();
            assert_eq!(json, line);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn times_have_one_width() {
        for (ms, text) in [
            (0, ""),
            (1, "1970-01-01T00:00:00.001Z"),
            (1_795_160_000_350, "2026-11-20T07:33:20.350Z"),
        ] {
            assert_eq!(time(ms), text);
        }
    }
}
