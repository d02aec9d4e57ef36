//! The export: the audit trail as a text file that anybody verifies offline, without a key and without a server.
//!
//! One JSON object a line. The first line is the [`Header`]; then a line for each leaf, with all that its hash covers,
//! the canonical bytes of the record and the same record as a readable event; among them, and always at the end, a line
//! with a signed [`Checkpoint`](crate::Checkpoint) of the tree up to there.
//!
//! # Invariants
//!
//! - A line has one form only. [`verify`] builds each line again from what it checked and compares bytes, so nobody can
//!   put a second, contradicting key into a line, or a text beside the record that people read and the hash misses.
//! - A record may be withheld, its line marked so, only before the first that is shown: there stand those of an
//!   initialisation that was repeated, whose keys are gone. [`Verified::withheld`] counts them. Anywhere else it would let
//!   whoever has the file take a record out of it.
//! - All that a line says is covered by the signed root, but for the object `unverified`: the term and the wall clock,
//!   which no leaf commits to. Whoever needs a time to rely on takes `log_time`.
//!
//! # What it does not do
//!
//! A change that keeps its own line consistent (a record with a new salt and commitment) is seen at the next checkpoint,
//! which names the range of records it covers, not the one. A record that is missing is looked for further on in the
//! file, by its number alone, to tell one that was moved from one that was taken out. A file cut right after a checkpoint is a whole, shorter
//! export: compare its size with what you expected. Whoever controls the checkpoint key can write another
//! history: compare the root with a checkpoint kept elsewhere.

use aumbry_types::StorageId;

use crate::Frontier;

mod line;
mod reason;
mod report;
mod verify;
mod writer;

pub use reason::{Fault, Reason, VerifyError};
pub use verify::{Line, Seen, Verified, disclosed, noted, read_line, verify, verify_each};
pub use writer::{WriteError, Writer, checkpoint_line, header_line, leaf_line};

/// What an export is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The store, which every record's commitment is bound to.
    pub storage_id: StorageId,
    /// The name of the log in its checkpoints.
    pub origin: String,
    /// The tree before the first record. Empty for a whole export; a partial one starts at this tree's size, and its
    /// checkpoint shows that this tree is the right one.
    pub start: Frontier,
}

/// What a leaf commits to.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A record and the salt of its commitment.
    Record {
        /// The canonical bytes.
        record: Vec<u8>,
        /// The salt.
        salt: [u8; 16],
    },
    /// Content in clear, of an entry that consensus made or that was malformed.
    Clear(Vec<u8>),
    /// A record that nobody can open any more, of an initialisation that was repeated. The leaf alone is shown.
    Withheld,
}

/// What a line says and no leaf commits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unverified {
    /// The Raft term of the entry.
    pub term: u64,
    /// The leader's wall clock, in milliseconds since 1970.
    pub wall_time: u64,
}

/// Longer than a line of the longest record with every character escaped. A file with a longer one is not an export.
pub const LINE_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests;
