//! A snapshot file: what is opened can be walked through, and adds up or is refused.

use std::fs;
use std::path::Path;

use aumbry_crypto::sha256;
use aumbry_state::{Input, Machine, MemoryView, Payload};
use aumbry_storage::{SnapshotHeader, SnapshotReader, SnapshotWriter};
use aumbry_types::{LogId, LogIndex};

use super::{entry, in_directory};
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "snapshot",
    seeds,
    run,
    mend: |input| mend(input, 0),
    words: &[b"aumsnap1", b"\x01\0\0\0", b"\x02\0\0\0", b"\xff", b"\xff\xff\xff\xff"],
    input_bytes_max: 16 << 10,
    smoke: 2_000,
    ..Target::USUAL
};

/// Writes the snapshot of a state that a log gave, and returns its bytes.
pub(super) fn write(path: &Path, entries: u64) -> Vec<u8> {
    let view = MemoryView::default();
    let mut machine = Machine::load(&view).expect("an empty state loads");
    let header = SnapshotHeader {
        last_log_id: [3, 1, entries],
        membership: b"members".to_vec(),
    };
    let mut bodies = Vec::new();
    for index in 1..=entries {
        let log_id = LogId {
            index: LogIndex(index),
            ..LogId::default()
        };
        let entry = entry::sample(index as u8);
        let seq = machine.audit_size();
        let payload = Payload::Command(&entry);
        let applied = machine
            .apply(&view, &[Input { log_id, payload }])
            .expect("this build wrote it");
        bodies.extend(applied.bodies.into_iter().map(|(index, body)| (index.0, seq, body)));
        view.write(applied.rows);
    }
    let mut writer = SnapshotWriter::create(path, &header).expect("the file is made");
    for (key, row) in view.rows() {
        writer.row(&key, &row).expect("rows are in order");
    }
    for (index, seq, body) in bodies {
        writer.body(index, seq, &body).expect("bodies are in order");
    }
    writer.finish().expect("the file is written");
    fs::read(path).expect("the file is read")
}

fn seeds() -> Vec<Vec<u8>> {
    (0..4)
        .map(|entries| in_directory(|directory| write(&directory.join("made"), entries)))
        .collect()
}

fn run(input: &[u8]) -> Verdict {
    in_directory(|directory| {
        let path = directory.join("snapshot");
        fs::write(&path, input).expect("the file is written");
        let header = SnapshotReader::header_of(&path).ok();
        let Ok(reader) = bounded(input, MEMORY, || SnapshotReader::open(&path)) else {
            return Verdict::Refused;
        };
        assert_eq!(header.as_ref(), Some(reader.header()));
        assert_eq!(reader.bytes(), input.len() as u64);
        let keys: Vec<_> = reader.rows().map(|(key, _)| key).collect();
        assert!(keys.is_sorted_by(|one, other| one < other) && keys.len() as u64 == reader.row_count());
        assert_eq!(reader.bodies().count() as u64, reader.body_count());
        Verdict::of(bounded(input, MEMORY, || reader.check_content()).is_ok())
    })
}

/// Sets all hashes of a snapshot right that begins somewhere in the bytes, as far as its lengths allow.
pub(super) fn mend(input: &mut [u8], start: usize) {
    let Some(bytes) = input.get_mut(start..) else { return };
    let number = |bytes: &[u8], at: usize| {
        bytes[at..at + 4]
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    if bytes.len() < FIXED_BYTES + TRAILER_BYTES {
        return;
    }
    let mut at = FIXED_BYTES + number(bytes, FIXED_BYTES - 4);
    let end = bytes.len() - TRAILER_BYTES;
    if at > end {
        return;
    }
    let mut chain = sha256(&[&bytes[..at]]);
    for chunk in 0_u64.. {
        if at + 5 + 32 > end {
            break;
        }
        let payload = at + 5..at + 5 + number(bytes, at + 1);
        if payload.end + 32 > end {
            break;
        }
        let hash = sha256(&[&[bytes[at]], &chunk.to_be_bytes(), &bytes[payload.clone()]]);
        at = payload.end + 32;
        bytes[payload.end..at].copy_from_slice(&hash);
        chain = sha256(&[&chain, &hash]);
    }
    let hash = sha256(&[&chain, &bytes[end + 1..end + 9], &bytes[end + 9..end + 17]]);
    bytes[end + 17..].copy_from_slice(&hash);
}

const FIXED_BYTES: usize = 8 + 4 + 3 * 8 + 4;
const TRAILER_BYTES: usize = 1 + 8 + 8 + 32;
/// Chunks are read as a whole, one at a time, and bodies and rows out of them.
const MEMORY: Memory = Memory {
    per_byte: 16,
    at_least: 256 << 10,
};
