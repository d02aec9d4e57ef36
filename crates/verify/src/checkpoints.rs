//! `aumbry-verify checkpoints`: a chain of signed checkpoints.

use std::path::PathBuf;

use aumbry_types::hex;
use clap::Args;
use serde_json::{Value, json};

use crate::chain::Chain;
use crate::verdict::Failure;
use crate::{notes, trust};

#[derive(Args)]
#[command(
    after_help = "A file is a signed note, or an export, of which the checkpoints are taken.\n\nThat a later \
checkpoint continues an earlier one, only a consistency proof shows: see `aumbry-verify consistency`."
)]
pub(crate) struct Arguments {
    /// The files, the oldest checkpoint first
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    key: trust::Arguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Value, Failure> {
    let trust = arguments.key.trust()?;
    let mut chain = Chain::default();
    let (mut count, mut last, mut unordered) = (0_u64, 0, None);
    for path in &arguments.files {
        notes::each(path, &trust, |signed| {
            let size = signed.checkpoint.size;
            // A fork anywhere weighs more than an order that is wrong, so that is told when all were seen.
            chain.add(signed)?;
            if size < last && unordered.is_none() {
                let reason = format!("a checkpoint of {size} records comes after one of {last}: the sizes must ascend");
                unordered = Some(Failure::wrong("reordered", reason).at(&path.display().to_string(), None));
            }
            last = size;
            count += 1;
            Ok(())
        })?;
    }
    if let Some(failure) = unordered {
        return Err(failure);
    }
    let root = chain.at(last).map(|(root, _)| hex::encode(root));
    Ok(json!({
        "checkpoints": count,
        "origin": chain.origin(),
        "from_size": chain.sizes().next(),
        "to_size": last,
        "root": root,
        "checkpoint_fingerprint": hex::encode(&trust.fingerprint),
    }))
}
