//! A client's call, decoded and turned into an operation; what is refused is refused without a word of it.

use aumbry_api::v1::{self, Call, call::Op};
use aumbry_server::fuzzing::call;
use prost::Message as _;

use crate::check::{Memory, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "call",
    seeds,
    run,
    words: &[b"a/b", b"/", b"{}", b"{\"a\":1}", b"\x0a\x03a/b", b"aumbry-seal-key-"],
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let path = || "secret/app".to_owned();
    let ops = [
        Op::KvPut(v1::KvPutRequest {
            path: path(),
            data: "{\"a\":1}".into(),
            cas: Some(1),
            ..Default::default()
        }),
        Op::KvGet(v1::KvGetRequest {
            path: path(),
            version: 2,
            ..Default::default()
        }),
        Op::KvBatchGet(v1::KvBatchGetRequest {
            paths: vec![path(), path()],
            ..Default::default()
        }),
        Op::KvList(v1::KvListRequest {
            path: path(),
            limit: 3,
            ..Default::default()
        }),
        Op::KvDelete(v1::KvDeleteRequest {
            path: path(),
            versions: vec![1, 2],
            ..Default::default()
        }),
        Op::KvPutMetadata(v1::KvPutMetadataRequest {
            path: path(),
            set_custom_metadata: true,
            ..Default::default()
        }),
        Op::TokenCreate(v1::TokenCreateRequest::default()),
        Op::TokenLookup(v1::TokenLookupRequest::default()),
        Op::PolicyPut(v1::PolicyPutRequest {
            name: "p".to_owned(),
            ..Default::default()
        }),
        Op::MountEnable(v1::MountEnableRequest {
            path: "kv".to_owned(),
            ..Default::default()
        }),
        Op::SealAdd(v1::SealAddRequest {
            static_key: format!("aumbry-seal-key-{}", "5f".repeat(32)).into(),
            ..Default::default()
        }),
        Op::SealRemove(v1::SealRemoveRequest {
            key_id: "5f".repeat(16),
            ..Default::default()
        }),
        Op::AuditRead(v1::AuditReadRequest::default()),
        Op::Join(v1::JoinRequest::default()),
    ];
    ops.into_iter()
        .map(|op| Call { op: Some(op) }.encode_to_vec())
        .collect()
}

fn run(input: &[u8]) -> Verdict {
    match bounded(input, MEMORY, || call(input)) {
        Ok(()) => Verdict::Accepted,
        Err(error) => {
            silent(input, b"aumbry-seal-key-", &error);
            Verdict::Refused
        }
    }
}

/// As a message, and once more as an operation.
const MEMORY: Memory = Memory {
    per_byte: 1_024,
    at_least: 64 << 10,
};
