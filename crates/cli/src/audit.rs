//! `aumbry audit`: the audit log, read, exported and verified.

mod as_of;
mod blast;
mod event;
mod proofs;
mod query;
mod retention;
mod stale;
mod views;

use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_audit::export::{Content, Header, Reason, Unverified, VerifyError, checkpoint_line, header_line, leaf_line};
use aumbry_audit::{Checkpoint, Leaf, Outcome, Place, shown};
use aumbry_client::v1;
use aumbry_crypto::signature::VerifyingKey;
use aumbry_types::{StorageId, hex};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::context::{Caller, Context};
use crate::failure::{Refused, usage};
use crate::output::{Format, document, line, line_json};
use event::{path_of, text};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print records: the last 100, or all from a sequence number on
    #[command(after_help = "Examples:
  aumbry audit log                   the last 100 records
  aumbry audit log --limit 10        the last 10
  aumbry audit log --from 0          all records
  aumbry audit log --follow          what comes from now on

Reading the log is itself recorded.")]
    Log {
        /// The first sequence number; 0 for all records [default: the last 100, with --follow the end]
        #[arg(long)]
        from: Option<u64>,
        /// At most so many; all by default if --from is given
        #[arg(long)]
        limit: Option<u64>,
        /// Go on as records come, until interrupted
        #[arg(long)]
        follow: bool,
    },
    /// Look for records: by who, what, when, from where, and what became of it
    #[command(after_help = query::EXAMPLES)]
    Query(Box<query::Query>),
    /// Tell who was given a secret, which versions, and when
    #[command(after_help = views::WHO_READ)]
    WhoRead(views::WhoRead),
    /// Tell what somebody did: how often, and when first and last
    #[command(after_help = views::WHAT_DID)]
    WhatDid(views::WhatDid),
    /// Plan which secrets to rotate because somebody had them
    #[command(after_help = blast::EXAMPLES)]
    BlastRadius(blast::BlastRadius),
    /// Propose what to take away, because nobody has used it for some time
    #[command(after_help = stale::EXAMPLES)]
    Stale(stale::Stale),
    /// Tell which change of a policy held at an index, and prove its text
    #[command(after_help = as_of::EXAMPLES)]
    AsOf(as_of::AsOf),
    /// Write the whole log with a signed checkpoint into a file that anybody can verify
    #[command(after_help = "Example:
  aumbry audit export monday.audit")]
    Export {
        /// The file; it must not exist
        file: PathBuf,
    },
    /// Print a signed checkpoint of the log, or write it for `aumbry-verify`
    #[command(after_help = "Example:
  aumbry audit checkpoint --out monday.checkpoint")]
    Checkpoint(proofs::CheckpointFile),
    /// Prove that one record is in the log: writes proof.json, checkpoint.json and record.json
    #[command(after_help = "Examples:
  aumbry audit proof --seq 4711 --out read-4711
  aumbry audit proof --of read.receipt --no-record --out read

  aumbry-verify inclusion DIR/record.json DIR/proof.json DIR/checkpoint.json --fingerprint 5f1c...
  aumbry-verify receipt read.receipt --proof DIR/proof.json --checkpoint DIR/checkpoint.json --fingerprint 5f1c...")]
    Proof(proofs::Proof),
    /// Prove that the log only grew: writes proof.json, old.json and new.json
    #[command(after_help = "Example:
  aumbry audit consistency --from 8212 --out growth

  aumbry-verify consistency DIR/old.json DIR/new.json DIR/proof.json --fingerprint 5f1c...")]
    Consistency(proofs::Growth),
    /// Drop records from the beginning of the log on, once they were exported
    #[command(after_help = retention::PRUNE)]
    Prune(retention::Prune),
    /// Tell with which record the log begins, and what was signed of those before
    #[command(after_help = "Example:
  aumbry audit floor --out pruned.checkpoint")]
    Floor(retention::FloorFile),
    /// Verify an exported file, offline and without keys
    #[command(after_help = "Example:
  aumbry audit verify --fingerprint 5f1c... monday.audit")]
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
        Command::Query(arguments) => query::run(*arguments, context).await,
        Command::WhoRead(arguments) => views::who_read(arguments, context).await,
        Command::WhatDid(arguments) => views::what_did(arguments, context).await,
        Command::BlastRadius(arguments) => blast::run(arguments, context).await,
        Command::Stale(arguments) => stale::run(arguments, context).await,
        Command::AsOf(arguments) => as_of::run(arguments, context).await,
        Command::Export { file } => export(&client, context.format(), &file).await,
        Command::Checkpoint(arguments) => proofs::checkpoint(&client, context.format(), &arguments).await,
        Command::Proof(arguments) => proofs::inclusion(&client, context.format(), &arguments).await,
        Command::Consistency(arguments) => proofs::consistency(&client, context.format(), &arguments).await,
        Command::Prune(arguments) => retention::prune(&client, context.format(), &arguments).await,
        Command::Floor(arguments) => retention::floor(&client, context.format(), &arguments).await,
        Command::Verify(arguments) => verify(&arguments, context.format()),
    }
}

/// Verifies a file.
pub(crate) fn verify(arguments: &Verify, format: Format) -> Result<()> {
    let pinned = arguments.fingerprint.as_deref().map(fingerprint).transpose()?;
    let file =
        std::fs::File::open(&arguments.file).with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let verified = match aumbry_audit::export::verify(BufReader::new(file), pinned) {
        Ok(verified) => verified,
        Err(VerifyError {
            reason: Reason::Input(error),
            ..
        }) => return Err(error).with_context(|| format!("cannot read {}", arguments.file.display())),
        Err(error) => {
            if format == Format::Json {
                line_json(&error.to_json())?;
            }
            let (fault, reason) = (error.fault().name(), &error.reason);
            return Err(Refused::NotIntact(format!("the log is not intact ({fault}): {error}: {reason}")).into());
        }
    };
    document(format, &verified.to_json())?;
    if pinned.is_none() && format == Format::Table {
        line("The signing key is the file's own: pass --fingerprint to check that it is the cluster's.")?;
    }
    Ok(())
}

async fn log(client: &Caller, format: Format, from: Option<u64>, limit: Option<u64>, follow: bool) -> Result<()> {
    let mut next = match (from, limit, follow) {
        (Some(from), ..) => from,
        (None, None, true) => end(client).await? + 1,
        (None, limit, _) => end(client).await?.saturating_sub(limit.unwrap_or(LAST)),
    };
    // The record of that look is not one of the last.
    let all = if from.is_some() || follow { u64::MAX } else { LAST };
    let mut left = limit.unwrap_or(all);
    if format == Format::Table {
        line(&columns(HEADINGS))?;
    }
    let mut wait_size = if from.is_none() && limit.is_none() && follow {
        next
    } else {
        0
    };
    while left > 0 {
        let page = u32::try_from(left.min(PAGE))?;
        let request = v1::AuditReadRequest {
            from: next,
            limit: page,
            wait_size,
            ..Default::default()
        };
        let reply = match client.call(request).await {
            Err(failed) if retention::is_pruned(&failed) => {
                let floor = retention::find(client).await?;
                ensure!(next < floor.tree.size(), failed);
                retention::tell(&floor);
                next = floor.tree.size();
                continue;
            }
            reply => reply?,
        };
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

/// The sequence number of the record of this very look.
async fn end(client: &Caller) -> Result<u64> {
    let request = v1::AuditReadRequest {
        from: u64::MAX,
        limit: 1,
        ..Default::default()
    };
    Ok(client.call(request).await?.header.unwrap_or_default().audit_seq)
}

fn show(format: Format, row: &v1::AuditRow) -> Result<()> {
    let event = shown(
        &row.event,
        &Place {
            seq: row.seq,
            index: row.index,
            term: row.term,
            log_time: row.log_time_ms,
            outcome: u8::try_from(row.outcome).unwrap_or(u8::MAX),
        },
    );
    show_event(format, &event)
}

/// Prints a record as it is shown.
fn show_event(format: Format, event: &Value) -> Result<()> {
    if format == Format::Json {
        return line_json(event);
    }
    line(&columns([
        &event["seq"].to_string(),
        text(event, "time"),
        text(event, "operation"),
        text(event, "decision"),
        event["principal"]["display_name"].as_str().unwrap_or("-"),
        &path_of(event),
        text(event, "reason"),
    ]))
}

fn columns([seq, time, operation, decision, who, what, reason]: [&str; 7]) -> String {
    let line = format!("{seq:>8}  {time:<24}  {operation:<20}  {decision:<9}  {who:<12}  {what}  {reason}");
    line.trim_end().to_owned()
}

async fn export(client: &Caller, format: Format, path: &Path) -> Result<()> {
    let exists = || {
        format!(
            "{} exists already: it was left as it is; name another file",
            path.display()
        )
    };
    ensure!(path.symlink_metadata().is_err(), exists());
    let checkpoint = client.call(v1::AuditCheckpointRequest::default()).await?;
    let storage_id: StorageId = checkpoint.storage_id.parse()?;
    let key: [u8; 32] = checkpoint
        .verifying_key
        .as_ref()
        .try_into()
        .context("the checkpoint's key has another length")?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(directory);
    let temporary = temporary.with_context(|| format!("cannot make a file in {}", directory.display()))?;
    let mut file = std::io::BufWriter::new(temporary);
    let floor = floor(client).await?;
    let header = Header {
        storage_id,
        origin: Checkpoint::origin_of(&storage_id),
        start: floor.as_ref().map(|floor| floor.tree.clone()).unwrap_or_default(),
    };
    file.write_all(header_line(&header).as_bytes())?;
    if let Some(floor) = &floor {
        retention::tell(floor);
        file.write_all(floor.checkpoint.as_bytes())?;
    }
    let first = header.start.size();
    let mut next = first;
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
    let file = file.into_inner()?;
    file.as_file().sync_all()?;
    // It gets its name whole, and takes nobody else's.
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => anyhow::anyhow!(exists()),
        _ => error.error.into(),
    })?;
    let mut told = json!({ "file": path, "records": checkpoint.size.saturating_sub(first) });
    if first > 0 {
        told["first_seq"] = json!(first);
    }
    document(format, &told)
}

/// The floor of the log; none if it begins with its first record.
async fn floor(client: &Caller) -> Result<Option<retention::Floor>> {
    let request = v1::AuditReadRequest {
        limit: 1,
        ..Default::default()
    };
    match client.call(request).await {
        Err(failed) if retention::is_pruned(&failed) => retention::find(client).await.map(Some),
        reply => Ok(reply.map(|_| None)?),
    }
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
    let content = if row.withheld {
        Content::Withheld
    } else if row.record.is_empty() {
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
    hex::decode(text).ok_or_else(|| usage("a fingerprint is 64 hexadecimal digits"))
}

/// What the columns are called.
const HEADINGS: [&str; 7] = ["seq", "time", "operation", "decision", "who", "what", "reason"];
/// The most records of one page.
const PAGE: u64 = 1_000;
/// As many records as people look at.
const LAST: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_told_with_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "nonsense\n").unwrap();
        let arguments = Verify {
            file: file.path().to_owned(),
            fingerprint: None,
        };
        let error = verify(&arguments, Format::Table).err().unwrap();
        assert_eq!(crate::failure::exit_code(&error), 8, "{error}");
        assert!(error.to_string().contains("line 1"), "{error}");
        let error = aumbry_audit::export::verify(&b"nonsense\n"[..], None).err().unwrap();
        assert_eq!(
            (error.to_json()["intact"].clone(), error.to_json()["line"].clone()),
            (json!(false), json!(1))
        );
        let nowhere = Verify {
            file: "/no/such/file".into(),
            fingerprint: None,
        };
        assert_eq!(
            crate::failure::exit_code(&verify(&nowhere, Format::Table).err().unwrap()),
            1
        );
    }
}
