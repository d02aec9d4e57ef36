//! Durations as people write them.

use aumbry_types::{format_duration, parse_duration};

use super::text;
use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "duration",
    seeds,
    run,
    words: &[
        b"s",
        b"m",
        b"h",
        b"d",
        b"18446744073709551615",
        b"1h30m",
        b"3162240000",
        b"3162240001",
    ],
    input_bytes_max: 64,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    ["0", "90", "90s", "15m", "1h30m", "7d", "36600d", "1d2h3m4s"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    let Ok(duration) = bounded(input, USUAL, || parse_duration(text)) else {
        return Verdict::Refused;
    };
    assert!(duration.as_secs() <= 100 * 366 * 86_400 && duration.subsec_nanos() == 0);
    let written = format_duration(duration);
    assert_eq!(
        parse_duration(&written),
        Ok(duration),
        "what is written is read as the same"
    );
    assert!(written.len() <= text.len() + 8, "it is the shortest form");
    Verdict::Accepted
}
