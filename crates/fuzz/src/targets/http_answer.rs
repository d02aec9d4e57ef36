//! Answers by HTTP/1.1, as the load generator reads them: the same however they are cut into pieces.

use aumbry_bench::fuzzing::http_answer;

use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "http_answer",
    seeds,
    run,
    words: &[
        b"\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 ",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"ffffffffffffffff",
        b"18446744073709551615",
        b"0\r\n\r\n",
        b"+",
        b";",
    ],
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n",
        "HTTP/1.1 204 None\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let read = bounded(input, MEMORY, || http_answer(input, usize::MAX));
    for piece in [1, 7, 100] {
        // Of a long one many pieces say no more.
        if input.len() / piece <= PIECES_MAX {
            assert_eq!(
                http_answer(input, piece),
                read,
                "in pieces of {piece} bytes it is another answer"
            );
        }
    }
    Verdict::of(read.is_ok())
}

/// The read buffer and the copy that the stream is made of.
const MEMORY: Memory = Memory {
    per_byte: 8,
    at_least: 256 << 10,
};
const PIECES_MAX: usize = 4_096;
