//! What a node heard of what others acknowledged: lines of text.

use aumbry_raft::fuzzing::acknowledged;

use super::text;
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "acknowledged",
    seeds,
    run,
    words: &[
        b"acknowledged 1\n",
        b"cluster ",
        b"node ",
        b"\n",
        b"18446744073709551615",
        b"18446744073709551616",
        b"+",
        b"-",
    ],
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let head = format!("acknowledged 1\ncluster {}\n", "0".repeat(32));
    vec![head.clone().into(), format!("{head}node 1 1042\nnode 3 1040\n").into()]
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    let is_read = bounded(input, MEMORY, || acknowledged(text));
    let lines: Vec<&str> = text.lines().collect();
    let number = |text: &str| text.parse::<u64>().is_ok();
    let is_line = |line: &&str| matches!(line.splitn(3, ' ').collect::<Vec<_>>()[..], ["node", node, index] if number(node) && number(index));
    let cluster = format!("cluster {}", "0".repeat(32));
    let is_form = matches!(lines[..], ["acknowledged 1", second, ..] if second == cluster);
    assert_eq!(is_read, is_form && lines[2..].iter().all(is_line));
    Verdict::of(is_read)
}

/// A line of nine bytes is an entry of a map.
const MEMORY: Memory = Memory {
    per_byte: 64,
    at_least: 64 << 10,
};
