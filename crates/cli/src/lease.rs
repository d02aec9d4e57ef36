//! `aumbry lease`: what lives for a time. Until there are engines with credentials, these are the tokens of logins.

use std::io::Write as _;

use anyhow::Result;
use aumbry_client::v1::Verb;
use aumbry_types::parse_duration;
use clap::Subcommand;
use serde_json::json;

use crate::context::{ByPath, Caller, Context};
use crate::failure::usage;
use crate::logical::{Field, call};
use crate::output::done;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Tell of a lease: when it was issued, and when it ends
    #[command(after_help = "Examples:
  aumbry lease lookup auth/userpass/login/ann/h3c0...
  aumbry lease lookup --field ttl auth/userpass/login/ann/h3c0...")]
    Lookup {
        #[command(flatten)]
        field: Field,
        /// Its id
        lease: String,
    },
    /// List the leases below a prefix, or the first part of all of them
    #[command(after_help = "Examples:
  aumbry lease list
  aumbry lease list auth/userpass/login")]
    List {
        /// The beginning of their ids
        prefix: Option<String>,
    },
    /// Let a lease end later
    #[command(after_help = "Example:
  aumbry lease renew --increment 1h database/creds/app/h3c0...")]
    Renew {
        #[command(flatten)]
        field: Field,
        /// For how long from now, such as 1h; it may get less
        #[arg(long, value_parser = parse_duration)]
        increment: Option<std::time::Duration>,
        /// Its id
        lease: String,
    },
    /// End a lease, or all below a prefix
    #[command(after_help = "Examples:
  aumbry lease revoke auth/userpass/login/ann/h3c0...
  aumbry lease revoke --prefix auth/userpass/login       ends all logins of this mount")]
    Revoke {
        /// All whose ids begin so, some at a time until none is left
        #[arg(long)]
        prefix: bool,
        /// Its id, or the beginning of their ids
        lease: String,
    },
    /// Tell how many leases there are
    #[command(after_help = "Example:
  aumbry lease count --field lease_count")]
    Count {
        #[command(flatten)]
        field: Field,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let (client, format) = (context.client()?, context.format());
    match command {
        Command::Lookup { field, lease } => {
            let asked = ByPath::new(Verb::Write, "sys/leases/lookup").with(&json!({ "lease_id": named(&lease)? }));
            let answer = call(&client, asked).await?;
            answer.show(format, field.field.as_deref())
        }
        Command::List { prefix } => {
            let path = match prefix.as_deref().map(named).transpose()? {
                None => "sys/leases/lookup".to_owned(),
                Some(prefix) => format!("sys/leases/lookup/{prefix}"),
            };
            let answer = call(&client, ByPath::new(Verb::List, path)).await?;
            answer.show_names(format)
        }
        Command::Renew {
            field,
            increment,
            lease,
        } => {
            let mut body = json!({ "lease_id": named(&lease)? });
            if let Some(increment) = increment {
                body["increment"] = json!(increment.as_secs());
            }
            let answer = call(&client, ByPath::new(Verb::Write, "sys/leases/renew").with(&body)).await?;
            answer.show(format, field.field.as_deref())
        }
        Command::Revoke { prefix: false, lease } => {
            let asked = ByPath::new(Verb::Write, "sys/leases/revoke").with(&json!({ "lease_id": named(&lease)? }));
            call(&client, asked).await?;
            done(format, "revoked")
        }
        Command::Revoke { prefix: true, lease } => {
            revoke_all(&client, named(&lease)?).await?;
            done(format, "revoked")
        }
        Command::Count { field } => {
            let answer = call(&client, ByPath::new(Verb::Read, "sys/leases/count")).await?;
            answer.show(format, field.field.as_deref())
        }
    }
}

/// Revokes until none is left. Each request ends a bounded number.
async fn revoke_all(client: &Caller, prefix: &str) -> Result<()> {
    let path = format!("sys/leases/revoke-prefix/{prefix}");
    for round in 1_u32.. {
        match client.by_path(ByPath::new(Verb::Write, path.as_str())).await {
            Ok(_) => break,
            Err(error) if error.reason() == "MORE_LEASES" => {
                let text =
                    format!("revoking what begins with {prefix}: {round} requests so far; what was ended stays ended");
                let _ = writeln!(std::io::stderr(), "{text}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn named(lease: &str) -> Result<&str> {
    match lease.trim_matches('/') {
        "" => Err(usage("give the id of a lease, or the beginning of one")),
        lease => Ok(lease),
    }
}
