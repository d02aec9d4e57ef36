//! `aumbry operator erase`, and the same after `aumbry kv destroy --shred`: what was replaced goes from the disks of all nodes.

use std::time::Duration;

use anyhow::Result;
use aumbry_client::v1::Verb;
use aumbry_types::parse_duration;
use clap::Args;
use serde_json::Value;
use tokio::time::Instant;

use crate::context::{ByPath, Caller, Context};
use crate::failure::{Refused, note};
use crate::logical::call;
use crate::output::{Format, document, document_or_field, pairs};

#[derive(Args)]
pub(crate) struct Erase {
    /// Begin nothing: tell how far it is
    #[arg(long, conflicts_with = "wait")]
    status: bool,
    /// Wait until every node is done
    #[arg(long)]
    wait: bool,
    /// How long to wait at most
    #[arg(long, value_parser = parse_duration, default_value = "1h", requires = "wait")]
    timeout: Duration,
    /// Print one value alone
    #[arg(long)]
    field: Option<String>,
}

pub(crate) async fn run(asked: Erase, context: &Context) -> Result<()> {
    let (client, format) = (context.client()?, context.format());
    if !asked.status {
        begin(&client).await?;
    }
    let told = match asked.wait {
        true => wait(&client, asked.timeout).await?,
        false => status(&client).await?,
    };
    match asked.field {
        Some(field) => document_or_field(format, Some(&field), &told),
        None => show(format, &told),
    }
}

/// Has all nodes erase what was replaced until now, and waits for it if asked. What is told then tells of the destroyed as well.
pub(crate) async fn shred(client: &Caller, timeout: Duration, format: Format) -> Result<()> {
    begin(client).await?;
    show(format, &wait(client, timeout).await?)
}

async fn begin(client: &Caller) -> Result<()> {
    call(client, ByPath::new(Verb::Write, "sys/erasure")).await.map(drop)
}

async fn status(client: &Caller) -> Result<Value> {
    let answer = call(client, ByPath::new(Verb::Read, "sys/erasure")).await?;
    if answer.data["order"].is_null() {
        return Err(Refused::NotFound("nothing was erased yet; begin with `aumbry operator erase`".to_owned()).into());
    }
    Ok(answer.data)
}

/// Looks until every node is done, and tells whom it waits for.
async fn wait(client: &Caller, timeout: Duration) -> Result<Value> {
    let (end, mut told) = (Instant::now() + timeout, String::new());
    loop {
        let now = status(client).await?;
        if now["erased"] == true {
            return Ok(now);
        }
        let left: Vec<String> = nodes(&now)
            .filter(|node| node["state"] != "done")
            .map(line_of)
            .collect();
        let left = left.join("; ");
        if Instant::now() >= end {
            return Err(Refused::Remains(format!(
                "not every node is done: {left}; it goes on: `aumbry operator erase --status` tells how far"
            ))
            .into());
        }
        if told != left {
            note(&left);
            told = left;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The three steps: what nobody can ask for any more, what no node's disk holds, and what opens no copy of a disk.
fn show(format: Format, told: &Value) -> Result<()> {
    if format == Format::Json {
        return document(format, told);
    }
    let is_erased = told["erased"] == true;
    let (keys, root) = (told["keys_gone"] == true, told["root_key_replaced"] == true);
    let third = match (keys, root) {
        (true, true) => "reached: today's keys and shares open nothing of it",
        (false, _) => "not reached: aumbry operator keys rotate --wait; aumbry operator keys retire",
        (true, false) => "not reached: aumbry operator rekey --rotate-root",
    };
    let steps = [
        ("1 no request reads it", "reached".to_owned()),
        (
            "2 no node's disk holds it",
            if is_erased { "reached" } else { "not reached" }.to_owned(),
        ),
        ("3 backups and copies", third.to_owned()),
    ];
    pairs(
        "",
        steps
            .into_iter()
            .chain(nodes(told).map(|node| ("  node", line_of(node)))),
    )
}

fn nodes(told: &Value) -> impl Iterator<Item = &Value> {
    told["nodes"].as_array().into_iter().flatten()
}

fn line_of(node: &Value) -> String {
    let (name, state) = (
        node["name"].as_str().unwrap_or("?"),
        node["state"].as_str().unwrap_or("unknown"),
    );
    match (node["waits_for"].as_str(), node["index"].as_u64()) {
        (Some(waits_for), _) => format!("{name} waits for {waits_for}"),
        (None, Some(index)) => format!("{name} {state}, nothing from before log index {index}"),
        (None, None) => format!("{name} {state}"),
    }
}

/// The nodes look at what is ordered five times a second.
const LOOK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_tells_what_it_waits_for() {
        for (node, line) in [
            (
                json!({"name": "n1", "state": "done", "index": 7}),
                "n1 done, nothing from before log index 7",
            ),
            (
                json!({"name": "n2", "state": "waiting", "waits_for": "room"}),
                "n2 waits for room",
            ),
            (json!({"name": "n3", "state": "unknown"}), "n3 unknown"),
        ] {
            assert_eq!(line_of(&node), line);
        }
    }
}
