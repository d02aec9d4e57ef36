//! `aumbry audit`: the audit log, read, exported and verified.

use std::io::{BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use aumbry_audit::export::{Content, Header, Unverified, checkpoint_line, header_line, leaf_line};
use aumbry_audit::{Checkpoint, Frontier, Leaf, Outcome};
use aumbry_client::{Client, v1};
use aumbry_crypto::signature::VerifyingKey;
use aumbry_types::{StorageId, hex};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{Format, document, line, line_json, time};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print records
    Log {
        /// The first sequence number
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// At most so many; all by default
        #[arg(long)]
        limit: Option<u64>,
        /// Go on as records come, until interrupted
        #[arg(long)]
        follow: bool,
    },
    /// Write the whole log with a signed checkpoint into a file that anybody can verify
    Export {
        /// The file; it must not exist
        file: PathBuf,
    },
    /// Verify an exported file, offline and without keys
    Verify(Verify),
}

#[derive(Args)]
pub(crate) struct Verify {
    /// The file
    file: PathBuf,
    /// The fingerprint of the signing key that `aumbry operator init` printed
    #[arg(long)]
    fingerprint: Option<String>,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Log { from, limit, follow } => log(&client, context.format(), from, limit, follow).await,
        Command::Export { file } => export(&client, context.format(), &file).await,
        Command::Verify(arguments) => verify(&arguments, context.format()),
    }
}

/// Verifies a file.
pub(crate) fn verify(arguments: &Verify, format: Format) -> Result<()> {
    let file =
        std::fs::File::open(&arguments.file).with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let pinned = arguments.fingerprint.as_deref().map(fingerprint).transpose()?;
    let verified = aumbry_audit::export::verify(BufReader::new(file), pinned).map_err(|error| {
        let reason = std::error::Error::source(&error)
            .map(|source| format!(": {source}"))
            .unwrap_or_default();
        anyhow::anyhow!("the log is not intact: {error}{reason}")
    })?;
    let shown = json!({
        "intact": true,
        "records": verified.records,
        "size": verified.size,
        "root": hex::encode(&verified.root),
        "key_fingerprint": hex::encode(&verified.key_fingerprint),
        "storage_id": verified.storage_id.to_string(),
    });
    document(format, &shown)?;
    if pinned.is_none() && format == Format::Table {
        line("The signing key is the file's own: pass --fingerprint to check that it is the cluster's.")?;
    }
    Ok(())
}

async fn log(client: &Client, format: Format, from: u64, limit: Option<u64>, follow: bool) -> Result<()> {
    let mut next = from;
    let mut left = limit.unwrap_or(u64::MAX);
    let mut wait_size = 0;
    while left > 0 {
        let page = u32::try_from(left.min(PAGE))?;
        let request = v1::AuditReadRequest {
            from: next,
            limit: page,
            wait_size,
            ..Default::default()
        };
        let reply = client.call(request).await?;
        for row in &reply.rows {
            show(format, row)?;
            next = row.seq + 1;
        }
        left -= reply.rows.len() as u64;
        let is_end = (reply.rows.len() as u64) < u64::from(page);
        if is_end && !follow {
            break;
        }
        // The record of this very reading wakes nobody: only one after it does.
        wait_size = if is_end {
            reply.header.unwrap_or_default().audit_seq + 1
        } else {
            0
        };
    }
    Ok(())
}

fn show(format: Format, row: &v1::AuditRow) -> Result<()> {
    let mut event: Value = serde_json::from_str(&row.event).unwrap_or_else(|_| json!({}));
    let outcome = Outcome::from_u8(u8::try_from(row.outcome).unwrap_or(u8::MAX)).map_or("unknown", Outcome::name);
    if format == Format::Json {
        event["seq"] = json!(row.seq);
        event["index"] = json!(row.index);
        event["term"] = json!(row.term);
        event["time"] = json!(time(row.log_time_ms));
        event["outcome"] = json!(outcome);
        return line_json(&event);
    }
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let who = event["principal"]["display_name"].as_str().unwrap_or("-").to_owned();
    line(&format!(
        "{:>8}  {}  {:<20} {:<15} {:<12} {} {}",
        row.seq,
        time(row.log_time_ms),
        text("operation"),
        text("decision"),
        who,
        text("path"),
        text("reason"),
    ))
}

async fn export(client: &Client, format: Format, path: &std::path::Path) -> Result<()> {
    let checkpoint = client.call(v1::AuditCheckpointRequest::default()).await?;
    let storage_id: StorageId = checkpoint.storage_id.parse()?;
    let key: [u8; 32] = checkpoint
        .verifying_key
        .as_ref()
        .try_into()
        .context("the checkpoint's key has another length")?;
    let temporary = path.with_extension("part");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary);
    let mut file = std::io::BufWriter::new(file.with_context(|| format!("cannot make {}", temporary.display()))?);
    let header = Header {
        storage_id,
        origin: Checkpoint::origin_of(&storage_id),
        start: Frontier::default(),
    };
    file.write_all(header_line(&header).as_bytes())?;
    let mut next = 0;
    while next < checkpoint.size {
        let limit = u32::try_from((checkpoint.size - next).min(PAGE))?;
        let rows = client
            .call(v1::AuditReadRequest {
                from: next,
                limit,
                ..Default::default()
            })
            .await?
            .rows;
        if rows.first().is_none_or(|row| row.seq != next) {
            bail!("record {next} is missing on the leader");
        }
        for row in rows {
            next = row.seq + 1;
            file.write_all(export_line(row)?.as_bytes())?;
        }
    }
    file.write_all(checkpoint_line(&checkpoint.note, &VerifyingKey::from_bytes(key)).as_bytes())?;
    file.into_inner()?.sync_all()?;
    std::fs::rename(&temporary, path)?;
    document(format, &json!({ "file": path, "records": checkpoint.size }))
}

fn export_line(row: v1::AuditRow) -> Result<String> {
    let outcome = u8::try_from(row.outcome)
        .ok()
        .and_then(Outcome::from_u8)
        .context("an outcome of a newer version")?;
    let leaf = Leaf {
        seq: row.seq,
        index: row.index,
        k: row.k,
        log_time: row.log_time_ms,
        outcome,
        commitment: row
            .commitment
            .as_ref()
            .try_into()
            .context("a commitment has 32 bytes")?,
    };
    let content = if row.record.is_empty() {
        Content::Clear(row.clear.to_vec())
    } else {
        let salt = row.salt.as_ref().try_into().context("a salt has 16 bytes")?;
        Content::Record {
            record: row.record.to_vec(),
            salt,
        }
    };
    let unverified = Unverified {
        term: row.term,
        wall_time: row.wall_time_ms,
    };
    leaf_line(&leaf, &content, unverified).context("a record cannot be read by this build")
}

fn fingerprint(text: &str) -> Result<[u8; 32]> {
    hex::decode(text).context("a fingerprint is 64 hexadecimal digits")
}

/// The most records of one page.
const PAGE: u64 = 1_000;
