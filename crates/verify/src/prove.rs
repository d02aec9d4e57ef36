//! `aumbry-verify prove`: makes proofs from a whole export, offline.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use aumbry_audit::export::{Reason, Seen, Verified, verify_each};
use aumbry_audit::proof::{Consistency, Inclusion, Proof};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::verdict::Failure;
use crate::{export, files};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// That one record is in the log: writes record.json, proof.json and checkpoint.json
    Inclusion {
        /// The export, from record 0 on
        export: PathBuf,
        /// The record
        #[arg(long)]
        seq: u64,
        /// An empty or a new folder
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// That the log only grew from one size to another: writes proof.json
    Consistency {
        /// The export, from record 0 on
        export: PathBuf,
        /// The number of records of the older checkpoint
        #[arg(long, value_name = "SIZE")]
        from: u64,
        /// The number of records of the newer checkpoint [default: all]
        #[arg(long, value_name = "SIZE")]
        to: Option<u64>,
        /// An empty or a new folder
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// What proofs are made of.
struct Leaves {
    verified: Verified,
    hashes: Vec<[u8; 32]>,
    /// The line of the record that was asked for.
    record: Vec<u8>,
    /// The line of the last checkpoint.
    checkpoint: Vec<u8>,
}

pub(crate) fn run(command: &Command) -> Result<Value, Failure> {
    match command {
        Command::Inclusion { export, seq, out } => {
            let leaves = read(export, Some(*seq))?;
            let size = leaves.verified.size;
            let proof = Inclusion::prove(&leaves.hashes, *seq)
                .ok_or_else(|| Failure::Usage(format!("there is no record {seq}: the export has {size}")))?;
            let hashes = proof.path.len();
            let origin = leaves.verified.origin;
            let text = Proof::Inclusion { origin, proof }.encode();
            let files = [
                ("record.json", leaves.record.as_slice()),
                ("proof.json", text.as_bytes()),
                ("checkpoint.json", leaves.checkpoint.as_slice()),
            ];
            write(out, &files)?;
            Ok(json!({ "seq": seq, "size": size, "hashes": hashes, "proof_bytes": text.len(), "written": out }))
        }
        Command::Consistency { export, from, to, out } => {
            let leaves = read(export, None)?;
            let size = leaves.verified.size;
            let to = to.unwrap_or(size);
            let newer = usize::try_from(to).ok().and_then(|to| leaves.hashes.get(..to));
            let proof = newer
                .and_then(|hashes| Consistency::prove(hashes, *from))
                .ok_or_else(|| {
                    Failure::Usage(format!(
                        "there is no proof from {from} to {to} records: the export has {size}, and sizes ascend"
                    ))
                })?;
            let hashes = proof.path.len();
            let origin = leaves.verified.origin;
            let text = Proof::Consistency { origin, proof }.encode();
            write(out, &[("proof.json", text.as_bytes())])?;
            Ok(json!({ "from": from, "to": to, "hashes": hashes, "proof_bytes": text.len(), "written": out }))
        }
    }
}

/// Verifies the export on the way, with whatever key it has: a proof is worth what the checkpoint is that it is verified
/// against, and that is where the key is pinned.
fn read(path: &Path, seq: Option<u64>) -> Result<Leaves, Failure> {
    let (mut hashes, mut record, mut checkpoint) = (Vec::new(), Vec::new(), Vec::new());
    let mut too_many = false;
    let verified = verify_each(BufReader::new(export::open(path)?), None, |seen| {
        match seen {
            Seen::Record { line, hash, tree } => {
                if hashes.len() == RECORDS_MAX {
                    too_many = true;
                    return Err(Reason::Input(std::io::ErrorKind::FileTooLarge.into()));
                }
                hashes.push(hash);
                if seq.is_some_and(|seq| seq == tree.size() - 1) {
                    record = line.to_vec();
                }
            }
            Seen::Checkpoint { line, .. } => checkpoint = line.to_vec(),
        }
        Ok(())
    });
    if too_many {
        let text = format!(
            "proofs are made from at most {RECORDS_MAX} records: export fewer, or verify the whole export instead"
        );
        return Err(Failure::Usage(text));
    }
    let verified = verified?;
    if verified.first_seq > 0 {
        return Err(Failure::Usage(format!(
            "the export begins at record {}: a proof needs one that begins at 0",
            verified.first_seq
        )));
    }
    Ok(Leaves {
        verified,
        hashes,
        record,
        checkpoint,
    })
}

fn write(out: &Path, files: &[(&str, &[u8])]) -> Result<(), Failure> {
    std::fs::create_dir_all(out)
        .map_err(|error| Failure::Usage(format!("cannot make the folder {}: {error}", out.display())))?;
    files
        .iter()
        .try_for_each(|(name, bytes)| files::write_new(&out.join(name), bytes))
}

/// Their hashes take 32 bytes each, so 2 GiB.
const RECORDS_MAX: usize = 1 << 26;
