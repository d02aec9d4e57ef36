//! `aumbry audit prune` and `floor`: what is kept of the log, and from where on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aumbry_audit::Frontier;
use aumbry_client::v1::Verb;
use aumbry_types::hex;
use clap::Args;
use serde_json::{Value, json};

use super::proofs::write_new;
use crate::context::{ByPath, Caller};
use crate::failure::{Failed, note};
use crate::logical::call;
use crate::output::{Format, document};

pub(super) const PRUNE: &str = "Examples:
  aumbry audit export 2026.audit                          keep what goes, and verify it: aumbry-verify export
  aumbry audit prune --older-than 90d --dry-run           what would go
  aumbry audit prune --older-than 90d --without-archive
  aumbry audit prune --before 100000 --without-archive

It needs `update` and `sudo` on sys/audit-log/prune, and is itself recorded. Records go by 256, so somewhat fewer than was said may go. The tree stays
whole: what is left is verified as before.";

#[derive(Args)]
pub(crate) struct Prune {
    /// Drop the records before this one
    #[arg(
        long,
        value_name = "SEQ",
        required_unless_present = "older_than",
        conflicts_with = "older_than"
    )]
    before: Option<u64>,
    /// Drop the records that are older, such as 90d
    #[arg(long, value_name = "DURATION", value_parser = aumbry_types::parse_duration)]
    older_than: Option<Duration>,
    /// Say that what goes was exported: nothing in the cluster keeps it
    #[arg(long)]
    without_archive: bool,
    /// Tell what would go, and drop nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
pub(crate) struct FloorFile {
    /// Write the signed checkpoint of what was pruned into this file; it must not exist
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What is known of the records that were pruned.
pub(super) struct Floor {
    /// The tree of them.
    pub(super) tree: Frontier,
    /// Its signed checkpoint, as a line of an export.
    pub(super) checkpoint: String,
}

pub(super) async fn prune(client: &Caller, format: Format, arguments: &Prune) -> Result<()> {
    let mut body = json!({ "without_archive": arguments.without_archive, "dry_run": arguments.dry_run });
    if let Some(seq) = arguments.before {
        body["before"] = json!(seq);
    }
    if let Some(duration) = arguments.older_than {
        body["older_than"] = json!(format!("{}s", duration.as_secs()));
    }
    let asked = ByPath::new(Verb::Write, "sys/audit-log/prune").with(&body);
    let answer = call(client, asked).await?;
    document(format, &answer.data)
}

pub(super) async fn floor(client: &Caller, format: Format, arguments: &FloorFile) -> Result<()> {
    let data = read(client).await?;
    if let Some(file) = &arguments.out {
        let line = data
            .get("checkpoint")
            .context("nothing was pruned, so nothing was signed")?;
        write_new(file, format!("{line}\n").as_bytes())?;
    }
    document(format, &data)
}

/// The floor, once a server has said that there is one.
pub(super) async fn find(client: &Caller) -> Result<Floor> {
    let data = read(client).await?;
    let tree = data["frontier"].as_str().and_then(hex::decode_all);
    let tree = tree.and_then(|bytes| Frontier::decode(&bytes));
    let tree = tree.context("the server tells no tree of what was pruned")?;
    let checkpoint = format!("{}\n", data["checkpoint"]);
    Ok(Floor { tree, checkpoint })
}

/// Tells a person that what was asked for begins later.
pub(super) fn tell(floor: &Floor) {
    let seq = floor.tree.size();
    note(&format!("the log begins with record {seq}; those before were pruned"));
}

/// Whether a request failed because it asked for what was pruned.
pub(super) fn is_pruned(failed: &Failed) -> bool {
    failed.reason() == "AUDIT_PRUNED"
}

async fn read(client: &Caller) -> Result<Value> {
    Ok(call(client, ByPath::new(Verb::Read, "sys/audit-log/floor")).await?.data)
}
