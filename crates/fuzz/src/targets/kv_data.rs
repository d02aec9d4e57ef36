//! The data of a secret: what is accepted is one JSON object of bounded depth without a key twice, and a patch gives what RFC 7396 says. The
//! input is two documents with a zero byte between.

use aumbry_engines::kv::fuzzing::{check, merge};
use aumbry_types::SecretBytes;
use serde_json::{Map, Value};

use crate::check::{Memory, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "kv_data",
    seeds,
    run,
    words: &[
        b"{",
        b"}",
        b"\"a\":",
        b"null",
        b"{\"a\":{\"b\":null}}",
        b"\"\\u0061\":1",
        b"[",
        b"]",
        b"1e400",
        b"-0",
        b"0.10",
        b",",
        b"\\ud83d",
        b"\0",
        b"true",
        b" ",
        b"\"\\n\":",
        b"\"\xc3\xa9\":",
    ],
    bombs,
    smoke: 30_000,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    [
        "{}\0{}",
        "{\"a\":1,\"b\":{\"c\":[1,null,\"x\"]}}\0{\"a\":null,\"b\":{\"d\":true}}",
        "{\"a\":1.0,\"e\":{\"x\":1E+2}}\0{\"a\":{\"b\":{\"c\":null}},\"e\":2}",
        "{\"\\u0061\":\"\\u0062\\/\"}\0 { \"a\" : 2 } ",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn bombs() -> Vec<Vec<u8>> {
    let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let both = |depth| format!("{}\0{}", deep(depth), deep(depth)).into_bytes();
    let mut bombs = super::usual_bombs();
    bombs.extend([both(31), both(32), both(33), both(100_000)]);
    let many: String = (0..80_000).map(|n| format!("\"k{n}\":{n},")).collect();
    bombs.push(format!("{{{many}\"z\":1}}\0{{{many}\"z\":null}}").into_bytes());
    bombs
}

fn run(input: &[u8]) -> Verdict {
    let (document, patch) = input
        .iter()
        .position(|byte| *byte == 0)
        .map_or((input, &b""[..]), |at| (&input[..at], &input[at + 1..]));
    let (document, patch) = (SecretBytes::new(document.to_vec()), SecretBytes::new(patch.to_vec()));
    if let Err(error) = bounded(input, MEMORY, || check(&document)) {
        silent(document.expose(), b"", &error);
        return Verdict::Refused;
    }
    let Value::Object(mut expected) = value(&document) else {
        panic!("what is accepted is an object")
    };
    match bounded(input, MEMORY, || merge(&document, &patch)) {
        Ok(merged) => {
            assert!(
                merged.len() <= document.len() + patch.len(),
                "the buffer grew, and left copies behind"
            );
            let Value::Object(patch) = value(&patch) else {
                panic!("what is accepted is an object")
            };
            merge_slowly(&mut expected, patch);
            assert!(value(&merged) == Value::Object(expected), "the merge is another one");
            assert!(check(&merged).is_ok());
            Verdict::Accepted
        }
        Err(error) => {
            silent(patch.expose(), b"", &error);
            Verdict::Refused
        }
    }
}

fn value(document: &SecretBytes) -> Value {
    serde_json::from_slice(document.expose()).unwrap_or_else(|error| panic!("what is accepted is no JSON: {error}"))
}

/// As the RFC writes it.
fn merge_slowly(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(patch) => {
                let before = target.remove(&key);
                let mut below = match before {
                    Some(Value::Object(below)) => below,
                    _ => Map::new(),
                };
                merge_slowly(&mut below, patch);
                target.insert(key, Value::Object(below));
            }
            value => {
                target.insert(key, value);
            }
        }
    }
}

/// Keys are collected, to find one that is there twice; a short one takes some dozen bytes.
const MEMORY: Memory = Memory {
    per_byte: 64,
    at_least: 64 << 10,
};
