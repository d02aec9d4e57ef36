//! What a directory sends, before the client's parser is shown any of it: whole messages, of bounded length and depth, and no byte of the next.

use aumbry_server::fuzzing::directory;

use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "directory_answer",
    seeds,
    run,
    words: &[
        b"\x30\x84",
        b"\x30\x80",
        b"\x30\x81",
        b"\x02\x01\x01",
        b"\x61\x07\x0a\x01\x00",
        b"\x64",
        b"\x65",
        b"\x04\x00",
        b"\x31",
    ],
    bombs,
    input_bytes_max: 2_048,
    ..Target::USUAL
};

/// An element of BER, its length in four bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, 0x84], &(content.len() as u32).to_be_bytes()[..], content].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let bound = vec![0x30, 12, 2, 1, 1, 0x61, 7, 10, 1, 0, 4, 0, 4, 0];
    let value = element(0x04, b"cn=ann,ou=people,dc=example");
    let attribute = element(0x30, &[element(0x04, b"memberOf"), element(0x31, &value)].concat());
    let entry = element(0x64, &[value, element(0x30, &attribute)].concat());
    let entry = element(0x30, &[&[2, 1, 2][..], &entry].concat());
    let two = [&entry[..], &bound].concat();
    vec![bound, entry, two]
}

/// Levels without end, which are none of a message.
fn bombs() -> Vec<Vec<u8>> {
    let nested = |tag: u8| (0..400).fold(Vec::new(), |inner, _| element(tag, &inner));
    let whole = |content: &[u8]| element(0x30, &[&[2, 1, 1][..], content].concat());
    vec![
        whole(&nested(0x64)),
        whole(&element(0x64, &nested(0x30))),
        b"\x30\x82".repeat(500_000),
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    ]
}

fn run(input: &[u8]) -> Verdict {
    let Ok(found) = bounded(input, MEMORY, || directory(input)) else {
        return Verdict::Refused;
    };
    let Some(length) = found else {
        // More may come, but not without end: what is announced is within the bound.
        assert!(
            input.len() < MESSAGE_BYTES_MAX + HEAD_BYTES,
            "more is waited for than a message may have"
        );
        return Verdict::Refused;
    };
    assert!(
        length <= input.len() && length <= MESSAGE_BYTES_MAX,
        "a message is of bounded length, and there"
    );
    assert_eq!(
        directory(&input[..length]),
        Ok(Some(length)),
        "what follows decides nothing"
    );
    for cut in [0, 1, length / 2, length - 1] {
        assert_eq!(
            directory(&input[..cut]),
            Ok(None),
            "a part of a message is not refused: more may come"
        );
    }
    assert!(depth(&input[..length]) <= DEPTH_MAX, "no element lies deep");
    Verdict::Accepted
}

/// How many levels a message has: what a parser that calls itself would need of the stack. Slow, and written without the code that it checks.
fn depth(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut deepest = 0;
    while let [tag, first, ..] = *rest {
        let digits = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        let length = match digits {
            0 => usize::from(first),
            digits => rest[2..2 + digits]
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit)),
        };
        let (content, behind) = rest[2 + digits..].split_at(length);
        if tag & 0x20 != 0 {
            deepest = deepest.max(1 + depth(content));
        }
        rest = behind;
    }
    deepest
}

/// The levels that are looked at, without allocating for any.
const MEMORY: Memory = Memory {
    per_byte: 1,
    at_least: 4 << 10,
};
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const HEAD_BYTES: usize = 6;
/// An entry is a message, an operation, attributes, an attribute, values; controls have some levels more.
const DEPTH_MAX: usize = 12;
