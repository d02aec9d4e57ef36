//! `aumbry status`: the seal and health of every endpoint, without a token.

use anyhow::Result;
use aumbry_client::v1;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Failed, Refused};
use crate::output::{Format, line_json, table};

pub(crate) async fn run(context: &Context) -> Result<()> {
    let client = context.anonymous()?;
    let mut rows = Vec::new();
    let mut last_error = None;
    for endpoint in &context.global.address {
        let health = client.sdk().health(Some(endpoint)).await.map_err(Failed::read);
        match (client.seal_status(endpoint).await, health) {
            (Ok(seal), Ok(health)) => rows.push(row(endpoint, &seal, &health)),
            (Err(error), _) | (_, Err(error)) => {
                rows.push(json!({ "address": endpoint, "error": error.to_string() }));
                last_error = Some(error);
            }
        }
    }
    match context.format() {
        Format::Json => line_json(&json!({ "nodes": rows }))?,
        Format::Table => table(Format::Table, &columns(&rows), &rows)?,
    }
    verdict(&rows, last_error)
}

fn row(address: &str, seal: &v1::SealStatusReply, health: &v1::HealthReply) -> Value {
    let mut row = json!({
        "address": address,
        "initialized": seal.initialized,
        "sealed": seal.sealed,
        "shares": seal.shares,
        "seals": seal.seals,
        "leader_known": health.leader_known,
        "leader": health.is_leader,
        "version": seal.version,
        "cluster_id": seal.cluster_id,
        "applied_index": seal.applied_index,
    });
    if seal.node_id != 0 {
        row["id"] = json!(seal.node_id);
        row["name"] = json!(seal.name);
    }
    if seal.initialized && seal.sealed {
        row["progress"] = json!(format!("{}/{}", seal.progress, seal.threshold));
    }
    row
}

/// The columns that say something.
fn columns(rows: &[Value]) -> Vec<&'static str> {
    let always = ["address", "initialized", "sealed", "leader", "applied_index", "version"];
    let order = [
        "address",
        "id",
        "name",
        "initialized",
        "sealed",
        "progress",
        "leader",
        "applied_index",
        "version",
        "error",
    ];
    let says = |column: &&str| always.contains(column) || rows.iter().any(|row| !row[*column].is_null());
    order.into_iter().filter(says).collect()
}

fn serves(row: &Value) -> bool {
    row["sealed"] == false && row["leader_known"] == true
}

/// Fails if no node serves.
fn verdict(rows: &[Value], last_error: Option<Failed>) -> Result<()> {
    if rows.iter().any(serves) {
        return Ok(());
    }
    let mut answered = rows.iter().filter(|row| row["error"].is_null()).peekable();
    match last_error {
        Some(error) if answered.peek().is_none() => Err(error.into()),
        _ if answered.all(|row| row["sealed"] == true && row["initialized"] == true) => {
            Err(Refused::Sealed("no node serves: all that answer are sealed".to_owned()).into())
        }
        _ => Err(anyhow::anyhow!(
            "no node serves: none that answers is open and knows a leader"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fails_if_no_node_serves() {
        let node = |initialized: bool, sealed: bool, leader_known: bool| json!({ "initialized": initialized, "sealed": sealed, "leader_known": leader_known });
        let gone = || json!({ "error": "gone" });
        let code = |rows: &[Value]| verdict(rows, None).err().map(|error| crate::failure::exit_code(&error));
        assert_eq!(code(&[gone(), node(true, false, true)]), None);
        assert_eq!(code(&[gone(), node(true, true, true)]), Some(3));
        assert_eq!(code(&[node(true, false, false)]), Some(1));
        assert_eq!(code(&[node(false, true, false)]), Some(1));
    }

    #[test]
    fn columns_without_content_are_left_out() {
        let open = json!({ "address": "a:1" });
        assert!(!columns(std::slice::from_ref(&open)).contains(&"progress"));
        let sealed = json!({ "progress": "0/3" });
        assert!(columns(&[open, sealed]).contains(&"progress"));
    }
}
