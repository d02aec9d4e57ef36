//! An entry as it stands in the log: what decodes is encoded to the same bytes, but for the versions that a writer states.

use aumbry_state::{Command, Counters, Entry, EntryHeader, Precondition, Put, Slot, Write, key};
use aumbry_types::{CommandId, ObjectId};
use bytes::Bytes;

use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "entry",
    seeds,
    run,
    mend: |input| super::mend_crc_at_end(input),
    words: &[b"AUMB", b"\0\0\0\x01", b"\xff\xff\xff\xff"],
    ..Target::USUAL
};

/// An entry with each kind of precondition and write.
pub(super) fn sample(commands: u8) -> Bytes {
    let header = EntryHeader {
        log_time: 1_000,
        wall_time: 1_007,
    };
    let entry = Entry {
        header,
        commands: (0..commands).map(command).collect(),
        audit: Bytes::from_static(b"audit"),
    };
    entry.encode()
}

/// A command with each kind of precondition and write.
pub(super) fn command(n: u8) -> Command {
    let object = |n: u8| ObjectId::from_bytes([n; 16]);
    let id = CommandId::from_bytes([n; 16]);
    let (row, child) = (key::object(object(1)), key::directory(object(2), [n; 16]));
    let preconditions = vec![
        Precondition::Absent(child.clone()),
        Precondition::RowIs(row.clone(), id),
        Precondition::ContainerGen(object(2), 0),
        Precondition::ContainerScan(object(2), 0),
        Precondition::AuthGen(object(3), 0),
        Precondition::NotExpired(row.clone()),
        Precondition::CounterAtLeast(row.clone(), Slot::Second, 1),
    ];
    let put = |key, counters, expires_at| {
        Write::Put(Put {
            key,
            kind: 3,
            expires_at,
            counters,
            key_term: 1,
            container: object(2),
            body: Bytes::from_static(b"body"),
        })
    };
    let writes = vec![
        put(row.clone(), Counters::Set([4, 5]), 2_000),
        put(child, Counters::Keep, 0),
        Write::CounterAdd {
            key: row.clone(),
            slot: Slot::First,
            delta: -1,
            floor: 0,
        },
        Write::Delete(row),
        Write::DeleteContainer(object(2)),
        Write::ForgetContainer(object(4)),
    ];
    // Every second one without preconditions, so that it has an effect.
    Command {
        id,
        preconditions: if n.is_multiple_of(2) { Vec::new() } else { preconditions },
        writes,
        commitment: [n; 32],
    }
}

fn seeds() -> Vec<Vec<u8>> {
    (1..4).map(|commands| sample(commands).to_vec()).collect()
}

fn run(input: &[u8]) -> Verdict {
    let bytes = Bytes::copy_from_slice(input);
    let Ok(entry) = bounded(input, MEMORY, || Entry::decode(&bytes)) else {
        return Verdict::Refused;
    };
    let mut stated = entry.encode().to_vec();
    // The versions of who wrote it and of who may read it are not kept.
    stated[VERSIONS].copy_from_slice(&input[VERSIONS]);
    super::mend_crc_at_end(&mut stated);
    assert_eq!(stated, input, "an entry has one encoding");
    assert!(!entry.commands.is_empty());
    Verdict::Accepted
}

/// A list of commands is given room for what it announces, at most 1,024; the smallest command has 53 bytes.
const MEMORY: Memory = Memory {
    per_byte: 16,
    at_least: 256 << 10,
};
const VERSIONS: core::ops::Range<usize> = 5..9;
