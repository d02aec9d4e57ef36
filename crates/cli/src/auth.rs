//! `aumbry auth`: the auth methods.

use anyhow::Result;
use aumbry_client::v1::Verb;
use clap::Subcommand;
use serde_json::json;

use crate::context::{ByPath, Context};
use crate::logical::call;
use crate::mounts::{self, Settings, Table, trimmed};
use crate::output::done;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Enable a method
    #[command(after_help = "Examples:
  aumbry auth enable approle
  aumbry auth enable --path people --description 'Those who log in by hand' --max-lease-ttl 8h userpass")]
    Enable {
        /// Where; as the method's name by default
        #[arg(long)]
        path: Option<String>,
        /// For people
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        settings: Settings,
        /// The method, such as approle or userpass
        kind: String,
    },
    /// List the methods
    #[command(after_help = "Example:
  aumbry auth list")]
    List,
    /// Change settings of a method, or tell them
    #[command(after_help = "Examples:
  aumbry auth tune --max-lease-ttl 8h approle
  aumbry auth tune approle                    tells them")]
    Tune(mounts::Tune),
    /// Disable a method; the tokens that it gave are revoked
    #[command(after_help = "Example:
  aumbry auth disable people")]
    Disable {
        /// Where it is mounted
        path: String,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Enable {
            path,
            description,
            settings,
            kind,
        } => {
            let path = path.unwrap_or_else(|| kind.clone());
            let body = json!({ "type": kind, "description": description });
            mounts::enable(Table::Auth, &path, body, &settings, context).await
        }
        Command::List => mounts::list(Table::Auth, context).await,
        Command::Tune(tune) => mounts::tune(Table::Auth, tune, context).await,
        Command::Disable { path } => {
            let path = format!("{}/{}", Table::Auth.path(), trimmed(&path)?);
            call(&context.client()?, ByPath::new(Verb::Delete, path)).await?;
            done(context.format(), "disabled")
        }
    }
}
