//! `aumbry secrets`: mounts.

use anyhow::Result;
use aumbry_client::v1;
use clap::Subcommand;
use serde_json::json;

use crate::context::Context;
use crate::mounts::{self, Settings, Table};
use crate::output::{done, table};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Mount an engine
    #[command(after_help = "Examples:
  aumbry secrets enable --path team kv
  aumbry secrets enable --path old --version 1 kv")]
    Enable {
        /// Where; as the engine's name by default
        #[arg(long)]
        path: Option<String>,
        /// For people
        #[arg(long, default_value = "")]
        description: String,
        /// The version of a kv engine: 1 or 2, which is the default
        #[arg(long)]
        version: Option<u8>,
        #[command(flatten)]
        settings: Settings,
        /// The engine: kv
        kind: String,
    },
    /// List the mounts
    #[command(after_help = "Example:
  aumbry secrets list")]
    List,
    /// Change settings of a mount, or tell them
    #[command(after_help = "Examples:
  aumbry secrets tune --description 'of the team' team
  aumbry secrets tune --version 2 old         a kv engine of version 1 becomes one of version 2
  aumbry secrets tune team                    tells them")]
    Tune(mounts::Tune),
    /// Remove an empty mount
    #[command(after_help = "Example:
  aumbry secrets disable team")]
    Disable {
        /// Where
        path: String,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Enable {
            path,
            description,
            version,
            settings,
            kind,
        } => {
            let path = path.unwrap_or_else(|| kind.clone());
            if version.is_some() || !settings.object().is_empty() {
                let options = json!({ "version": version.unwrap_or(VERSION_USUAL).to_string() });
                let body = json!({ "type": kind, "description": description, "options": options });
                return mounts::enable(Table::Secrets, &path, body, &settings, context).await;
            }
            let request = v1::MountEnableRequest {
                path,
                r#type: kind,
                description,
                ..Default::default()
            };
            client.call(request).await?;
            done(context.format(), "enabled")
        }
        Command::List => {
            let mounts = client.call(v1::MountListRequest::default()).await?.mounts;
            let row = |mount: &v1::Mount| {
                json!({
                    "path": format!("{}/", mount.path),
                    "type": mount.r#type,
                    "accessor": mount.accessor,
                    "description": mount.description,
                })
            };
            let rows: Vec<_> = mounts.iter().map(row).collect();
            table(context.format(), &["path", "type", "accessor", "description"], &rows)
        }
        Command::Tune(tune) => mounts::tune(Table::Secrets, tune, context).await,
        Command::Disable { path } => {
            client
                .call(v1::MountDisableRequest {
                    path,
                    ..Default::default()
                })
                .await?;
            done(context.format(), "disabled")
        }
    }
}

/// Of a kv engine of which nothing is said.
const VERSION_USUAL: u8 = 2;
