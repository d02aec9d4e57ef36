//! A backup is opened as it was written, or not at all.

use std::fs;
use std::path::Path;

use aumbry_crypto::signature::SigningKey;
use aumbry_state::{Command, Counters, Entry, EntryHeader, Input, Machine, MemoryView, Payload, Put, Write, key};
use aumbry_types::{CommandId, LeaderId, LogId, LogIndex, NodeId, ObjectId, SecretKey, Term};
use bytes::Bytes;

use super::*;
use crate::{SnapshotHeader, SnapshotWriter};

fn signer() -> SigningKey {
    SigningKey::from_seed(&SecretKey::take(&mut [7; 32]))
}

fn log_id(index: u64) -> LogId {
    LogId {
        leader: LeaderId {
            term: Term(2),
            node: NodeId(1),
        },
        index: LogIndex(index),
    }
}

fn entry() -> Bytes {
    let put = Put {
        key: key::object(ObjectId::from_bytes([5; 16])),
        kind: 1,
        expires_at: 0,
        counters: Counters::Keep,
        key_term: 1,
        container: ObjectId::from_bytes([6; 16]),
        body: Bytes::from_static(b"sealed"),
    };
    let command = Command {
        id: CommandId::from_bytes([9; 16]),
        preconditions: Vec::new(),
        writes: vec![Write::Put(put)],
        commitment: [3; 32],
    };
    let header = EntryHeader {
        log_time: 1_000,
        wall_time: 1_001,
    };
    Entry {
        header,
        commands: vec![command],
        audit: Bytes::from_static(b"sealed record"),
    }
    .encode()
}

/// Applies a leader's empty entry and a command, and writes the snapshot of it, changed by `change`.
fn snapshot(path: &Path, change: impl Fn(&mut Vec<(Bytes, Bytes)>)) {
    let bytes = entry();
    let inputs = [(0, Payload::Blank), (1, Payload::Command(&bytes))].map(|(index, payload)| Input {
        log_id: log_id(index),
        payload,
    });
    let view = MemoryView::default();
    let mut machine = Machine::load(&view).unwrap();
    let applied = machine.apply(&view, &inputs).unwrap();
    let mut rows: Vec<(Bytes, Bytes)> = applied
        .rows
        .into_iter()
        .filter_map(|(key, row)| row.map(|row| (key, row)))
        .collect();
    rows.sort_unstable();
    change(&mut rows);
    let header = SnapshotHeader {
        last_log_id: [2, 1, 1],
        membership: b"members".to_vec(),
    };
    let mut writer = SnapshotWriter::create(path, &header).unwrap();
    for (key, row) in &rows {
        writer.row(key, row).unwrap();
    }
    for ((index, body), result) in applied.bodies.iter().zip(&applied.results) {
        writer.body(index.0, result.first_seq, body).unwrap();
    }
    writer.finish().unwrap();
}

fn backup(directory: &Path) -> (PathBuf, Manifest) {
    let path = directory.join("snapshot");
    snapshot(&path, |_| {});
    let reader = SnapshotReader::open(&path).unwrap();
    let manifest = Manifest {
        cluster_id: ClusterId::from_bytes([1; 16]),
        storage_id: StorageId::from_bytes([2; 16]),
        index: 1,
        term: 2,
        content: reader.check_content().unwrap(),
        wall_time: 1_700_000_000_000,
        version: "0.1.0".to_owned(),
        key: *signer().verifying_key().as_bytes(),
        snapshot_bytes: reader.bytes(),
        snapshot_hash: reader.hash(),
    };
    let head = manifest.encode(|bytes| signer().sign(bytes));
    let file = directory.join("backup");
    fs::write(&file, [head, fs::read(&path).unwrap()].concat()).unwrap();
    (file, manifest)
}

#[test]
fn opens_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let (file, manifest) = backup(directory.path());
    let opened = Backup::open(&file).unwrap();
    assert_eq!(opened.manifest, manifest);
    assert_eq!(opened.snapshot.body_count(), 2);
    assert_eq!(opened.manifest.content.audit_size, 2);
    let bytes = fs::read(&file).unwrap();
    assert_eq!(Backup::announced_bytes(&bytes[..2_000]), Some(bytes.len() as u64));
    assert_eq!(Backup::announced_bytes(&bytes[..100]), None);
}

/// Abuse cases: 70, 103.
#[test]
fn a_change_of_any_byte_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (file, _) = backup(directory.path());
    let bytes = fs::read(&file).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        fs::write(&file, changed).unwrap();
        let error = Backup::open(&file).unwrap_err();
        assert!(
            matches!(error, StorageError::Backup { .. } | StorageError::Newer { .. }),
            "byte {at}: {error}"
        );
    }
    for len in [0, 7, 300, bytes.len() - 1] {
        fs::write(&file, &bytes[..len]).unwrap();
        Backup::open(&file).unwrap_err();
    }
    fs::write(&file, [&bytes[..], b"more"].concat()).unwrap();
    Backup::open(&file).unwrap_err();
    fs::write(&file, bytes).unwrap();
    Backup::open(&file).unwrap();
}

#[test]
fn a_snapshot_that_no_log_gave_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    type Rows = Vec<(Bytes, Bytes)>;
    let check = |change: &dyn Fn(&mut Rows)| {
        snapshot(&path, change);
        SnapshotReader::open(&path).unwrap().check_content()
    };
    check(&|_| {}).unwrap();
    let object = |rows: &[(Bytes, Bytes)]| rows.iter().position(|(row, _)| key::parse_id(row).is_some()).unwrap();
    check(&|rows| drop(rows.remove(object(rows)))).unwrap_err();
    check(&|rows| {
        let at = object(rows);
        rows[at].1 = Bytes::from_static(b"another");
    })
    .unwrap_err();
    check(&|rows| rows.retain(|(row, _)| *row != key::machine())).unwrap_err();
}
