//! The body of a request by path: one JSON object.

use aumbry_server::fuzzing::body;

use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "body",
    seeds,
    run,
    words: &[
        b"{\"",
        b"\":",
        b"[[[[",
        b"{}",
        b"null",
        b"\\u0000",
        b"1e999",
        b"18446744073709551616",
    ],
    input_bytes_max: 4_096,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    [
        "",
        "{}",
        "{\"a\":1}",
        "{\"paths\":[\"a\",\"b\"],\"ttl\":\"1h\"}",
        "{\"a\":{\"b\":{\"c\":null}}}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some(written) = bounded(input, USUAL, || body(input)) else {
        return Verdict::Refused;
    };
    assert_eq!(
        body(&written),
        Some(written.clone()),
        "what is written is read as the same"
    );
    Verdict::Accepted
}
