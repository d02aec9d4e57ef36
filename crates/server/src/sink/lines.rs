//! Applied records of this node, as lines.

use aumbry_audit::format::{Format, Gravity};
use aumbry_audit::{Body, Leaf, shown};
use aumbry_node::AuditRow;
use aumbry_state::Consensus as _;
use aumbry_types::hex;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::SinkError;
use super::writer::{Batch, Transport};
use crate::member::Member;

/// Who writes lines: the same for all of one sink.
pub(super) struct Author {
    pub(super) name: String,
    pub(super) region: String,
}

/// A record, ready for a transport.
pub(super) struct Rendered<'a> {
    /// In the form of the sink, without an end of line.
    pub(super) text: &'a str,
    /// Whether that is JSON.
    pub(super) is_json: bool,
    pub(super) seq: u64,
    pub(super) index: u64,
    /// The time of the log, in milliseconds since 1970.
    pub(super) log_time: u64,
    pub(super) gravity: Gravity,
    /// The record as it is shown, for what stands beside the text.
    pub(super) shown: &'a Value,
}

/// How much one batch holds.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Bounds {
    /// A batch is in memory twice and on its way to one disk: large enough that its sync costs little.
    pub(super) const OF_FILES: Self = Self {
        records: 1_000,
        bytes: 1 << 20,
    };
}

/// The records from `from` on, as many as one batch takes. `None` if the node is sealed, or there are none.
pub(super) fn batch(
    member: &Member,
    author: &Author,
    from: u64,
    bounds: Bounds,
    format: Format,
    transport: &impl Transport,
) -> Result<Option<Batch>, SinkError> {
    if !member.node.is_unsealed() {
        return Ok(None);
    }
    let rows = match member.node.audit_rows(from, bounds.records, BATCH_ENTRIES) {
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
        lines: Zeroizing::new(Vec::with_capacity(bounds.bytes)),
        first: from,
        next: from,
        leaf: String::new(),
        cluster: member.cluster().to_string(),
    };
    for row in &rows {
        if row.seq != batch.next {
            return Err(SinkError::Records(format!("record {} is missing", batch.next)));
        }
        let unknown = || SinkError::Records(format!("record {} is of a newer version; update this node", row.seq));
        let (line, leaf) = line(row, &written_by).ok_or_else(unknown)?;
        let text = Zeroizing::new(format.render(&line).map_err(|_| unknown())?);
        let mut framed = Zeroizing::new(Vec::with_capacity(2 * text.len() + FRAME_BYTES));
        let rendered = Rendered {
            text: &text,
            is_json: format.is_json(),
            seq: row.seq,
            index: row.index,
            log_time: row.log_time,
            gravity: Gravity::of(&line),
            shown: &line,
        };
        transport.frame(&rendered, &mut framed);
        // Never more than was reserved, so that no copy is left behind; but at least one.
        if batch.next > from && batch.lines.len() + framed.len() > bounds.bytes {
            break;
        }
        batch.lines.extend_from_slice(&framed);
        batch.next += 1;
        batch.leaf = leaf;
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

/// What `aumbry audit log` prints of a record, with what its leaf is made of and who wrote the line; and the leaf. `None` if its outcome is
/// unknown.
fn line(row: &AuditRow, written_by: &Value) -> Option<(Value, String)> {
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
    Some((line, hash))
}

/// What stands around a text: a head, times and numbers. A text that is escaped once more seldom doubles.
const FRAME_BYTES: usize = 1 << 10;
/// Most entries of a busy cluster hold many records, of an idle one a single one.
const BATCH_ENTRIES: usize = 256;
