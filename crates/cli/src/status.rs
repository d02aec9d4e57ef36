//! `aumbry status`: the seal and health of every endpoint, without a token.

use anyhow::Result;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{Format, document, line_json, table};

pub(crate) async fn run(context: &Context) -> Result<()> {
    let client = context.anonymous()?;
    let mut rows = Vec::new();
    let mut last_error = None;
    for endpoint in client.endpoints() {
        match (
            client.seal_status(Some(&endpoint)).await,
            client.health(Some(&endpoint)).await,
        ) {
            (Ok(seal), Ok(health)) => rows.push(json!({
                "address": endpoint,
                "initialized": seal.initialized,
                "sealed": seal.sealed,
                "progress": format!("{}/{}", seal.progress, seal.threshold),
                "shares": seal.shares,
                "leader_known": health.leader_known,
                "leader": health.is_leader,
                "version": seal.version,
                "cluster_id": seal.cluster_id,
                "applied_index": seal.applied_index,
            })),
            (Err(error), _) | (_, Err(error)) => {
                rows.push(json!({ "address": endpoint, "error": error.to_string() }));
                last_error = Some(error);
            }
        }
    }
    let is_down = rows.iter().all(|row: &Value| row.get("error").is_some());
    match (rows.as_slice(), context.format()) {
        ([row], Format::Json) => line_json(row)?,
        ([row], Format::Table) => document(Format::Table, row)?,
        (rows, Format::Json) => line_json(&json!({ "nodes": rows }))?,
        (rows, Format::Table) => {
            let columns = [
                "address",
                "initialized",
                "sealed",
                "progress",
                "leader",
                "version",
                "error",
            ];
            table(Format::Table, &columns, rows)?;
        }
    }
    match last_error {
        Some(error) if is_down => Err(error.into()),
        _ => Ok(()),
    }
}
