//! `aumbry-verify export`: a whole export, against the key and against checkpoints that were kept elsewhere.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use aumbry_audit::export::{Reason, Seen, Verified, VerifyError, verify_each};
use clap::Args;
use serde_json::{Value, json};

use crate::chain::Chain;
use crate::trust::{self, Trust};
use crate::verdict::Failure;
use crate::{files, notes};

#[derive(Args)]
#[command(after_help = "Examples:
  aumbry-verify export monday.audit --fingerprint 5f1c... --save-checkpoint monday.checkpoint
  aumbry-verify export tuesday.audit --fingerprint 5f1c... --kept monday.checkpoint")]
pub(crate) struct Arguments {
    /// The export; - for standard input
    file: PathBuf,
    #[command(flatten)]
    key: trust::Arguments,
    /// A file with checkpoints that were kept elsewhere: the export must agree with them and reach as far
    #[arg(long, value_name = "FILE")]
    kept: Vec<PathBuf>,
    /// Write the last checkpoint into this new file, to be kept
    #[arg(long, value_name = "FILE")]
    save_checkpoint: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, Failure> {
    let trust = arguments.key.trust()?;
    let mut kept = Chain::default();
    for path in &arguments.kept {
        notes::each(path, &trust, |signed| kept.add(signed))?;
    }
    let input = open(&arguments.file)?;
    let (verified, last) = verify(input, &trust, &kept)?;
    if let Some(path) = &arguments.save_checkpoint {
        files::write_new(path, &last)?;
    }
    let mut verdict = verified.to_json();
    let (compared, before): (Vec<u64>, Vec<u64>) = kept.sizes().partition(|size| *size > verified.first_seq);
    if !arguments.kept.is_empty() {
        verdict["kept_compared"] = json!(compared);
        // The export begins after them, so it says nothing of them.
        verdict["kept_not_compared"] = json!(before);
    }
    Ok(verdict)
}

/// What was verified, and the line of the last checkpoint.
fn verify(input: Box<dyn Read>, trust: &Trust, kept: &Chain) -> Result<(Verified, Vec<u8>), Failure> {
    let (mut last, mut line, mut diverged) = ((String::new(), Vec::new()), 1, None);
    let verified = verify_each(BufReader::new(input), Some(trust.fingerprint), |seen| {
        line += 1;
        match seen {
            Seen::Record { tree, .. } => {
                let size = tree.size();
                if let Some((root, note)) = kept.at(size)
                    && *root != tree.root()
                {
                    let _ = diverged.get_or_insert_with(|| (line, size, note.clone()));
                }
            }
            Seen::Checkpoint { note, line, checkpoint } => {
                if kept.origin().is_some_and(|origin| origin != checkpoint.origin) {
                    return Err(Reason::Origin);
                }
                kept.meets(checkpoint, note)?;
                last = (note.to_owned(), line.to_vec());
            }
        }
        Ok(())
    })?;
    // Only now are the records that differ known to be those that were signed: a fork, and not an alteration.
    if let Some((line, size, first)) = diverged {
        let second = last.0;
        return Err(VerifyError {
            line,
            seq: Some(size - 1),
            reason: Reason::Forked { size, first, second },
        }
        .into());
    }
    let found = verified.size;
    match kept.sizes().next_back() {
        Some(longest) if longest > found => Err(VerifyError {
            line: line + 1,
            seq: Some(found),
            reason: Reason::Shorter { kept: longest, found },
        }
        .into()),
        _ => Ok((verified, last.1)),
    }
}

pub(crate) fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let file: File = files::open(path)?;
    Ok(Box::new(file))
}
