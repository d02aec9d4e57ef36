//! What the kernel tells of a process.

use aumbry_bench::fuzzing::process_times;

use super::text;
use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "process_times",
    seeds,
    run,
    words: &[b") ", b"18446744073709551615", b" "],
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    vec![b"7 (au) m) S 1 7 7 0 -1 4194560 2 0 0 0 31 12 0 0 20 0 1 0 4711 1 2".to_vec()]
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    Verdict::of(bounded(input, USUAL, || process_times(text)).is_some())
}
