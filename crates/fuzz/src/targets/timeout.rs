//! The timeout in the head of a request.

use aumbry_server::fuzzing::timeout;

use super::text;
use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "timeout",
    seeds,
    run,
    words: &[b"H", b"M", b"S", b"m", b"u", b"n", "\u{e9}".as_bytes(), b"99999999"],
    input_bytes_max: 32,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    ["1H", "100m", "3S", "99999999n", "00000000u"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    let read = bounded(input, USUAL, || timeout(text));
    let has_form = text.is_ascii()
        && (2..=9).contains(&text.len())
        && text[..text.len() - 1].bytes().all(|c| c.is_ascii_digit())
        && text.ends_with(['H', 'M', 'S', 'm', 'u', 'n']);
    assert_eq!(read.is_some(), has_form);
    Verdict::of(has_form)
}
