//! `aumbry policy`.

use anyhow::{Context as _, Result};
use aumbry_client::v1;
use clap::Subcommand;
use serde_json::json;

use crate::context::{Context, read_stdin};
use crate::kv::done;
use crate::output::{Format, line, line_json, raw};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write a policy
    #[command(after_help = "Example:
  aumbry policy write app - <<'HCL'
  path \"secret/data/app/*\" { capabilities = [\"read\"] }
  HCL")]
    Write {
        /// Its name
        name: String,
        /// A file with HCL or JSON, or - for standard input
        file: String,
    },
    /// Print a policy
    Read {
        /// Its name
        name: String,
    },
    /// List the policies
    List,
    /// Delete a policy
    Delete {
        /// Its name
        name: String,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Write { name, file } => {
            let policy = match file.as_str() {
                "-" => read_stdin()?
                    .expose_str()
                    .context("the policy is not UTF-8")?
                    .to_owned(),
                file => std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?,
            };
            client
                .call(v1::PolicyPutRequest {
                    name,
                    policy,
                    ..Default::default()
                })
                .await?;
            done(context.format(), "written")
        }
        Command::Read { name } => {
            let policy = client
                .call(v1::PolicyGetRequest {
                    name,
                    ..Default::default()
                })
                .await?
                .policy;
            match context.format() {
                Format::Json => line_json(&json!({ "policy": policy })),
                Format::Table => raw(policy.as_bytes()),
            }
        }
        Command::List => {
            let names = client.call(v1::PolicyListRequest::default()).await?.names;
            match context.format() {
                Format::Json => line_json(&json!(names)),
                Format::Table => names.iter().try_for_each(|name| line(name)),
            }
        }
        Command::Delete { name } => {
            client
                .call(v1::PolicyDeleteRequest {
                    name,
                    ..Default::default()
                })
                .await?;
            done(context.format(), "deleted")
        }
    }
}
