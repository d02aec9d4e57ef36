//! The audit log, read through a client.

use anyhow::{Result, ensure};
use aumbry_client::{Client, v1};
use serde_json::Value;

/// One audit record.
pub struct Recorded {
    /// Its sequence number.
    pub seq: u64,
    /// Whether apply did what was asked.
    pub applied: bool,
    /// What it says.
    pub event: Value,
}

impl Recorded {
    /// The text of a field of the event.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.event[field].as_str().unwrap_or_default()
    }

    /// Whether the request was allowed and took effect.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.applied && self.text("decision") == "allowed"
    }
}

/// All records, without a gap.
pub async fn records(client: &Client) -> Result<Vec<Recorded>> {
    records_from(client, 0).await
}

/// The records from this sequence number on, without a gap.
pub async fn records_from(client: &Client, first: usize) -> Result<Vec<Recorded>> {
    let mut records = Vec::new();
    loop {
        let next = (first + records.len()) as u64;
        let request = v1::AuditReadRequest {
            from: next,
            limit: PAGE,
            ..Default::default()
        };
        let rows = client.call(request).await?.rows;
        let is_last = rows.len() < PAGE as usize;
        for (row, seq) in rows.into_iter().zip(next..) {
            ensure!(row.seq == seq, "a gap in the audit log before {}", row.seq);
            records.push(Recorded {
                seq,
                applied: row.outcome == 0,
                event: serde_json::from_str(&row.event)?,
            });
        }
        if is_last {
            return Ok(records);
        }
    }
}

const PAGE: u32 = 1_000;
