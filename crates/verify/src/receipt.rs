//! `aumbry-verify receipt`: that what a client was given by a server stands in the log.

use std::path::PathBuf;

use aumbry_audit::export::{LINE_BYTES_MAX, disclosed};
use aumbry_audit::proof::Proof;
use aumbry_audit::{Checkpoint, CheckpointError, RECEIPT_BYTES_MAX, Receipt};
use aumbry_types::hex;
use clap::Args;
use serde_json::{Value, json};

use crate::verdict::Failure;
use crate::{files, notes, proofs, trust};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The receipt, as the server gave it
    receipt: PathBuf,
    /// The proof that the log has it
    #[arg(long, requires = "checkpoint")]
    proof: Option<PathBuf>,
    /// The checkpoint that the proof leads to: a signed note, or an export, of which the last is taken
    #[arg(long, requires = "proof")]
    checkpoint: Option<PathBuf>,
    /// The record that it is of: its line of an export
    #[arg(long)]
    record: Option<PathBuf>,
    #[command(flatten)]
    key: trust::Arguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, Failure> {
    let trust = arguments.key.trust()?;
    let name = arguments.receipt.display().to_string();
    let text = files::text(&arguments.receipt, RECEIPT_BYTES_MAX)?;
    let malformed = || Failure::wrong("altered", "this is not a receipt").at(&name, None);
    let (note, beside) = Receipt::read(text.as_bytes()).ok_or_else(malformed)?;
    let key = trust.key(Some(beside)).map_err(|failure| failure.at(&name, None))?;
    let receipt = Receipt::verify(&note, &key).map_err(|error| refused(error).at(&name, None))?;
    let mut told = json!({
        "proved": "the receipt is signed by the key; the log was not looked at: pass --proof and --checkpoint",
        "request_id": receipt.request_id.to_string(),
        "seq": receipt.seq,
        "index": receipt.index,
        "leaf": hex::encode(&receipt.leaf),
        "receipt_size": receipt.size,
        "checkpoint_fingerprint": hex::encode(&trust.fingerprint),
    });
    if let Some(record) = &arguments.record {
        let line = files::text(record, LINE_BYTES_MAX)?;
        let place = record.display().to_string();
        let leaf = disclosed(&receipt.storage_id, line.as_bytes())
            .map_err(|reason| Failure::from(reason).at(&place, Some(1)))?;
        if leaf.hash() != receipt.leaf {
            let reason = "the record is not the one that the receipt is of: one of them was altered";
            return Err(Failure::wrong("not-proved", reason).at(&place, Some(1)));
        }
        let stated: Value = serde_json::from_str(&line).unwrap_or_default();
        let is_of = stated["event"]["request_id"] == receipt.request_id.to_string().as_str();
        if !is_of || (leaf.seq, leaf.index) != (receipt.seq, receipt.index) {
            let reason = "the record is of another request, or stands elsewhere, than the receipt says";
            return Err(Failure::wrong("not-proved", reason).at(&place, Some(1)));
        }
        told["event"] = stated["event"].clone();
        told["outcome"] = json!(leaf.outcome.name());
        told["log_time"] = json!(aumbry_audit::text::time(leaf.log_time));
    }
    if let (Some(proof), Some(checkpoint)) = (&arguments.proof, &arguments.checkpoint) {
        let signed = notes::last(checkpoint, &trust)?;
        in_log(&receipt, proofs::read(proof)?, &signed.checkpoint)?;
        told["proved"] = json!("the record that the receipt is of is in the log");
        told["size"] = json!(signed.checkpoint.size);
        told["root"] = json!(hex::encode(&signed.checkpoint.root));
    }
    Ok(told)
}

/// Why a note is no receipt of the key.
fn refused(error: CheckpointError) -> Failure {
    match error {
        CheckpointError::Unsigned => Failure::wrong("another-key", "the receipt is not signed by the expected key"),
        CheckpointError::Signature => Failure::wrong("altered", "the signature of the receipt is wrong"),
        CheckpointError::Malformed | CheckpointError::Origin => Failure::wrong("altered", "this is not a receipt"),
    }
}

/// Whether the log of a checkpoint has what the receipt says.
fn in_log(receipt: &Receipt, proof: Proof, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let Proof::Inclusion { origin, proof } = proof else {
        return Err(Failure::Usage("the proof is not one of inclusion".to_owned()));
    };
    let expected = Checkpoint::origin_of(&receipt.storage_id);
    if origin != expected || checkpoint.origin != expected {
        let reason = "the receipt, the proof and the checkpoint are not all of one log";
        return Err(Failure::wrong("another-log", reason));
    }
    if receipt.size == checkpoint.size && receipt.root != checkpoint.root {
        let reason = "one key signed two roots of one size: that of the receipt, and that of the checkpoint";
        return Err(Failure::wrong("forked", reason));
    }
    if (proof.seq, proof.size) != (receipt.seq, checkpoint.size) {
        return Err(Failure::wrong(
            "another-proof",
            format!(
                "the proof is of record {} among {}, the receipt is of record {} and the checkpoint of {}: ask for the \
                 proof of these",
                proof.seq, proof.size, receipt.seq, checkpoint.size
            ),
        ));
    }
    if !proof.verify(&receipt.leaf, &checkpoint.root) {
        let reason = "the proof does not lead from the receipt's leaf to the root: the log has another record there, or the \
                      proof was altered";
        return Err(Failure::wrong("not-proved", reason));
    }
    Ok(())
}
