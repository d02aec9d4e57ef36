//! `aumbry policy`.

mod hints;

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
                "-" => {
                    if std::io::stdin().is_terminal() {
                        note("reading the policy from standard input; end it with Ctrl-D");
                    }
                    read_stdin()?
                        .expose_str()
                        .context("the policy is not UTF-8")?
                        .to_owned()
                }
                file => std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?,
            };
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
    }
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
