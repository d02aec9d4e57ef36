//! Ranges of addresses, as tokens and roles are bound to them.

use aumbry_server::fuzzing::cidr;

use super::text;
use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "cidr",
    seeds,
    run,
    words: &[b"/32", b"/0", b"/129", b"::", b"::ffff:", b"255.", b"0x", b"010."],
    input_bytes_max: 64,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    [
        "10.0.0.0/8",
        "127.0.0.1",
        "2001:db8::/32",
        "::1",
        "0.0.0.0/0",
        "::ffff:10.0.0.1/128",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    let Some(written) = bounded(input, USUAL, || cidr(text)) else {
        return Verdict::Refused;
    };
    assert_eq!(
        cidr(&written),
        Some(written.clone()),
        "what is written is read as the same"
    );
    Verdict::Accepted
}
