//! `aumbry operator`: what runs a cluster.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aumbry_client::v1;
use aumbry_types::{SecretBytes, parse_duration};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::context::{Context, ask, read_stdin};
use crate::kv::done;
use crate::output::{Format, document, line, line_json, table, time};
use crate::snapshot;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a new cluster of the first endpoint; prints the key shares and the root token, once
    #[command(after_help = "Example:
  aumbry operator init --shares 5 --threshold 3 --out-dir shares")]
    Init {
        /// How many key shares
        #[arg(long, default_value_t = 5)]
        shares: u8,
        /// How many of them open the seal
        #[arg(long, default_value_t = 3)]
        threshold: u8,
        /// Write each share and the root token into a file of its own here instead of printing them
        #[arg(long)]
        out_dir: Option<PathBuf>,
    },
    /// Show one key share to the first endpoint
    Unseal {
        /// `-` reads the share from standard input; by default it is asked for
        share: Option<String>,
        /// Read the share from this file
        #[arg(long)]
        file: Option<PathBuf>,
        /// Forget the shares shown so far
        #[arg(long)]
        reset: bool,
    },
    /// Seal the first endpoint: it wipes its keys
    Seal,
    /// Tell the seal of the first endpoint; needs no token
    SealStatus,
    /// Tell of the first endpoint: index, state digest, audit root, members
    Status,
    /// Make a token with which one node can join
    JoinToken {
        /// For how long it is valid
        #[arg(long, default_value = "10m")]
        ttl: String,
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
    Members,
    /// Make a learner a voter; learners that have caught up become voters by themselves
    Promote {
        /// The node
        id: u64,
    },
    /// Remove a member; its id is never used again
    Remove {
        /// The node
        id: u64,
    },
    /// Hand leadership to a member
    Transfer {
        /// The node; the one that is most up to date by default
        #[arg(default_value_t = 0)]
        id: u64,
    },
    /// Make the leader hand over to another node
    StepDown,
    /// Backups: save, inspect, restore
    #[command(subcommand)]
    Snapshot(snapshot::Command),
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let format = context.format();
    match command {
        Command::Init {
            shares,
            threshold,
            out_dir,
        } => init(context, shares, threshold, out_dir.as_deref()).await,
        Command::Unseal { share, file, reset } => unseal(context, share.as_deref(), file.as_deref(), reset).await,
        Command::SealStatus => {
            let status = context.anonymous()?.seal_status(None).await?;
            document(format, &seal_status(&status))
        }
        Command::Seal => {
            let client = context.client()?;
            client.call_on(context.first()?, v1::SealRequest::default()).await?;
            done(format, "sealed")
        }
        Command::Status => {
            let client = context.client()?;
            let status = client.call_on(context.first()?, v1::StatusRequest::default()).await?;
            document(format, &node_status(&status))
        }
        Command::JoinToken { ttl } => {
            let ttl_s = parse_duration(&ttl)?.as_secs();
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
                .or_else(|| context.global.ca_cert.clone())
                .context("name the members' authority: --ca FILE")?;
            let ca = std::fs::read(&ca).with_context(|| format!("cannot read {}", ca.display()))?;
            let request = v1::JoinClusterRequest {
                join_token: token.expose().to_vec().into(),
                ca: ca.into(),
            };
            let reply = context.anonymous()?.join_cluster(None, request).await?;
            document(
                format,
                &json!({ "node_id": reply.node_id, "cluster_id": reply.cluster_id }),
            )
        }
        Command::Members => {
            let members = context.client()?.call(v1::MembersRequest::default()).await?.members;
            let rows: Vec<Value> = members.iter().map(member).collect();
            match format {
                Format::Json => line_json(&json!({ "members": rows })),
                Format::Table => table(
                    format,
                    &[
                        "id",
                        "name",
                        "leader",
                        "voter",
                        "peer_addr",
                        "client_addr",
                        "matched",
                        "region",
                    ],
                    &rows,
                ),
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
        Command::Snapshot(command) => snapshot::run(command, context).await,
        Command::StepDown => {
            context.client()?.call(v1::StepDownRequest::default()).await?;
            done(format, "stepped down")
        }
    }
}

async fn init(context: &Context, shares: u8, threshold: u8, out_dir: Option<&Path>) -> Result<()> {
    let client = context.anonymous()?;
    let request = v1::InitRequest {
        shares: shares.into(),
        threshold: threshold.into(),
        ..Default::default()
    };
    let reply = client.init(request).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut shown = json!({
        "cluster_id": reply.cluster_id,
        "node_id": reply.node_id,
        "threshold": threshold,
        "checkpoint_fingerprint": reply.checkpoint_fingerprint,
    });
    match out_dir {
        Some(directory) => {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            for (n, share) in reply.shares.iter().enumerate() {
                private(&directory.join(format!("share-{}", n + 1)), share)?;
            }
            private(&directory.join("root-token"), &reply.root_token)?;
            shown["out_dir"] = json!(directory);
        }
        None => {
            shown["shares"] = reply.shares.iter().map(|share| json!(text(share))).collect();
            shown["root_token"] = json!(text(&reply.root_token));
        }
    }
    if context.format() == Format::Json {
        return line_json(&shown);
    }
    for (n, share) in shown["shares"].as_array().into_iter().flatten().enumerate() {
        line(&format!("share {}: {}", n + 1, share.as_str().unwrap_or_default()))?;
    }
    if let Some(shown) = shown.as_object_mut() {
        shown.remove("shares");
    }
    document(Format::Table, &shown)?;
    line(
        "Keep each share apart from the others and from this machine; they are shown once. Unseal with `aumbry operator unseal`.",
    )
}

async fn unseal(context: &Context, share: Option<&str>, file: Option<&Path>, reset: bool) -> Result<()> {
    let client = context.anonymous()?;
    let status = if reset {
        client.reset_unseal(None).await?
    } else {
        let share = match (share, file) {
            (None, None) => ask("Key share: ")?,
            (Some("-"), None) => read_stdin()?,
            (None, Some(file)) => {
                SecretBytes::new(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?)
            }
            _ => {
                anyhow::bail!("a share on the command line would stay in the shell's history: pass `-` or --file FILE")
            }
        };
        client.unseal(None, share).await?
    };
    match context.format() {
        Format::Json => line_json(&seal_status(&status)),
        Format::Table if status.sealed => line(&format!("{} of {} shares", status.progress, status.threshold)),
        Format::Table => line("unsealed"),
    }
}

fn private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot make {}", path.display()))?;
    Ok(file.write_all(bytes)?)
}

fn seal_status(status: &v1::SealStatusReply) -> Value {
    json!({
        "initialized": status.initialized,
        "sealed": status.sealed,
        "threshold": status.threshold,
        "shares": status.shares,
        "progress": status.progress,
        "epoch": status.epoch,
        "version": status.version,
        "cluster_id": status.cluster_id,
        "applied_index": status.applied_index,
    })
}

fn node_status(status: &v1::StatusReply) -> Value {
    json!({
        "node_id": status.node_id,
        "name": status.name,
        "version": status.version,
        "sealed": status.sealed,
        "leader_id": status.leader_id,
        "is_leader": status.is_leader,
        "term": status.term,
        "applied_index": status.applied,
        "committed_index": status.committed,
        "last_log_index": status.last_log,
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
