//! A backup: what opens is what its manifest says, and the manifest is written in one way.

use std::fs;

use aumbry_crypto::signature::SigningKey;
use aumbry_storage::{Backup, Manifest, SnapshotReader};
use aumbry_types::{ClusterId, hex};

use super::{STORAGE, in_directory, key, snapshot};
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "backup",
    seeds,
    run,
    mend,
    words: &[
        b"aumback1",
        b"\n",
        b"cluster ",
        b"index ",
        b"version ",
        b"snapshot-bytes ",
        b"18446744073709551615",
        b"00",
    ],
    input_bytes_max: 16 << 10,
    smoke: 1_000,
    ..Target::USUAL
};

fn signer() -> SigningKey {
    SigningKey::from_seed(&key(7))
}

fn seeds() -> Vec<Vec<u8>> {
    let seed = |entries: u64| {
        in_directory(|directory| {
            let path = directory.join("made");
            let bytes = snapshot::write(&path, entries);
            let reader = SnapshotReader::open(&path).expect("it was just written");
            let manifest = Manifest {
                cluster_id: ClusterId::from_bytes([1; 16]),
                storage_id: STORAGE,
                index: entries,
                term: 3,
                content: reader.check_content().expect("it adds up"),
                wall_time: 1_700_000_000_000,
                version: "0.1.0".to_owned(),
                key: *signer().verifying_key().as_bytes(),
                snapshot_bytes: reader.bytes(),
                snapshot_hash: reader.hash(),
            };
            [manifest.encode(|signed| signer().sign(signed)), bytes].concat()
        })
    };
    vec![seed(1), seed(3)]
}

fn run(input: &[u8]) -> Verdict {
    in_directory(|directory| {
        let path = directory.join("backup");
        fs::write(&path, input).expect("the file is written");
        let announced = Backup::announced_bytes(input);
        let Ok(backup) = bounded(input, MEMORY, || Backup::open(&path)) else {
            return Verdict::Refused;
        };
        assert_eq!(
            announced,
            Some(input.len() as u64),
            "its size is told before it is read"
        );
        // Everything but the signature is covered by it, and a signature that was made has one form.
        let head = backup.manifest.encode(|signed| signer().sign(signed));
        let is_ours = backup.manifest.key == *signer().verifying_key().as_bytes();
        assert!(!is_ours || input.starts_with(&head), "a manifest has one form");
        assert_eq!(backup.manifest.snapshot_hash, backup.snapshot.hash());
        Verdict::Accepted
    })
}

/// Hashes of the snapshot, its hash and size in the manifest, and the signature.
fn mend(input: &mut Vec<u8>) {
    let Some(length) = input
        .get(8..12)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_be_bytes)
    else {
        return;
    };
    let (text_end, start) = (12 + length as usize, 12 + length as usize + 64);
    if start > input.len() {
        return;
    }
    snapshot::mend(input, start);
    let hash = hex::encode(&input[input.len().saturating_sub(32).max(start)..]);
    let text = String::from_utf8_lossy(&input[12..text_end]).into_owned();
    let Some((kept, _)) = text.split_once("snapshot-bytes ") else {
        return;
    };
    let text = format!("{kept}snapshot-bytes {}\nsnapshot-hash {hash}\n", input.len() - start);
    let signature = signer().sign(&[b"aumbry/backup/1\0", text.as_bytes()].concat());
    let length = (text.len() as u32).to_be_bytes();
    *input = [&input[..8], &length, text.as_bytes(), &signature, &input[start..]].concat();
}

const MEMORY: Memory = Memory {
    per_byte: 16,
    at_least: 256 << 10,
};
