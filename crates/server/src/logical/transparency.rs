//! Proofs about the audit log, in the forms that `aumbry-verify` takes.

use aumbry_audit::export::checkpoint_line;
use aumbry_crypto::signature::VerifyingKey;
use aumbry_node::{AuditProof, Failure, Operation, ProofAsk, Reply};
use aumbry_types::hex;
use serde_json::{Value, json};

use super::content::Content;
use super::{Asked, Resolved, malformed, mismatched};

/// A signed checkpoint.
pub(super) fn checkpoint(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::new(Operation::AuditCheckpoint, |_, reply| match reply {
        Reply::Checkpoint {
            note,
            size,
            verifying_key,
            ..
        } => Content::data(&json!({ "checkpoint": line(&note, verifying_key)?, "size": size })),
        _ => Err(mismatched()),
    }))
}

/// A proof of a record.
pub(super) fn proof(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let seq = asked.body.count("seq").map_err(malformed)?;
    let seq = seq.ok_or_else(|| Failure::invalid("seq is required: the number of the record"))?;
    let size = asked.body.count("size").map_err(malformed)?.unwrap_or(0);
    Ok(proved(ProofAsk::Inclusion { seq, size }))
}

/// A proof that the log only grew.
pub(super) fn consistency(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let from = asked.body.count("from").map_err(malformed)?;
    let from = from.ok_or_else(|| Failure::invalid("from is required: the size of the older checkpoint"))?;
    let to = asked.body.count("to").map_err(malformed)?.unwrap_or(0);
    Ok(proved(ProofAsk::Consistency { from, to }))
}

fn proved(ask: ProofAsk) -> Resolved {
    Resolved::new(Operation::AuditProof(ask), |_, reply| match reply {
        Reply::AuditProof(found) => Content::data(&shown(&found)?),
        _ => Err(mismatched()),
    })
}

fn shown(found: &AuditProof) -> Result<Value, Failure> {
    let checkpoint = line(&found.note, found.verifying_key)?;
    let proof = parsed(&found.proof)?;
    Ok(match found.leaf_hash {
        Some(leaf) => json!({ "proof": proof, "checkpoint": checkpoint, "leaf": hex::encode(&leaf) }),
        None => json!({ "proof": proof, "old": line(&found.old_note, found.verifying_key)?, "new": checkpoint }),
    })
}

/// A checkpoint as its line in an export.
fn line(note: &str, key: [u8; 32]) -> Result<Value, Failure> {
    parsed(&checkpoint_line(note, &VerifyingKey::from_bytes(key)))
}

fn parsed(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::internal(error.to_string()))
}
