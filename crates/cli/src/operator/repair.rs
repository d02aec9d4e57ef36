//! `aumbry operator repair`: brings a stopped node back whose disk is damaged, or gives it up. Nothing is deleted: what is damaged is set aside.

use std::path::PathBuf;

use anyhow::Result;
use aumbry_server::config::Config;
use aumbry_server::offline::{Remedy, discard, repair as set_aside};
use clap::Args;
use serde_json::json;

use super::check::{look, next_step, word};
use crate::failure::Refused;
use crate::output::{Format, document};

/// Repairs a stopped node.
#[derive(Args)]
pub(crate) struct Repair {
    /// The node's configuration
    #[arg(long)]
    config: PathBuf,
    /// Give the node up: everything is set aside, and it starts as a fresh one. Remove it from its cluster first
    #[arg(long)]
    discard: bool,
}

pub(crate) fn repair(arguments: &Repair, format: Format) -> Result<()> {
    let config = Config::load(&arguments.config)?;
    let inspection = look(&config)?;
    let next = next_step(&inspection, &config, &arguments.config);
    let (aside, next) = match (inspection.remedy, arguments.discard) {
        (Remedy::Fresh, _) | (Remedy::Nothing | Remedy::Start, false) => (None, next),
        (_, true) => {
            let next = match inspection.remedy {
                Remedy::Backup => "start the node and restore a backup: `aumbry operator snapshot restore`",
                _ => {
                    "start the node and let it join with a new token: `aumbry operator join-token`, `aumbry operator join`"
                }
            };
            (discard(&inspection)?, next.to_owned())
        }
        (Remedy::Discard | Remedy::Backup, false) => return Err(Refused::NotIntact(next).into()),
        (Remedy::Own, false) => {
            let next = "start the node: it makes again what was damaged".to_owned();
            (set_aside(&inspection)?, next)
        }
        (Remedy::Peers, false) => {
            let next = "start the node: it fetches its state from a peer before it takes part".to_owned();
            (set_aside(&inspection)?, next)
        }
    };
    document(
        format,
        &json!({
            "remedy": word(inspection.remedy),
            "set_aside": aside,
            "next": next,
        }),
    )
}
