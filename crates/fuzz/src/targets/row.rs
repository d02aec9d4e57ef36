//! A stored row: one encoding.

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
    vec![row.encode().to_vec()]
}

fn run(input: &[u8]) -> Verdict {
    let bytes = Bytes::copy_from_slice(input);
    let Ok(row) = bounded(input, USUAL, || Row::decode(&bytes)) else {
        return Verdict::Refused;
    };
    assert_eq!(row.encode(), input, "a row has one encoding");
    assert!(!row.is_expired(0));
    Verdict::Accepted
}
