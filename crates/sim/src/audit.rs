//! The audit log, read to its end by a client's call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aumbry_audit::{Decision, Leaf, Outcome, Record};
use aumbry_checker::invariants::{Effect, Recorded};
use aumbry_node::{AuditRow, Reply};
use aumbry_sim_world::trace;
use aumbry_types::hex;

use crate::ask::Ask;
use crate::cluster::Cluster;
use crate::operator::insist;

/// What was read of the audit log.
#[derive(Default)]
pub(crate) struct Rows {
    rows: Mutex<Vec<AuditRow>>,
    done: AtomicBool,
}

/// Begins to read all of it.
pub(crate) fn read_all(cluster: &Cluster) -> Arc<Rows> {
    let rows = Arc::new(Rows::default());
    let read = Arc::clone(&rows);
    cluster.spawn(async move {
        loop {
            let from = read.rows.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
            let Some(Ok(answer)) = insist(Ask::AuditRead { from }, LIMIT).await else {
                return;
            };
            let Reply::Audit(more) = answer.reply else { return };
            // Each look at it is a record of its own.
            let is_end = more.len() < PAGE;
            read.rows.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
            if is_end {
                read.done.store(true, Ordering::Relaxed);
                return;
            }
        }
    });
    rows
}

/// Whether it was read to its end.
pub(crate) fn is_done(rows: &Rows) -> bool {
    rows.done.load(Ordering::Relaxed)
}

/// The records in the words of the checker.
pub(crate) fn records(rows: &Rows) -> Vec<Recorded> {
    let rows = rows.rows.lock().unwrap_or_else(PoisonError::into_inner);
    rows.iter().map(recorded).collect()
}

/// Tells all records.
pub(crate) fn tell(rows: &Rows) {
    let rows = rows.rows.lock().unwrap_or_else(PoisonError::into_inner);
    for row in rows.iter() {
        let text = Record::decode(&row.record).map_or_else(String::new, |record| {
            let request = hex::encode(record.request_id.as_bytes());
            format!("{} {:?} {} {request}", record.operation, record.decision, record.reason)
        });
        trace::tell(&format!("record {} at {}.{}: {:?} {text}", row.seq, row.index, row.k, row.outcome()));
    }
}

fn recorded(row: &AuditRow) -> Recorded {
    let record = Record::decode(&row.record);
    let effect = match (row.outcome(), &record) {
        (Some(Outcome::Ok), Some(record)) => match record.decision {
            Decision::Allowed if record.reason == "REPLAYED" || is_read(&record.operation) => Effect::Read,
            Decision::Allowed => Effect::Changed,
            _ => Effect::Refused,
        },
        (Some(Outcome::Conflict), _) => Effect::Conflict,
        (Some(Outcome::Expired | Outcome::Exhausted), _) => Effect::Refused,
        _ => Effect::Read,
    };
    let leaf = Leaf {
        seq: row.seq,
        index: row.index,
        k: row.k,
        log_time: row.log_time,
        outcome: row.outcome().unwrap_or(Outcome::Clear),
        commitment: row.commitment,
    };
    Recorded {
        node: 0,
        seq: row.seq,
        leaf: hex::encode(&leaf.hash()),
        request: record.map(|record| hex::encode(record.request_id.as_bytes())),
        effect,
    }
}

/// Whether the state stays as it is. A transfer or removal that met the end of the
/// leadership is recorded again when it is tried again, and does nothing twice.
fn is_read(operation: &str) -> bool {
    matches!(
        operation,
        "kv.get" | "kv.list" | "kv.metadata.read" | "token.lookup" | "audit.read" | "cluster.members" | "cluster.transfer" | "cluster.remove"
    )
}

const PAGE: usize = 1_000;
const LIMIT: Duration = Duration::from_secs(20);
