//! The configuration of a node: whatever the text, all that is wrong is told, each at a place that exists.

use aumbry_server::fuzzing::config;

use super::text;
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "config",
    seeds,
    run,
    words: &[
        b"\n",
        b"\"",
        b"\"\"\"",
        b"'''",
        b"[client]",
        b"[peer]",
        b"[raft]\n",
        b"[[a]]",
        b" = ",
        b"1",
        b"true",
        b"[",
        b"]",
        b"{",
        b"}",
        b"heartbeat_ms = ",
        b"election_ms",
        b"\"127.0.0.1:0\"",
        "\u{e9}".as_bytes(),
        b"1979-05-27",
        b"0x7fffffffffffffff",
        b"nan",
        b"profile",
        b"[runtime]\nthreads = ",
        b"[limits]\n",
        b"[audit]\n",
        b"#",
        b"\\u0000",
    ],
    bombs,
    smoke: 3_000,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let good = "name = \"n1\"\ndata_dir = \"/d\"\n[client]\naddress = \"127.0.0.1:1\"\ncert_file = \"c\"\nkey_file = \"k\"\n[peer]\naddress = \"127.0.0.1:2\"\n";
    let more = "[raft]\nheartbeat_ms = 100\n[log]\nformat = \"json\"\n[limits]\nconnections = 9\n[seal.static]\nkey_file = \"/k\"\n";
    vec![good.into(), format!("{good}{more}").into_bytes()]
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    let (is_read, misread, _) = bounded(input, MEMORY, || config(text));
    for mistake in &misread {
        assert!(!mistake.message.contains('\n'), "a mistake is told in a line");
        if let Some((line, column)) = mistake.place {
            let there = text.split('\n').nth(line - 1).expect("the line is there");
            assert!(column <= there.chars().count() + 2, "the column is there");
        }
    }
    assert!(is_read || !misread.is_empty(), "what is refused has a reason");
    Verdict::of(is_read && misread.is_empty())
}

/// A file of a node has some kilobytes; the reader tries values, so each byte is looked at some times.
fn bombs() -> Vec<Vec<u8>> {
    let mut bombs = super::usual_bombs();
    bombs.push("a = 1\n".repeat(20_000).into_bytes());
    bombs.push("[raft]\nheartbeat_ms = \"soon\"\n".repeat(1_000).into_bytes());
    bombs
}

/// The library keeps a tree of the text, beside what was already found in it.
const MEMORY: Memory = Memory {
    per_byte: 512,
    at_least: 256 << 10,
};
