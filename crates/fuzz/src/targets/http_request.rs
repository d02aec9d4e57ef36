//! A request by HTTP, as whoever reaches the listener can send it: a line with method and target, one with the type of the body, and the body.

use aumbry_server::fuzzing::http;

use super::text;
use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "http_request",
    seeds,
    run,
    words: &[
        b"GET ",
        b"LIST ",
        b"PATCH ",
        b"/v1/",
        b"?list=true",
        b"?help=1",
        b"%2e%2e",
        b"%25",
        b"..",
        b";",
        b"+",
        b"{",
        b"application/x-www-form-urlencoded",
        b"application/merge-patch+json",
        b"\n",
    ],
    input_bytes_max: 4_096,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    [
        "GET /v1/secret/data/a%20b?version=2\n\n",
        "LIST /v1/secret/metadata/a\n\n",
        "POST /v1/a\napplication/x-www-form-urlencoded\na=1&b=x+y",
        "PUT /v1/a\napplication/json\n{\"a\":{\"b\":[1,2]}}",
        "PATCH /v1/a\napplication/merge-patch+json\n{}",
        "GET /v1/sys/mounts?help=1\n\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (first, kind, body) = (line(), line(), line());
    let (method, target) = first.split_once(' ').unwrap_or((first, "/"));
    let Ok((path, body)) = bounded(input, USUAL, || http(method, target, kind, body.as_bytes())) else {
        return Verdict::Refused;
    };
    // What is left of it cannot be decoded to something else by anybody.
    assert!(!path.contains(';'), "a path has no parameters of its own");
    let mut rest = path.as_str();
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        let is_code = rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
        assert!(!is_code, "a path is decoded once");
    }
    assert!(body.len() <= 6 * input.len() + 16, "a body does not grow");
    Verdict::Accepted
}
