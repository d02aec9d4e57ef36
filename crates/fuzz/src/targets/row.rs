//! A stored row: one encoding in the layout that is written, and the first layout is read as the same row.

use aumbry_state::codec::Writer;
use aumbry_state::{Rev, Row};
use aumbry_types::{CommandId, ObjectId};
use bytes::Bytes;

use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "row",
    seeds,
    run,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let row = Row {
        kind: 3,
        flags: 0,
        rev: Rev { index: 9, k: 1 },
        writer: CommandId::from_bytes([1; 16]),
        created: 7,
        expires_at: 1_000,
        counters: [1, 2],
        key_term: 4,
        container: ObjectId::from_bytes([2; 16]),
        body: Bytes::from_static(b"body"),
    };
    let free = Row {
        container: ObjectId::from_bytes([0; 16]),
        ..row.clone()
    };
    vec![row.encode().to_vec(), free.encode().to_vec(), first_layout(&row)]
}

/// As rows were written first: each field in its full width.
fn first_layout(row: &Row) -> Vec<u8> {
    let mut writer = Writer::default();
    for byte in [1, row.kind, row.flags] {
        writer.u8(byte);
    }
    writer.u64(row.rev.index);
    writer.u32(row.rev.k);
    writer.raw(row.writer.as_bytes());
    for number in [row.created, row.expires_at, row.counters[0], row.counters[1]] {
        writer.u64(number);
    }
    writer.u32(row.key_term);
    writer.raw(row.container.as_bytes());
    writer.raw(&row.body);
    writer.finish()
}

fn run(input: &[u8]) -> Verdict {
    let bytes = Bytes::copy_from_slice(input);
    let Ok(row) = bounded(input, USUAL, || Row::decode(&bytes)) else {
        return Verdict::Refused;
    };
    let encoded = row.encode();
    match input[0] {
        1 => assert_eq!(first_layout(&row), input, "a row of the first layout has one encoding"),
        _ => assert_eq!(encoded, input, "a row has one encoding"),
    }
    assert_eq!(Row::decode(&encoded), Ok(row.clone()), "it is read as another row");
    assert!(!row.is_expired(0));
    Verdict::Accepted
}
