//! An entry of consensus: its id is the same read alone, and what is read and written is read as the same again.

use aumbry_raft::fuzzing;
use bytes::Bytes;

use super::entry;
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "log_entry",
    seeds,
    run,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    fuzzing::log_entries(&entry::sample(1))
        .iter()
        .map(|bytes| bytes.to_vec())
        .collect()
}

fn run(input: &[u8]) -> Verdict {
    let bytes = Bytes::copy_from_slice(input);
    let Some(written) = bounded(input, MEMORY, || fuzzing::log_entry(&bytes)) else {
        return Verdict::Refused;
    };
    assert_eq!(
        fuzzing::log_entry(&written),
        Some(written.clone()),
        "what is written is read as the same"
    );
    // A membership may have been written with longer numbers than needed; all else has one encoding.
    let is_membership = input[25] == 1;
    assert!(is_membership || written == input, "an entry has one encoding");
    Verdict::Accepted
}

/// A list of members is given room for what it announces, a megabyte at most (serde), some times inside each other.
const MEMORY: Memory = Memory {
    per_byte: 64,
    at_least: 4 << 20,
};
