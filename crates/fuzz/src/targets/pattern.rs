//! Patterns of paths.

use aumbry_policy::Pattern;

use super::text;
use crate::check::{USUAL, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "pattern",
    seeds,
    run,
    words: &[
        b"/",
        b"+",
        b"*",
        b"/+/",
        b"/*",
        b"{{",
        b"}}",
        b"+*",
        "\u{202e}".as_bytes(),
    ],
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    ["*", "a", "a/", "a*", "a/*", "a/+/c", "+/+/+*", "a/+/", "+"]
        .iter()
        .filter(|text| Pattern::parse(text).is_ok())
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    match bounded(input, USUAL, || Pattern::parse(text)) {
        Ok(pattern) => {
            assert_eq!(pattern.as_str(), text);
            assert_eq!(pattern.is_prefix(), text.ends_with('*'));
            assert!(text.len() <= 1_025 && text.matches('*').count() <= 1 && !text.contains("//"));
            assert!(text.split('/').all(|part| !part.contains('+') || part == "+"));
            // The order is one: a pattern equals itself alone, and is strictly before or after any other.
            for other in seeds() {
                let other =
                    Pattern::parse(core::str::from_utf8(&other).unwrap_or_default()).expect("a seed is a pattern");
                assert_eq!(pattern.cmp(&other), other.cmp(&pattern).reverse());
                assert_eq!(pattern.cmp(&other).is_eq(), pattern == other);
            }
            Verdict::Accepted
        }
        Err(error) => {
            silent(input, b"", &error);
            Verdict::Refused
        }
    }
}
