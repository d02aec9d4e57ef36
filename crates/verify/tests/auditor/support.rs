//! Exports as a cluster writes them, made by the audit crate's own writer, and the program run on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aumbry_audit::export::{Content, Header, Unverified, checkpoint_line, header_line, leaf_line};
use aumbry_audit::{Checkpoint, Decision, Field, Frontier, Leaf, Outcome, Principal, Record, commitment};
use aumbry_crypto::signature::SigningKey;
use aumbry_types::{RequestId, SecretKey, StorageId, hex};
use tempfile::TempDir;

/// A log that is written as far as it is asked for.
pub(crate) struct Log {
    pub(crate) storage_id: StorageId,
    pub(crate) tree: Frontier,
    key: SigningKey,
    /// Stands in every path, so that two logs tell two histories.
    tale: &'static str,
}

impl Log {
    pub(crate) fn new(tale: &'static str) -> Self {
        Self::signed_by(7, tale)
    }

    pub(crate) fn signed_by(seed: u8, tale: &'static str) -> Self {
        Self {
            storage_id: StorageId::from_bytes([1; 16]),
            tree: Frontier::new(),
            key: SigningKey::from_seed(&SecretKey::take(&mut [seed; 32])),
            tale,
        }
    }

    pub(crate) fn header(&self) -> String {
        header_line(&Header {
            storage_id: self.storage_id,
            origin: Checkpoint::origin_of(&self.storage_id),
            start: self.tree.clone(),
        })
    }

    /// The line of the next record, which tells another tale from 4 on if the log is a fork.
    pub(crate) fn next(&mut self) -> String {
        let seq = self.tree.size();
        let tale = if seq < 4 { "main" } else { self.tale };
        let record = record(seq, tale).encode();
        let salt = [seq as u8; 16];
        let leaf = Leaf {
            seq,
            index: seq + 1,
            k: 0,
            log_time: 1_700_000_000_000 + seq,
            outcome: Outcome::Ok,
            commitment: commitment(&self.storage_id, &salt, &record),
        };
        self.push(&leaf, &Content::Record { record, salt })
    }

    /// The line of a leaf.
    pub(crate) fn push(&mut self, leaf: &Leaf, content: &Content) -> String {
        self.tree.push(leaf.hash());
        let unverified = Unverified {
            term: 1,
            wall_time: leaf.log_time,
        };
        leaf_line(leaf, content, unverified).expect("a line of an export")
    }

    pub(crate) fn note(&self) -> String {
        let checkpoint = Checkpoint::new(&self.storage_id, &self.tree);
        checkpoint.sign(&self.key).expect("the origin names a key")
    }

    pub(crate) fn checkpoint(&self) -> String {
        checkpoint_line(&self.note(), self.key.verifying_key())
    }

    pub(crate) const fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) fn key(&self) -> String {
        hex::encode(self.key.verifying_key().as_bytes())
    }

    pub(crate) fn fingerprint(&self) -> String {
        hex::encode(&self.key.verifying_key().fingerprint())
    }
}

/// An export of so many records, with a checkpoint at each of these sizes, line by line.
pub(crate) fn export(tale: &'static str, records: u64, checkpoints: &[u64]) -> Vec<String> {
    let mut log = Log::new(tale);
    let mut lines = vec![log.header()];
    for size in 1..=records {
        lines.push(log.next());
        if checkpoints.contains(&size) {
            lines.push(log.checkpoint());
        }
    }
    lines
}

/// The note of a log at this size.
pub(crate) fn note(tale: &'static str, size: u64) -> String {
    let mut log = Log::new(tale);
    (0..size).for_each(|_| drop(log.next()));
    log.note()
}

fn record(seq: u64, tale: &str) -> Record {
    Record {
        request_id: RequestId::from_bytes([seq as u8; 16]),
        attempt: 1,
        operation: "kv.get".into(),
        path: format!("kv/{tale}/{seq}"),
        principal: Some(Principal {
            accessor: "acc1".into(),
            display_name: "ci".into(),
            policies: vec!["app".into(), "default".into()],
            entity: None,
        }),
        decision: Decision::Allowed,
        reason: String::new(),
        deciding_policies: vec!["app".into()],
        rule: "kv/app/*".into(),
        client: "10.0.0.7:51000".into(),
        tls_identity: String::new(),
        node: 2,
        leader: 1,
        region: "eu".into(),
        fields: vec![("version".into(), Field::Clear("3".into()))],
        response: Some([0xef; 16]),
        count: 1,
    }
}

/// A folder of one auditor, and the program.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).expect("a file is written");
    }

    /// Runs the program in the folder; gives the exit code and the verdict.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let output = self.output(&[arguments, &["--output", "json"]].concat());
        let verdict = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().expect("it ends by itself"), verdict)
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .expect("the program runs")
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("the file is there")
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        Path::exists(&self.path(name))
    }
}

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_aumbry-verify");
