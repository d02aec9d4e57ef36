//! `aumbry audit checkpoint`, `proof` and `consistency`: what a server proves, written into files that `aumbry-verify` takes.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_audit::Receipt;
use aumbry_audit::export::checkpoint_line;
use aumbry_client::v1;
use aumbry_crypto::signature::VerifyingKey;
use aumbry_types::hex;
use clap::Args;
use serde_json::json;

use super::export_line;
use crate::context::Caller;
use crate::failure::usage;
use crate::output::{Format, document};

#[derive(Args)]
pub(crate) struct CheckpointFile {
    /// The file; it must not exist
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Proof {
    /// The record
    #[arg(long, required_unless_present = "of", conflicts_with = "of")]
    seq: Option<u64>,
    /// The record that a receipt is of
    #[arg(long, value_name = "RECEIPT")]
    of: Option<PathBuf>,
    /// The number of records of the tree [default: all]
    #[arg(long)]
    size: Option<u64>,
    /// Leave the record out, which takes the right to read all records
    #[arg(long)]
    no_record: bool,
    /// An empty or a new folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Args)]
pub(crate) struct Growth {
    /// The number of records of the older checkpoint
    #[arg(long, value_name = "SIZE")]
    from: u64,
    /// The number of records of the newer checkpoint [default: all]
    #[arg(long, value_name = "SIZE")]
    to: Option<u64>,
    /// An empty or a new folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Tells, or writes, a signed checkpoint.
pub(super) async fn checkpoint(client: &Caller, format: Format, arguments: &CheckpointFile) -> Result<()> {
    let reply = client.call(v1::AuditCheckpointRequest::default()).await?;
    let key = key(&reply.verifying_key)?;
    if let Some(file) = &arguments.out {
        write_new(file, checkpoint_line(&reply.note, &key).as_bytes())?;
    }
    let told = json!({
        "size": reply.size,
        "note": reply.note,
        "key": hex::encode(key.as_bytes()),
        "fingerprint": hex::encode(&key.fingerprint()),
    });
    document(format, &told)
}

/// Writes a proof of a record, with the record and the checkpoint.
pub(super) async fn inclusion(client: &Caller, format: Format, arguments: &Proof) -> Result<()> {
    let receipt = arguments.of.as_deref().map(read_receipt).transpose()?;
    let seq = arguments.seq.or_else(|| receipt.as_ref().map(|receipt| receipt.seq));
    let seq = seq.ok_or_else(|| usage("name the record: --seq N or --of RECEIPT"))?;
    let request = v1::AuditProofRequest {
        header: None,
        seq,
        size: arguments.size.unwrap_or(0),
    };
    let reply = client.call(request).await?;
    if let Some(receipt) = receipt {
        ensure!(
            receipt.leaf == reply.leaf_hash.as_ref(),
            "record {seq} of the log is not the one that the receipt is of: keep the receipt, which is signed, as evidence"
        );
    }
    let mut files = vec![
        ("proof.json", reply.proof),
        (
            "checkpoint.json",
            checkpoint_line(&reply.note, &key(&reply.verifying_key)?),
        ),
    ];
    if !arguments.no_record {
        files.push(("record.json", record(client, seq).await?));
    }
    write_all(&arguments.out, &files)?;
    document(
        format,
        &json!({ "seq": seq, "size": reply.size, "leaf": hex::encode(&reply.leaf_hash), "written": arguments.out }),
    )
}

/// Writes a proof that the log only grew, with both checkpoints.
pub(super) async fn consistency(client: &Caller, format: Format, arguments: &Growth) -> Result<()> {
    let request = v1::AuditConsistencyRequest {
        header: None,
        from: arguments.from,
        to: arguments.to.unwrap_or(0),
    };
    let reply = client.call(request).await?;
    let key = key(&reply.verifying_key)?;
    let files = [
        ("proof.json", reply.proof),
        ("old.json", checkpoint_line(&reply.old_note, &key)),
        ("new.json", checkpoint_line(&reply.new_note, &key)),
    ];
    write_all(&arguments.out, &files)?;
    document(
        format,
        &json!({ "from": arguments.from, "to": reply.size, "written": arguments.out }),
    )
}

/// The line of one record.
async fn record(client: &Caller, seq: u64) -> Result<String> {
    let request = v1::AuditReadRequest {
        from: seq,
        limit: 1,
        ..Default::default()
    };
    let row = client.call(request).await?.rows.into_iter().next();
    match row.filter(|row| row.seq == seq) {
        Some(row) => export_line(row),
        None => bail!("record {seq} is missing on the leader"),
    }
}

/// The signature is compared when the proof is verified, with a key that is pinned there.
fn read_receipt(path: &Path) -> Result<Receipt> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let receipt = Receipt::read(&bytes).and_then(|(note, key)| Receipt::verify(&note, &key).ok());
    receipt.ok_or_else(|| usage(format!("{} is no receipt, or was altered", path.display())))
}

fn key(bytes: &[u8]) -> Result<VerifyingKey> {
    let key: [u8; 32] = bytes.try_into().context("the checkpoint's key has another length")?;
    Ok(VerifyingKey::from_bytes(key))
}

fn write_all(folder: &Path, files: &[(&str, String)]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    files
        .iter()
        .try_for_each(|(name, text)| write_new(&folder.join(name), text.as_bytes()))
}

/// Writes a file that does not exist yet.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.with_context(|| {
        format!(
            "cannot write {}; what exists is never written over: name another place",
            path.display()
        )
    })
}
