//! An export of the audit trail. What is verified is what was written: all of it, or up to a checkpoint; only what a line marks as unverified
//! may differ.

use aumbry_audit::export::{Header, Writer, verify};
use aumbry_audit::{Checkpoint, Frontier};
use aumbry_crypto::signature::SigningKey;
use serde_json::Value;

use super::{STORAGE, audit_body, key, text};
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "audit_export",
    seeds,
    run,
    words: &[
        b"{\"seq\":",
        b"\n",
        b"\"withheld\":true",
        b"null",
        b"1",
        b"\\u0041",
        b"\"event\":",
        b"0",
        b"\"unverified\":{\"term\":9",
        b" ",
    ],
    input_bytes_max: 16 << 10,
    bombs,
    smoke: 2_000,
    ..Target::USUAL
};

fn signer() -> SigningKey {
    SigningKey::from_seed(&key(7))
}

fn note(tree: &Frontier) -> String {
    Checkpoint::new(&STORAGE, tree)
        .sign(&signer())
        .expect("the origin can name a key")
}

/// The whole of it, with a checkpoint in the middle.
fn whole(start: usize) -> Vec<u8> {
    let bodies = audit_body::samples();
    let mut start_tree = Frontier::new();
    for leaf in bodies[..start]
        .iter()
        .flat_map(|body| body.leaves().collect::<Vec<_>>())
    {
        start_tree.push(leaf.hash());
    }
    let header = Header {
        storage_id: STORAGE,
        origin: Checkpoint::origin_of(&STORAGE),
        start: start_tree,
    };
    let mut writer = Writer::new(Vec::new(), header).expect("memory is written");
    for (n, body) in bodies.iter().enumerate().skip(start) {
        let records = body.open(&key(2), &STORAGE).expect("it was sealed with this key");
        writer.body(body, &records).expect("bodies follow each other");
        if n == 1 {
            let note = note(writer.tree());
            writer
                .checkpoint(&note, signer().verifying_key())
                .expect("it covers all");
        }
    }
    let note = note(writer.tree());
    writer
        .checkpoint(&note, signer().verifying_key())
        .expect("it covers all");
    writer.finish().expect("memory is written")
}

fn seeds() -> Vec<Vec<u8>> {
    vec![whole(0), whole(1), whole(2)]
}

fn run(input: &[u8]) -> Verdict {
    let pinned = signer().verifying_key().fingerprint();
    match bounded(input, MEMORY, || verify(input, Some(pinned))) {
        Ok(verified) => {
            let text = text(input).expect("what is verified is text");
            assert_eq!(verified.storage_id, STORAGE);
            let is_written = (0..3).any(|start| {
                let whole = whole(start);
                let whole = core::str::from_utf8(&whole).expect("an export is text");
                let lines: Vec<_> = text
                    .lines()
                    .filter(|line| !line.starts_with(CHECKPOINT))
                    .map(verifiable)
                    .collect();
                let known: Vec<_> = whole
                    .lines()
                    .filter(|line| !line.starts_with(CHECKPOINT))
                    .map(verifiable)
                    .collect();
                known.starts_with(&lines)
            });
            assert!(is_written, "an export is verified that was not written");
            Verdict::Accepted
        }
        Err(error) => {
            let told = format!("{error} {error:?}");
            assert!(
                told.len() < 2_000 && !told.contains("secret/data"),
                "an error repeats what the export says"
            );
            Verdict::Refused
        }
    }
}

/// A line without what nobody signed.
fn verifiable(line: &str) -> Value {
    let mut line: Value = serde_json::from_str(line).unwrap_or_default();
    if let Some(line) = line.as_object_mut() {
        line.remove("unverified");
    }
    line
}

/// After a right header: lines that are deep or long.
fn bombs() -> Vec<Vec<u8>> {
    let whole = whole(0);
    let header = whole
        .split_inclusive(|byte| *byte == b'\n')
        .next()
        .expect("it has a header")
        .to_vec();
    let lines = [
        "{\"seq\":".repeat(1_000_000),
        format!("{{\"seq\":0,\"event\":{}", "[".repeat(1_000_000)),
        format!("{{\"seq\":{}", "1".repeat(5 << 20)),
    ];
    let mut bombs = super::usual_bombs();
    bombs.extend(lines.map(|line| [&header, line.as_bytes(), b"\n"].concat()));
    bombs
}

const CHECKPOINT: &str = "{\"checkpoint\":";
/// A line is taken apart as JSON, compared and written again.
const MEMORY: Memory = Memory {
    per_byte: 128,
    at_least: 256 << 10,
};
