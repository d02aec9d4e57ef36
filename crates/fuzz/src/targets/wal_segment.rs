//! Segments of a log in which all checksums are right, and nothing else need be: they are refused or read, within bounds.

use std::fs;

use aumbry_storage::Meta;
use aumbry_storage::fuzzing::{Change, held, image, mend};
use bytes::Bytes;

use super::in_directory;
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "wal_segment",
    seeds,
    run,
    mend: |input| mend(input),
    words: &[
        b"aumb",
        b"\0\0\0\x01",
        b"\0\0\0\x04",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\x01",
    ],
    input_bytes_max: 8 << 10,
    smoke: 3_000,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let append = |index| Change::Append(index, Bytes::from_static(b"entry"));
    let batches = vec![
        vec![append(7), append(8)],
        vec![
            Change::Put(Meta::Vote, Bytes::from_static(b"vote")),
            Change::Truncate(8),
        ],
        vec![append(8), Change::Purge(7, Bytes::from_static(b"seven"))],
    ];
    let empty = image(&[vec![]], 6 << 10).remove(0).bytes;
    vec![image(&[batches], 7 << 10).remove(0).bytes, empty]
}

fn run(input: &[u8]) -> Verdict {
    // What a header or a state says that is missing takes memory. Whoever can give them the right checksum can as well write what they say.
    let states = |at: usize| {
        input
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_be_bytes)
    };
    let (entries_start, entries_end) = (states(FIRST_STATE), states(FIRST_STATE + 8));
    if states(32) > 64 << 10 || entries_end.saturating_sub(entries_start) > 1_000 {
        return Verdict::Refused;
    }
    in_directory(|directory| {
        let wal = directory.join("wal");
        fs::create_dir(&wal).expect("a directory is made");
        // Under the name that its header states, if it can be a segment's.
        let number = input
            .get(8..16)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(1, u64::from_be_bytes);
        fs::write(wal.join(format!("{number:016x}.seg")), input).expect("a file is written");
        let read = bounded(input, MEMORY, || held(directory));
        let Ok(Some(held)) = read else { return Verdict::Refused };
        assert!(
            held.entries.is_sorted_by(|one, other| one.0 + 1 == other.0),
            "entries follow each other"
        );
        assert!(held.entries.last().is_none_or(|(last, _)| last + 1 == held.end));
        Verdict::Accepted
    })
}

/// Behind the headers of the segment, of its first frame and of its first record.
const FIRST_STATE: usize = 4_096 + 32 + 20;
/// The file is read as a whole, with what it says that is missing.
const MEMORY: Memory = Memory {
    per_byte: 16,
    at_least: 1 << 20,
};
