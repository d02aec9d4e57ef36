//! `aumbry secrets`: mounts.

use anyhow::Result;
use aumbry_client::v1;
use clap::Subcommand;
use serde_json::json;

use crate::context::Context;
use crate::output::{done, table};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Mount an engine
    Enable {
        /// Where; as the engine's name by default
        #[arg(long)]
        path: Option<String>,
        /// For people
        #[arg(long, default_value = "")]
        description: String,
        /// The engine: kv
        kind: String,
    },
    /// List the mounts
    List,
    /// Remove an empty mount
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
            kind,
        } => {
            let path = path.unwrap_or_else(|| kind.clone());
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
