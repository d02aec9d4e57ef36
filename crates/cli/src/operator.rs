//! `aumbry operator`: what runs a cluster.

mod check;
pub(crate) mod erase;
mod generate_root;
mod init;
mod keys;
mod recover;
mod rekey;
mod repair;
mod seal;
mod seals;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aumbry_client::v1;
use aumbry_types::{SecretBytes, parse_duration};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::context::{Context, read_stdin};
use crate::failure::{Failed, usage};
use crate::output::{Format, document, done, line, line_json, table, time};
use crate::snapshot;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a new cluster of the first endpoint; prints the key shares and the root token, once
    #[command(after_help = "Examples:
  aumbry operator init --shares 5 --threshold 3 --out-dir shares
  aumbry operator init --shares 3 --threshold 2 --recipient age1a... --recipient age1b... --recipient age1c... --out-dir shares

With --recipient, each share is encrypted before it leaves the node; its custodian shows it with
  age --decrypt --identity key.txt share-1.age | aumbry operator unseal -")]
    Init(init::Init),
    /// Show one key share to the first endpoint
    #[command(after_help = "Examples:
  aumbry operator unseal                    asks for a key share
  aumbry operator unseal --file share-1")]
    Unseal(seal::Unseal),
    /// Seal the first endpoint: it wipes its keys
    #[command(after_help = "Examples:
  aumbry operator seal                      the first endpoint
  aumbry operator seal --cluster            every node, also one that nobody reaches now, once it comes back
  aumbry operator seal --release            keys open nodes again; needs a node that key shares opened")]
    Seal(seal::Seal),
    /// Tell the seal of the first endpoint; needs no token
    #[command(after_help = "Example:
  aumbry operator seal-status")]
    SealStatus,
    /// Seals beside the shares: make a key, add, list, remove
    #[command(subcommand)]
    Seals(seals::Command),
    /// The keys that seal what is stored: status, rotate, progress, config, retire
    #[command(subcommand)]
    Keys(keys::Command),
    /// Erase from the disks of all nodes what was replaced, deleted or destroyed until now
    #[command(
        after_help = "Each node writes all that it holds once more, and drops its log and its snapshots of before. Backups and copies of disks are
not reached: what makes them useless is told as the third step.

Examples:
  aumbry operator erase --wait
  aumbry operator erase --status
  aumbry operator erase --status --field erased"
    )]
    Erase(erase::Erase),
    /// Make new key shares, which take the place of the old ones once they were tried
    #[command(after_help = "Examples:
  aumbry operator rekey --shares 5 --threshold 3 --share old/share-1 --share old/share-2 --share old/share-3 --out-dir new
  aumbry operator rekey --status
  aumbry operator rekey --verify --share share-1 --share share-2 --share share-3

Without --share, the shares are asked for, or read from standard input, one a line. With --out-dir, the new shares are tried from
their files; without it they are printed, and asked for.")]
    Rekey(rekey::Rekey),
    /// Make a root token with key shares, for when nobody holds one
    #[command(after_help = "Examples:
  aumbry operator generate-root --share share-1 --share share-2 --share share-3 --out root-token
  aumbry operator generate-root --begin --share share-1       # custodians are elsewhere: prints a nonce and a one-time pad
  aumbry operator generate-root --nonce NONCE --share share-2
  aumbry operator generate-root --decode TOKEN <one-time-pad

It takes no token: a key share says who may. Without --share, shares are asked for, or read from standard input, one a line.")]
    GenerateRoot(generate_root::GenerateRoot),
    /// Tell of the first endpoint: index, state digest, audit root, members
    #[command(after_help = "Example:
  aumbry operator status")]
    Status,
    /// Make a token with which one node can join
    #[command(after_help = "Example:
  aumbry operator join-token --ttl 10m >join-token.txt")]
    JoinToken {
        /// For how long it is valid
        #[arg(long, default_value = "10m", value_parser = parse_duration)]
        ttl: Duration,
    },
    /// Tell the first endpoint, a fresh node, to join a cluster
    Join {
        /// A file with the join token, or - for standard input
        token: String,
        /// The authority of the members' client listeners (PEM); as --ca-cert by default
        #[arg(long)]
        ca: Option<PathBuf>,
    },
    /// List the members
    #[command(after_help = "Example:
  aumbry operator members")]
    Members,
    /// Make a learner a voter; learners that have caught up become voters by themselves
    #[command(after_help = "Example:
  aumbry operator promote 4")]
    Promote {
        /// The node
        id: u64,
    },
    /// Remove a member; its id is never used again
    #[command(after_help = "Example:
  aumbry operator remove 4")]
    Remove {
        /// The node
        id: u64,
    },
    /// Hand leadership to a member
    #[command(after_help = "Example:
  aumbry operator transfer 2")]
    Transfer {
        /// The node; the one that is most up to date by default
        #[arg(default_value_t = 0)]
        id: u64,
    },
    /// Make the leader hand over to another node
    #[command(after_help = "Example:
  aumbry operator step-down")]
    StepDown,
    /// Lost quorum: make a new cluster of the last survivor, offline, confirmed by key shares
    Recover(recover::Recover),
    /// Backups: save, inspect, restore
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// Read all that a stopped node keeps, and say what is damaged; changes nothing
    #[command(
        after_help = "It runs beside no server: it takes the lock of the data directory. It needs no token and no other node.

Example:
  aumbry operator check --config /etc/aumbry/aumbry.toml"
    )]
    Check(check::Check),
    /// Bring back a stopped node whose disk is damaged: sets aside what is damaged and can be had again
    #[command(
        after_help = "What is set aside stays in the data directory, in `damaged-1`, `damaged-2` and so on, until you remove it.
The next start of the node makes it again, from the node's own log or from a peer. A node that lost some of its log or
its vote must not go on under its id: this command says so, and --discard makes a fresh node of it.

Example:
  aumbry operator repair --config /etc/aumbry/aumbry.toml"
    )]
    Repair(repair::Repair),
}

/// Runs what needs no cluster; gives back all else.
pub(crate) fn run_offline(command: Command, format: Format) -> Result<Option<Command>> {
    match command {
        Command::Check(arguments) => check::check(&arguments, format).map(|()| None),
        Command::Repair(arguments) => repair::repair(&arguments, format).map(|()| None),
        command => Ok(Some(command)),
    }
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let format = context.format();
    match command {
        Command::Init(asked) => init::init(context, &asked).await,
        Command::Unseal(arguments) => seal::unseal(context, &arguments).await,
        Command::SealStatus => seal::status(context).await,
        Command::Seals(command) => seals::run(command, context).await,
        Command::Keys(command) => keys::run(command, context).await,
        Command::Erase(asked) => erase::run(asked, context).await,
        Command::Rekey(asked) => rekey::run(asked, context).await,
        Command::GenerateRoot(asked) => generate_root::run(asked, context).await,
        Command::Seal(arguments) => seal::seal(context, &arguments).await,
        Command::Status => {
            let client = context.client()?;
            let status = client.call_on(context.first()?, v1::StatusRequest::default()).await?;
            let mut shown = node_status(&status);
            if format == Format::Json {
                return line_json(&shown);
            }
            let members = shown.as_object_mut().and_then(|shown| shown.remove("members"));
            document(format, &shown)?;
            line("")?;
            table(
                format,
                MEMBER_COLUMNS,
                members.as_ref().and_then(Value::as_array).map_or(&[], Vec::as_slice),
            )
        }
        Command::JoinToken { ttl } => {
            let ttl_s = ttl.as_secs();
            let reply = context
                .client()?
                .call(v1::JoinTokenCreateRequest {
                    ttl_s,
                    ..Default::default()
                })
                .await?;
            let token = String::from_utf8(reply.join_token.to_vec()).context("the join token is not text")?;
            match format {
                Format::Json => line_json(&json!({ "join_token": token })),
                Format::Table => line(&token),
            }
        }
        Command::Join { token, ca } => {
            let token = match token.as_str() {
                "-" => read_stdin()?,
                file => SecretBytes::new(std::fs::read(file).with_context(|| format!("cannot read {file}"))?),
            };
            let ca = ca
                .or_else(|| context.ca_cert())
                .ok_or_else(|| usage("name the members' authority: --ca FILE"))?;
            let ca = std::fs::read(&ca).with_context(|| format!("cannot read {}", ca.display()))?;
            let request = v1::JoinClusterRequest {
                join_token: token.expose().to_vec().into(),
                ca: ca.into(),
            };
            let joining = context.anonymous()?;
            let joined = joining.sdk().join_cluster(None, request).await;
            let reply = joined.map_err(Failed::write)?;
            let first = context.first()?;
            document(
                format,
                &json!({ "address": first, "node_id": reply.node_id, "cluster_id": reply.cluster_id }),
            )?;
            match format {
                Format::Json => Ok(()),
                Format::Table => line(&format!(
                    "Next: unseal it with the cluster's shares: `aumbry operator unseal --address {first}`."
                )),
            }
        }
        Command::Members => {
            let members = context.client()?.call(v1::MembersRequest::default()).await?.members;
            let rows: Vec<Value> = members.iter().map(member).collect();
            match format {
                Format::Json => line_json(&json!({ "members": rows })),
                Format::Table => table(format, MEMBER_COLUMNS, &rows),
            }
        }
        Command::Promote { id } => {
            context
                .client()?
                .call(v1::PromoteRequest {
                    node_id: id,
                    ..Default::default()
                })
                .await?;
            done(format, "promoted")
        }
        Command::Remove { id } => {
            context
                .client()?
                .call(v1::RemoveRequest {
                    node_id: id,
                    ..Default::default()
                })
                .await?;
            done(format, "removed")
        }
        Command::Transfer { id } => {
            context
                .client()?
                .call(v1::TransferRequest {
                    node_id: id,
                    ..Default::default()
                })
                .await?;
            done(format, "transferred")
        }
        Command::Recover(arguments) => recover::recover(&arguments, format),
        Command::Snapshot(command) => snapshot::run(command, context).await,
        // Run without a cluster.
        Command::Check(_) | Command::Repair(_) => Ok(()),
        Command::StepDown => {
            context.client()?.call(v1::StepDownRequest::default()).await?;
            done(format, "stepped down")
        }
    }
}

fn node_status(status: &v1::StatusReply) -> Value {
    json!({
        "node_id": status.node_id,
        "name": status.name,
        "version": status.version,
        "sealed": status.sealed,
        "seals": status.seals,
        "leader_id": status.leader_id,
        "is_leader": status.is_leader,
        "term": status.term,
        "applied_index": status.applied,
        "committed_index": status.committed,
        "last_log_index": status.last_log,
        "purged_index": status.purged,
        "state_digest": status.state_digest,
        "audit_root": status.audit_root,
        "audit_size": status.audit_size,
        "log_time": time(status.log_time_ms),
        "cluster_id": status.cluster_id,
        "storage_id": status.storage_id,
        "quarantined": status.quarantined,
        "restored_from": status.restored_from,
        "members": status.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn member(member: &v1::Member) -> Value {
    json!({
        "id": member.id,
        "name": member.name,
        "leader": member.leader,
        "voter": member.voter,
        "peer_addr": member.peer_addr,
        "client_addr": member.client_addr,
        "matched": member.matched,
        "region": member.region,
        "zone": member.zone,
    })
}

const MEMBER_COLUMNS: &[&str] = &[
    "id",
    "name",
    "leader",
    "voter",
    "peer_addr",
    "client_addr",
    "matched",
    "region",
];
