//! Applied records of this node, as lines.

use aumbry_audit::{Body, Leaf, shown, text};
use aumbry_node::AuditRow;
use aumbry_state::Consensus as _;
use aumbry_types::hex;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::SinkError;
use super::writer::Batch;
use crate::member::Member;

/// Who writes lines: the same for all of one sink.
pub(super) struct Author {
    pub(super) name: String,
    pub(super) region: String,
}

/// The records from `from` on, as many as one batch takes. `None` if the node is sealed, or there are none.
pub(super) fn batch(member: &Member, author: &Author, from: u64) -> Result<Option<Batch>, SinkError> {
    if !member.node.is_unsealed() {
        return Ok(None);
    }
    let rows = match member.node.audit_rows(from, BATCH_RECORDS, BATCH_ENTRIES) {
        Ok(rows) => rows,
        // Sealed since.
        Err(_) if !member.node.is_unsealed() => return Ok(None),
        Err(failure) => return Err(SinkError::Records(failure.message)),
    };
    if rows.is_empty() {
        return Ok(None);
    }
    let written_by = json!({
        "cluster": member.cluster().to_string(),
        "node": member.raft_id().0,
        "name": author.name,
        "region": author.region,
    });
    let mut batch = Batch {
        lines: Zeroizing::new(Vec::with_capacity(BATCH_BYTES)),
        next: from,
        leaf: String::new(),
    };
    for row in &rows {
        if row.seq != batch.next {
            return Err(SinkError::Records(format!("record {} is missing", batch.next)));
        }
        let line = line(row, &written_by)
            .ok_or_else(|| SinkError::Records(format!("record {} is of a newer version; update this node", row.seq)))?;
        // Never more than was reserved, so that no copy is left behind; but at least one.
        if batch.next > from && batch.lines.len() + line.text.len() > BATCH_BYTES {
            break;
        }
        batch.lines.extend_from_slice(line.text.as_bytes());
        batch.next += 1;
        batch.leaf = line.leaf;
    }
    Ok(Some(batch))
}

/// The leaf at a position of the tree, if it is applied here. Needs no key.
pub(super) fn leaf(member: &Member, seq: u64) -> Option<Leaf> {
    let bodies = member.raft.audit_bodies(seq, 1);
    let body = bodies.first().and_then(|bytes| Body::decode(bytes))?;
    body.leaves().find(|leaf| leaf.seq == seq)
}

/// The number of records that are applied here. Asked of the records themselves: what consensus tells of itself waits for what is being applied.
pub(super) fn size(member: &Member) -> u64 {
    let bodies = member.raft.audit_bodies(u64::MAX, 1);
    let body = bodies.first().and_then(|bytes| Body::decode(bytes));
    body.map_or(0, |body| body.first_seq + body.leaves.len() as u64)
}

struct Line {
    text: Zeroizing<String>,
    leaf: String,
}

/// What `aumbry audit log` prints of a record, with what its leaf is made of and who wrote the line. `None` if its outcome is unknown.
fn line(row: &AuditRow, written_by: &Value) -> Option<Line> {
    let leaf = Leaf {
        seq: row.seq,
        index: row.index,
        k: row.k,
        log_time: row.log_time,
        outcome: row.outcome()?,
        commitment: row.commitment,
    };
    let hash = hex::encode(&leaf.hash());
    let place = aumbry_audit::Place {
        seq: row.seq,
        index: row.index,
        term: row.term,
        log_time: row.log_time,
        outcome: row.outcome,
    };
    let mut line = shown(&row.event, &place);
    line["tree"] = json!({
        "k": leaf.k,
        "log_time": leaf.log_time,
        "commitment": hex::encode(&leaf.commitment),
        "leaf": hash,
    });
    line["written_by"] = written_by.clone();
    let mut text = Zeroizing::new(text::json(&line).ok()?);
    text.push('\n');
    Some(Line { text, leaf: hash })
}

/// A batch is in memory twice and on its way to one disk: large enough that its sync costs little.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_RECORDS: usize = 1_000;
/// Most entries of a busy cluster hold many records, of an idle one a single one.
const BATCH_ENTRIES: usize = 256;
