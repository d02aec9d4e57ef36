//! What apply appends to the audit for an entry: one encoding; its records open as they were sealed or not at all.

use aumbry_audit::{Body, Outcome, blob, clear_commitment, commitment};
use aumbry_types::SimulatedEntropy;

use super::{STORAGE, audit_record, key};
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "audit_body",
    seeds,
    run,
    ..Target::USUAL
};

/// Bodies that follow each other: of consensus, of two records, of a malformed entry, of one record.
pub(super) fn samples() -> Vec<Body> {
    let clear = |index: u64, first_seq, outcome| {
        let clear = format!("entry {index}").into_bytes();
        body(
            index,
            first_seq,
            vec![(0, outcome, clear_commitment(&clear))],
            clear,
            Vec::new(),
        )
    };
    let sealed = |index: u64, first_seq: u64, outcomes: &[(u32, Outcome)]| {
        let records = (0..outcomes.len()).map(|n| (audit_record::sample(n as u8).encode(), [n as u8; 16]));
        let records: Vec<_> = records.collect();
        let commitments: Vec<_> = records
            .iter()
            .map(|(record, salt)| commitment(&STORAGE, salt, record))
            .collect();
        let blob = blob::seal(
            &key(2),
            1,
            &STORAGE,
            &commitments,
            &records,
            &SimulatedEntropy::new(index),
        );
        let leaves = outcomes
            .iter()
            .zip(commitments)
            .map(|((k, outcome), committed)| (*k, *outcome, committed));
        body(index, first_seq, leaves.collect(), Vec::new(), blob)
    };
    vec![
        clear(1, 0, Outcome::Clear),
        sealed(2, 1, &[(0, Outcome::Ok), (2, Outcome::Conflict)]),
        clear(3, 3, Outcome::Rejected),
        sealed(4, 4, &[(0, Outcome::Expired)]),
    ]
}

fn body(index: u64, first_seq: u64, leaves: Vec<(u32, Outcome, [u8; 32])>, clear: Vec<u8>, blob: Vec<u8>) -> Body {
    let log_time = 1_700_000_000_000 + index;
    Body {
        index,
        term: 2,
        first_seq,
        log_time,
        wall_time: log_time + 7,
        leaves,
        clear,
        blob,
    }
}

fn seeds() -> Vec<Vec<u8>> {
    samples().iter().map(Body::encode).collect()
}

fn run(input: &[u8]) -> Verdict {
    let Some(body) = bounded(input, MEMORY, || Body::decode(input)) else {
        return Verdict::Refused;
    };
    assert_eq!(body.encode(), input, "a body has one encoding");
    assert_eq!(body.leaves().count(), body.leaves.len());
    if let Ok(records) = body.open(&key(2), &STORAGE) {
        let is_sealed = samples().iter().any(|made| made.blob == body.blob);
        assert!(records.is_empty() || is_sealed, "records open that were not sealed");
    }
    Verdict::Accepted
}

const MEMORY: Memory = Memory {
    per_byte: 16,
    at_least: 64 << 10,
};
