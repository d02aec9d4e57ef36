//! `aumbry operator keys`: the keys that seal what is stored.

use std::time::Duration;

use anyhow::Result;
use aumbry_client::v1::Verb;
use aumbry_types::parse_duration;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::context::{ByPath, Caller, Context};
use crate::failure::{note, usage};
use crate::logical::{Field, call};
use crate::output::done;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Tell of the key that seals what is written: its term, since when, and how often it was used
    #[command(
        after_help = "The uses are counted in blocks of a million, too high and never too low.

Example:
  aumbry operator keys status"
    )]
    Status {
        #[command(flatten)]
        field: Field,
    },
    /// Make a new key; what older ones seal is sealed anew in the background
    #[command(after_help = "Examples:
  aumbry operator keys rotate
  aumbry operator keys rotate --wait        until everything is sealed by the new key")]
    Rotate {
        /// Wait until everything is sealed by the new key
        #[arg(long)]
        wait: bool,
    },
    /// Tell how far everything is sealed by the new key
    #[command(after_help = "Example:
  aumbry operator keys progress --field state")]
    Progress {
        #[command(flatten)]
        field: Field,
    },
    /// Tell or say when a new key is made by itself
    #[command(after_help = "Examples:
  aumbry operator keys config
  aumbry operator keys config --interval 2160h --enabled true")]
    Config {
        /// Whether new keys are made, and unused ones taken out, by themselves
        #[arg(long)]
        enabled: Option<bool>,
        /// After so many uses
        #[arg(long)]
        max_operations: Option<u64>,
        /// After so long, such as 2160h; 0s is never
        #[arg(long, value_parser = parse_duration)]
        interval: Option<Duration>,
    },
    /// Take out older keys that nothing uses any more: whatever only they open is lost for ever
    #[command(
        after_help = "It happens by itself 32 days after a rotation, when the last batch token of an older key has ended.

Examples:
  aumbry operator keys retire
  aumbry operator keys retire --force       ends the batch tokens of older keys"
    )]
    Retire {
        /// Batch tokens that older keys sealed end now
        #[arg(long)]
        force: bool,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let (client, format) = (context.client()?, context.format());
    match command {
        Command::Status { field } => {
            let answer = call(&client, ByPath::new(Verb::Read, "sys/key-status")).await?;
            answer.show(format, field.field.as_deref())
        }
        Command::Rotate { wait } => {
            call(&client, ByPath::new(Verb::Write, "sys/rotate")).await?;
            if wait {
                wait_for_rewrap(&client).await?;
            }
            done(format, "rotated")
        }
        Command::Progress { field } => {
            let answer = call(&client, progress()).await?;
            answer.show(format, field.field.as_deref())
        }
        Command::Config {
            enabled,
            max_operations,
            interval,
        } => {
            let named = [
                ("enabled", enabled.map(Value::from)),
                ("max_operations", max_operations.map(Value::from)),
                ("interval", interval.map(|interval| interval.as_secs().into())),
            ];
            let mut body = json!({});
            for (name, value) in named {
                if let Some(value) = value {
                    body[name] = value;
                }
            }
            if body.as_object().is_some_and(|body| !body.is_empty()) {
                call(&client, ByPath::new(Verb::Write, "sys/rotate/config").with(&body)).await?;
                return done(format, "configured");
            }
            let answer = call(&client, ByPath::new(Verb::Read, "sys/rotate/config")).await?;
            answer.show(format, None)
        }
        Command::Retire { force } => {
            let asked = ByPath::new(Verb::Write, "sys/rotate/retire").with(&json!({ "force": force }));
            let answer = call(&client, asked).await?;
            answer.show(format, None)
        }
    }
}

fn progress() -> ByPath {
    ByPath::new(Verb::Read, "sys/rotate/progress")
}

/// Looks until nothing is left to do, and tells how far it is.
async fn wait_for_rewrap(client: &Caller) -> Result<()> {
    let mut told = None;
    loop {
        let answer = call(client, progress()).await?;
        let (state, rows) = (answer.data["state"].as_str(), answer.data["rows"].as_u64());
        match state {
            Some("running") => {
                if told != rows {
                    note(&format!("{} rows are sealed by the new key", rows.unwrap_or_default()));
                    told = rows;
                }
                tokio::time::sleep(LOOK).await;
            }
            Some(_) => return Ok(()),
            None => {
                return Err(usage(
                    "the server does not tell how far it is; it may be older than this program",
                ));
            }
        }
    }
}

/// The leader does several pieces in it.
const LOOK: Duration = Duration::from_millis(500);
