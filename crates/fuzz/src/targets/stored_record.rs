//! What an engine stores inside the ciphertext, read as the metadata of a secret: written again and read it is the same.

use std::collections::BTreeMap;

use aumbry_barrier::record;
use aumbry_engines::kv::{Metadata, VersionState};

use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "stored_record",
    seeds,
    run,
    words: &[b"\xff\xff\xff\xff\x0f", b"\x80", b"\x01"],
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let version = VersionState {
        created: 1_000,
        deleted_at: 2_000,
        destroyed: true,
    };
    let full = Metadata {
        current: 3,
        oldest: 2,
        max_versions: 10,
        cas_required: true,
        custom: BTreeMap::from([("owner".to_owned(), "h\u{e9}".to_owned())]),
        versions: BTreeMap::from([(2, version), (3, version)]),
        ..Metadata::default()
    };
    [Metadata::default(), full]
        .map(|metadata| record::encode(VERSION, &metadata).expose().to_vec())
        .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Ok(metadata) = bounded(input, MEMORY, || record::decode::<Metadata>(VERSION, input)) else {
        return Verdict::Refused;
    };
    let written = record::encode(VERSION, &metadata);
    assert_eq!(
        record::decode::<Metadata>(VERSION, written.expose()),
        Ok(metadata),
        "it is read as another one"
    );
    Verdict::Accepted
}

const VERSION: u8 = 1;
const MEMORY: Memory = Memory {
    per_byte: 256,
    at_least: 64 << 10,
};
