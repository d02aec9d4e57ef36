//! The record of a request: one encoding.

use aumbry_audit::{Decision, Field, Principal, Record};
use aumbry_types::{ObjectId, RequestId};

use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "audit_record",
    seeds,
    run,
    words: &[
        "\u{2026}".as_bytes(),
        b"\x80\x01",
        b"\x40",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
    ..Target::USUAL
};

/// A record with something in each field.
pub(super) fn sample(n: u8) -> Record {
    Record {
        request_id: RequestId::from_bytes([n; 16]),
        attempt: 1,
        operation: "read".to_owned(),
        path: format!("secret/data/app/{n}"),
        principal: (n > 0).then(|| Principal {
            accessor: "5f".repeat(16),
            display_name: "ci \u{1f512}".to_owned(),
            policies: vec!["app".to_owned(), "default".to_owned()],
            entity: (n > 1).then(|| ObjectId::from_bytes([n; 16])),
        }),
        decision: Decision::Allowed,
        reason: "policy".to_owned(),
        deciding_policies: vec!["app".to_owned()],
        rule: "secret/data/app/*".to_owned(),
        client: "10.0.0.9:4711".to_owned(),
        tls_identity: String::new(),
        node: 2,
        leader: 1,
        region: "north".to_owned(),
        fields: vec![
            ("cas".to_owned(), Field::Clear("3".to_owned())),
            ("data".to_owned(), Field::Hmac([n; 16])),
        ],
        response: (n > 1).then_some([n; 16]),
        count: u64::from(n) * 1_000,
    }
}

fn seeds() -> Vec<Vec<u8>> {
    (0..3).map(|n| sample(n).encode()).collect()
}

fn run(input: &[u8]) -> Verdict {
    let Some(record) = bounded(input, MEMORY, || Record::decode(input)) else {
        return Verdict::Refused;
    };
    assert_eq!(record.encode(), input, "a record has one encoding");
    let told = format!("{record:?}");
    assert!(
        record.path.len() < 8 || !told.contains(&record.path),
        "a record shows no names"
    );
    Verdict::Accepted
}

/// It is decoded and encoded again to be compared; an empty name is two dozen bytes.
const MEMORY: Memory = Memory {
    per_byte: 64,
    at_least: 64 << 10,
};
