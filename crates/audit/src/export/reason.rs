//! What can be wrong with an export, and the one word for it.

use std::io;

use crate::CheckpointError;

/// The first thing wrong with an export.
#[derive(Debug, thiserror::Error)]
#[error("the export fails at line {line}")]
pub struct VerifyError {
    /// The line, counted from 1.
    pub line: u64,
    /// The record that is bad or missing, if it is one.
    pub seq: Option<u64>,
    /// What is wrong.
    #[source]
    pub reason: Reason,
}

/// What can be wrong with an export.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The input failed.
    #[error("the export cannot be read")]
    Input(#[from] io::Error),
    /// A line is none of the three kinds, at a place where it must be one, or says something impossible.
    #[error("the line is not one of an export")]
    Malformed,
    /// The file ends within a line.
    #[error("the export is cut off within a line")]
    CutOff,
    /// The line says what it should, written otherwise than an export writes it.
    #[error("the line was rewritten: it is not the text that an export has for its content")]
    Rewritten,
    /// A record is missing.
    #[error("record {expected} is missing: the line holds record {found}")]
    Missing {
        /// The next position of the tree.
        expected: u64,
        /// The position in the line.
        found: u64,
    },
    /// A record comes again, or out of its order.
    #[error("record {found} is repeated or out of order: expected record {expected}")]
    Repeated {
        /// The next position of the tree.
        expected: u64,
        /// The position in the line.
        found: u64,
    },
    /// A record stands further on than it should.
    #[error("record {seq} was moved: it stands at line {line}")]
    Moved {
        /// The position of the record.
        seq: u64,
        /// The line at which it stands, counted from 1.
        line: u64,
    },
    /// The place in the log does not come after that of the record before.
    #[error("the place in the log does not come after that of the record before")]
    Order,
    /// The log's time runs backwards, or differs within one log entry.
    #[error("the log's time does not continue that of the record before")]
    Time,
    /// The record is not the one that was committed to.
    #[error("the record is not the one committed to: it was altered, or is of another store")]
    Commitment,
    /// What was committed to is not a record.
    #[error("what was committed to is not a record that this version reads")]
    Record,
    /// A record is withheld after one that is shown, or one that consensus made.
    #[error("the record is withheld where none can be: it was taken out, or the node that wrote the export was faulty")]
    Withheld,
    /// The readable event says something else than the record.
    #[error("the readable event is not that of the record")]
    Event,
    /// The checkpoint covers another number of records.
    #[error("the checkpoint covers {signed} records, and the export has {found} up to here")]
    Size {
        /// The size that was signed.
        signed: u64,
        /// The size of the tree in the file.
        found: u64,
    },
    /// The root is another one.
    #[error("the root is not the one signed: one of records {first} to {last}, or what came before them, was altered")]
    Root {
        /// The first record since the checkpoint before.
        first: u64,
        /// The last record covered.
        last: u64,
    },
    /// One key signed two trees of one size. Both notes are the evidence.
    #[error("there are two signed checkpoints of {size} records with different roots: the signer told two histories")]
    Forked {
        /// The size of both trees.
        size: u64,
        /// The signed note that was met first.
        first: String,
        /// The signed note that contradicts it.
        second: String,
    },
    /// A checkpoint that was kept elsewhere covers more records than the export has.
    #[error("the export has {found} records, and a checkpoint kept elsewhere covers {kept}: its end is missing")]
    Shorter {
        /// The size that the kept checkpoint signed.
        kept: u64,
        /// The size of the tree in the file.
        found: u64,
    },
    /// The checkpoint is of another log.
    #[error("the checkpoint is of another log than the header names")]
    Origin,
    /// The checkpoint is signed by another key than the pinned one, or than the checkpoints before.
    #[error(
        "the checkpoint is signed by key {found}, and not by the one expected; check the fingerprint that you pinned"
    )]
    Key {
        /// The fingerprint of the key in the file, in hex.
        found: String,
    },
    /// The checkpoint is not properly signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The file ends without a checkpoint over its last records.
    #[error("the export ends without a signed checkpoint: its end is missing")]
    NoCheckpoint,
}

impl VerifyError {
    /// The one word for what was done to the export.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self.reason {
            Reason::Malformed if self.line == 1 => Fault::NotAnExport,
            ref reason => reason.fault(),
        }
    }
}

impl Reason {
    /// The one word for what was done. The reason itself says more.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Input(_) => Fault::Unreadable,
            Self::Missing { .. } | Self::Withheld => Fault::Removed,
            Self::Size { signed, found } if *found < *signed => Fault::Removed,
            Self::Size { .. } => Fault::Added,
            Self::Repeated { .. } => Fault::Duplicated,
            Self::Moved { .. } | Self::Order => Fault::Reordered,
            Self::CutOff | Self::NoCheckpoint | Self::Shorter { .. } => Fault::Truncated,
            Self::Forked { .. } => Fault::Forked,
            Self::Origin => Fault::AnotherLog,
            Self::Key { .. } | Self::Checkpoint(CheckpointError::Unsigned) => Fault::AnotherKey,
            Self::Malformed
            | Self::Rewritten
            | Self::Time
            | Self::Commitment
            | Self::Record
            | Self::Event
            | Self::Root { .. }
            | Self::Checkpoint(_) => Fault::Altered,
        }
    }
}

/// What was done to an export, in one stable word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The input failed: nothing is known of the export.
    Unreadable,
    /// The file is something else.
    NotAnExport,
    /// A record was taken out.
    Removed,
    /// Records were put in that no checkpoint covers, or a checkpoint stands too late.
    Added,
    /// A line says something else than was written.
    Altered,
    /// A record stands elsewhere than it should.
    Reordered,
    /// A record is there twice.
    Duplicated,
    /// The end is missing.
    Truncated,
    /// One key signed two histories.
    Forked,
    /// A checkpoint is of another log.
    AnotherLog,
    /// A checkpoint is signed by another key than the one expected.
    AnotherKey,
}

impl Fault {
    /// The word, as programs get it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NotAnExport => "not-an-export",
            Self::Removed => "removed",
            Self::Added => "added",
            Self::Altered => "altered",
            Self::Reordered => "reordered",
            Self::Duplicated => "duplicated",
            Self::Truncated => "truncated",
            Self::Forked => "forked",
            Self::AnotherLog => "another-log",
            Self::AnotherKey => "another-key",
        }
    }
}
