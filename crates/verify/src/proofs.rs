//! `aumbry-verify consistency` and `aumbry-verify inclusion`: proofs against signed checkpoints.

use std::path::{Path, PathBuf};

use aumbry_audit::export::{LINE_BYTES_MAX, Reason, disclosed};
use aumbry_audit::proof::{FORM_BYTES_MAX, Proof};
use aumbry_types::hex;
use clap::Args;
use serde_json::{Value, json};

use crate::chain::Chain;
use crate::notes::{self, Signed};
use crate::verdict::Failure;
use crate::{files, trust};

#[derive(Args)]
pub(crate) struct Growth {
    /// The older checkpoint: a signed note, or an export, of which the last is taken
    old: PathBuf,
    /// The newer checkpoint, in the same forms
    new: PathBuf,
    /// The proof
    proof: PathBuf,
    #[command(flatten)]
    key: trust::Arguments,
}

#[derive(Args)]
pub(crate) struct Membership {
    /// The record: its line of an export
    record: PathBuf,
    /// The proof
    proof: PathBuf,
    /// The checkpoint: a signed note, or an export, of which the last is taken
    checkpoint: PathBuf,
    #[command(flatten)]
    key: trust::Arguments,
}

pub(crate) fn consistency(arguments: &Growth) -> Result<Value, Failure> {
    let trust = arguments.key.trust()?;
    let old = notes::last(&arguments.old, &trust)?;
    let new = notes::last(&arguments.new, &trust)?;
    let Proof::Consistency { origin, proof } = read(&arguments.proof)? else {
        return Err(other_kind(&arguments.proof, "consistency"));
    };
    is_of(&origin, &old, &arguments.proof)?;
    let (older, newer) = (old.checkpoint.clone(), new.checkpoint.clone());
    // Of one size, two roots are a fork, whatever the proof says.
    let mut chain = Chain::default();
    chain.add(old)?;
    chain.add(new)?;
    if (proof.old_size, proof.new_size) != (older.size, newer.size) {
        return Err(Failure::wrong(
            "another-proof",
            format!(
                "the proof is from {} to {} records, and the checkpoints are of {} and {}: ask for the proof of these",
                proof.old_size, proof.new_size, older.size, newer.size
            ),
        ));
    }
    if !proof.verify(&older.root, &newer.root) {
        let reason = "the proof does not lead from the old root to the new one: it was altered, or the newer log is not a \
                      continuation of the older";
        return Err(Failure::wrong("not-proved", reason));
    }
    Ok(json!({
        "proved": "the newer log begins with all records of the older",
        "origin": origin,
        "old_size": older.size,
        "old_root": hex::encode(&older.root),
        "new_size": newer.size,
        "new_root": hex::encode(&newer.root),
        "checkpoint_fingerprint": hex::encode(&trust.fingerprint),
    }))
}

pub(crate) fn inclusion(arguments: &Membership) -> Result<Value, Failure> {
    let trust = arguments.key.trust()?;
    let signed = notes::last(&arguments.checkpoint, &trust)?;
    let Proof::Inclusion { origin, proof } = read(&arguments.proof)? else {
        return Err(other_kind(&arguments.proof, "inclusion"));
    };
    is_of(&origin, &signed, &arguments.proof)?;
    let checkpoint = signed.checkpoint;
    let Some(storage_id) = checkpoint.storage_id() else {
        return Err(Reason::Origin.into());
    };
    let line = files::text(&arguments.record, LINE_BYTES_MAX)?;
    let record = arguments.record.display().to_string();
    let leaf = disclosed(&storage_id, line.as_bytes()).map_err(|reason| Failure::from(reason).at(&record, Some(1)))?;
    if (proof.seq, proof.size) != (leaf.seq, checkpoint.size) {
        return Err(Failure::wrong(
            "another-proof",
            format!(
                "the proof is of record {} among {}, the record is number {} and the checkpoint of {}: ask for the proof of \
                 these",
                proof.seq, proof.size, leaf.seq, checkpoint.size
            ),
        ));
    }
    if !proof.verify(&leaf.hash(), &checkpoint.root) {
        let reason = "the proof does not lead from the record to the root: one of them was altered";
        return Err(Failure::wrong("not-proved", reason));
    }
    let stated: Value = serde_json::from_str(&line).unwrap_or_default();
    Ok(json!({
        "proved": "the record is in the log",
        "origin": origin,
        "seq": leaf.seq,
        "size": checkpoint.size,
        "root": hex::encode(&checkpoint.root),
        "log_time": aumbry_audit::text::time(leaf.log_time),
        "outcome": leaf.outcome.name(),
        "event": stated["event"],
        "checkpoint_fingerprint": hex::encode(&trust.fingerprint),
    }))
}

pub(crate) fn read(path: &Path) -> Result<Proof, Failure> {
    let text = files::text(path, FORM_BYTES_MAX)?;
    let malformed = || Failure::wrong("altered", "this is not a proof").at(&path.display().to_string(), None);
    Proof::decode(text.as_bytes()).ok_or_else(malformed)
}

fn other_kind(path: &Path, wanted: &str) -> Failure {
    Failure::Usage(format!("{} is not a proof of {wanted}", path.display()))
}

fn is_of(origin: &str, signed: &Signed, path: &Path) -> Result<(), Failure> {
    if origin == signed.checkpoint.origin {
        return Ok(());
    }
    let reason = "the proof is of another log than the checkpoint";
    Err(Failure::wrong("another-log", reason).at(&path.display().to_string(), None))
}
