//! Signed checkpoints of one log, and what two of them must not say.

use std::collections::BTreeMap;

use aumbry_audit::Checkpoint;
use aumbry_audit::export::Reason;

use crate::notes::Signed;
use crate::verdict::Failure;

/// Checkpoints of one log, one for each size.
#[derive(Default)]
pub(crate) struct Chain {
    origin: Option<String>,
    by_size: BTreeMap<u64, ([u8; 32], String)>,
}

impl Chain {
    /// Adds a checkpoint. Fails if it is of another log, or if another one of its size has another root.
    pub(crate) fn add(&mut self, signed: Signed) -> Result<(), Failure> {
        let Signed { checkpoint, note } = signed;
        if *self.origin.get_or_insert_with(|| checkpoint.origin.clone()) != checkpoint.origin {
            return Err(Reason::Origin.into());
        }
        self.meets(&checkpoint, &note)?;
        if self.by_size.len() == CHECKPOINTS_MAX {
            return Err(Failure::Usage(format!(
                "more than {CHECKPOINTS_MAX} checkpoints: verify them in parts, the last of each part in the next one too"
            )));
        }
        let _ = self.by_size.insert(checkpoint.size, (checkpoint.root, note));
        Ok(())
    }

    /// Whether a checkpoint agrees with the one of its size, if there is one.
    pub(crate) fn meets(&self, checkpoint: &Checkpoint, note: &str) -> Result<(), Reason> {
        match self.by_size.get(&checkpoint.size) {
            Some((root, first)) if *root != checkpoint.root => Err(Reason::Forked {
                size: checkpoint.size,
                first: first.clone(),
                second: note.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The root and the note of this size.
    pub(crate) fn at(&self, size: u64) -> Option<&([u8; 32], String)> {
        self.by_size.get(&size)
    }

    pub(crate) fn sizes(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.by_size.keys().copied()
    }

    /// The name of the log.
    pub(crate) fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }
}

/// One for each hour of ten years, some 40 MB.
const CHECKPOINTS_MAX: usize = 100_000;
