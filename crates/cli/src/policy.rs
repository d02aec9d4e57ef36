//! `aumbry policy`.

mod explain;
mod hints;
mod lint;
mod test;

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result};
use aumbry_client::v1;
use clap::Subcommand;
use serde_json::json;

use crate::context::{Caller, Context, read_stdin};
use crate::failure::{note, warn};
use crate::output::{Format, done, line, line_json, raw};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write a policy
    #[command(after_help = PATHS)]
    Write {
        /// Its name
        name: String,
        /// A file with HCL or JSON, or - for standard input
        file: String,
    },
    /// Print a policy
    #[command(after_help = "Example:
  aumbry policy read app")]
    Read {
        /// Its name
        name: String,
    },
    /// List the policies
    #[command(after_help = "Example:
  aumbry policy list")]
    List,
    /// Delete a policy
    #[command(after_help = "Example:
  aumbry policy delete app")]
    Delete {
        /// Its name
        name: String,
    },
    /// Say which rule decides on an access, and what would allow it
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Explain),
    /// Look for what policies probably do not mean; needs no cluster
    #[command(after_help = lint::EXAMPLES)]
    Lint(lint::Lint),
    /// Check what policies allow and refuse against files of expectations; needs no cluster
    #[command(after_help = test::EXAMPLES)]
    Test(test::Test),
}

/// Runs what needs no cluster, and gives back what does.
pub(crate) fn run_offline(command: Command, format: Format) -> Result<Option<Command>> {
    match command {
        Command::Lint(arguments) => lint::run(&arguments, format).map(|()| None),
        Command::Test(arguments) => test::run(&arguments, format).map(|()| None),
        command => Ok(Some(command)),
    }
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Write { name, file } => {
            let policy = read(&file)?;
            let paths = hints::paths(&policy);
            client
                .call(v1::PolicyPutRequest {
                    name,
                    policy,
                    ..Default::default()
                })
                .await?;
            hint(&client, context.format(), &paths).await;
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
                Format::Table => raw(format!("{}\n", policy.trim_end_matches('\n')).as_bytes()),
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
        Command::Explain(arguments) => explain::run(&arguments, context).await,
        // They are run offline.
        Command::Lint(_) | Command::Test(_) => Ok(()),
    }
}

/// The text of a file, or of standard input for `-`.
fn read(file: &str) -> Result<String> {
    if file != "-" {
        return std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"));
    }
    if std::io::stdin().is_terminal() {
        note("reading from standard input; end it with Ctrl-D");
    }
    let text = read_stdin()?;
    Ok(text.expose_str().context("standard input is not UTF-8")?.to_owned())
}

/// Warns of rules that allow nothing because they leave out `data/` or `metadata/`.
async fn hint(client: &Caller, format: Format, paths: &[String]) {
    let below_mounts = paths
        .iter()
        .any(|path| !path.starts_with("sys/") && !path.starts_with("auth/"));
    if !below_mounts {
        return;
    }
    // Who may not list the mounts gets the hint for the one that every store begins with.
    let mounts = match client.call(v1::MountListRequest::default()).await {
        Ok(reply) => reply
            .mounts
            .into_iter()
            .filter(|mount| mount.r#type == "kv")
            .map(|mount| mount.path)
            .collect(),
        Err(_) => vec!["secret".to_owned()],
    };
    for text in paths.iter().filter_map(|path| hints::missing_route(path, &mounts)) {
        warn(format, &text);
    }
}

/// What `crates/node/src/authorize.rs` and the KV engine's `access` ask for.
const PATHS: &str = "Paths that commands need, with MOUNT such as secret; `sudo` is needed beside the capability where it stands:
  kv get                           read              MOUNT/data/PATH
  kv put                           create or update  MOUNT/data/PATH
  kv patch                         patch             MOUNT/data/PATH
  kv delete                        delete            MOUNT/data/PATH
  kv delete --versions             update            MOUNT/delete/PATH
  kv undelete                      update            MOUNT/undelete/PATH
  kv destroy                       update            MOUNT/destroy/PATH
  kv list                          list              MOUNT/metadata/PATH; of the mount itself MOUNT/metadata/
  kv metadata get                  read              MOUNT/metadata/PATH
  kv metadata put                  create or update  MOUNT/metadata/PATH
  kv metadata delete               delete            MOUNT/metadata/PATH
  secrets list                     read              sys/mounts
  secrets enable                   update            sys/mounts/MOUNT
  secrets disable                  delete            sys/mounts/MOUNT
  policy list                      list              sys/policies/acl
  policy read, write, delete       read, update, delete  sys/policies/acl/NAME
  policy explain                   update, sudo      sys/policies/explain
  token create                     update            auth/token/create
  token create --orphan            update, sudo      auth/token/create-orphan
  token lookup; login              read              auth/token/lookup-self
  token renew; revoke --own        update            auth/token/renew-self; auth/token/revoke-self
  token lookup, renew, revoke -    update            auth/token/lookup; renew; revoke
  the same with --accessor         update            auth/token/lookup-accessor; renew-accessor; revoke-accessor
  audit log                        read, sudo        sys/audit-log
  audit export                     the same, and     read on sys/audit-log/checkpoint
  operator status                  read              sys/status
  operator members                 read              sys/storage/raft/configuration
  operator seal                    update, sudo      sys/seal
  operator step-down               update, sudo      sys/step-down
  operator join-token              update, sudo      sys/storage/raft/join-token
  operator promote                 update, sudo      sys/storage/raft/promote
  operator remove                  update, sudo      sys/storage/raft/remove-peer
  operator transfer                update, sudo      sys/storage/raft/transfer
  operator snapshot save           read, sudo        sys/storage/raft/snapshot
  operator snapshot release        update, sudo      sys/storage/raft/snapshot-release
  status; operator init, unseal, seal-status, join, snapshot restore; audit verify; snapshot inspect: no token

`*` at the end of a path matches all that begin so, `+` one whole part. `secret \"MOUNT/PATH\"` rules need no data/ or metadata/.

Example:
  aumbry policy write app - <<'HCL'
  path \"secret/data/app/*\" { capabilities = [\"create\", \"read\", \"update\"] }
  path \"secret/metadata/app/*\" { capabilities = [\"list\"] }
  HCL";
