//! Audit bodies, decrypted to rows that show what happened and carry what a verifier needs.

use aumbry_audit::{Body, Outcome, Record, blob};
use aumbry_barrier::Barrier;
use serde::{Deserialize, Serialize};

use crate::{Class, Failure};

/// One audit record with its place.
#[derive(Clone, Serialize, Deserialize)]
pub struct AuditRow {
    /// Its sequence number, the index of its leaf.
    pub seq: u64,
    /// The log index of its entry.
    pub index: u64,
    /// Its position in the entry.
    pub k: u32,
    /// The term of its entry.
    pub term: u64,
    /// The log time of its entry (ms).
    pub log_time: u64,
    /// The leader's wall clock (ms).
    pub wall_time: u64,
    /// What apply made of it.
    pub outcome: u8,
    /// The commitment in the leaf.
    pub commitment: [u8; 32],
    /// Whether the record cannot be opened, as those of an initialisation that was repeated: an export withholds it.
    pub withheld: bool,
    /// The salt of the commitment; zeros for entries of consensus itself, and if the record is withheld.
    pub salt: [u8; 16],
    /// The record's canonical bytes; empty for entries of consensus itself, and if the record is withheld.
    pub record: Vec<u8>,
    /// The content of an entry of consensus itself.
    pub clear: Vec<u8>,
    /// The record for people, JSON.
    pub event: String,
}

/// A record with the salt of its commitment, as an entry's body holds it.
pub(crate) type Salted = (Vec<u8>, [u8; 16]);

/// Decrypts bodies: the rows from `from`, at most `limit`.
///
/// Records from before `genesis`, the log index of the first entry that counts, are those of an initialisation that was repeated.
/// Nobody has their keys any more; their rows show the place and the commitment alone.
pub(crate) fn open(
    barrier: &Barrier,
    bodies: Vec<Vec<u8>>,
    from: u64,
    limit: usize,
    genesis: u64,
) -> Result<Vec<AuditRow>, Failure> {
    let mut rows = Vec::new();
    for bytes in bodies {
        let body = Body::decode(&bytes).ok_or_else(damaged)?;
        let records = records(barrier, &body, genesis)?;
        for (position, leaf) in body.leaves().enumerate() {
            if leaf.seq < from {
                continue;
            }
            if rows.len() == limit {
                return Ok(rows);
            }
            let (record, salt) = records.get(position).cloned().unwrap_or_default();
            let withheld = record.is_empty() && !body.is_clear(leaf.outcome);
            let event = match Record::decode(&record) {
                Some(record) => record.to_json().to_string(),
                None if withheld => SUPERSEDED.to_owned(),
                None => clear_event(&body.clear),
            };
            rows.push(AuditRow {
                seq: leaf.seq,
                index: leaf.index,
                k: leaf.k,
                term: body.term,
                log_time: body.log_time,
                wall_time: body.wall_time,
                outcome: leaf.outcome as u8,
                commitment: leaf.commitment,
                withheld,
                salt,
                record,
                clear: body.clear.clone(),
                event,
            });
        }
    }
    Ok(rows)
}

/// The records of a body. There are none if nobody has their keys any more, or consensus itself made the entry.
pub(crate) fn records(barrier: &Barrier, body: &Body, genesis: u64) -> Result<Vec<Salted>, Failure> {
    match open_blob(barrier, body) {
        Err(_) if body.index < genesis => Ok(Vec::new()),
        opened => opened,
    }
}

fn open_blob(barrier: &Barrier, body: &Body) -> Result<Vec<Salted>, Failure> {
    if body.blob.is_empty() {
        return Ok(Vec::new());
    }
    let commitments: Vec<[u8; 32]> = body.leaves.iter().map(|(_, _, commitment)| *commitment).collect();
    let epoch = blob::epoch(&body.blob).ok_or_else(damaged)?;
    let key = barrier.keyring().audit(epoch).ok_or_else(damaged)?;
    blob::open(key, &barrier.storage_id(), &commitments, &body.blob).map_err(|_| damaged())
}

fn clear_event(clear: &[u8]) -> String {
    serde_json::json!({ "operation": clear_operation(clear) }).to_string()
}

/// What consensus itself did.
pub(crate) fn clear_operation(clear: &[u8]) -> &'static str {
    let kind = [
        ("blank", "raft.leader"),
        ("membership", "raft.membership"),
        ("malformed", "raft.malformed"),
    ];
    kind.iter()
        .find(|(prefix, _)| clear.starts_with(prefix.as_bytes()))
        .map_or("raft", |(_, name)| name)
}

/// The event of an initialisation that was repeated.
pub(crate) const SUPERSEDED: &str = r#"{"operation":"sys.init","superseded":true}"#;

pub(crate) fn damaged() -> Failure {
    Failure::new(
        Class::Internal,
        "AUDIT_DAMAGED",
        "an audit record on this node is damaged; read the log on another node",
    )
}

impl AuditRow {
    /// The outcome, if this build knows it.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        Outcome::from_u8(self.outcome)
    }
}
