//! One command, as a leaf of the Merkle tree: its place in the log, what became of it, and the commitment to its record.

use aumbry_crypto as crypto;

/// What apply did with one command. Decided by apply, in clear, and therefore equal on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// All preconditions held and all writes were made. A refused request has this outcome too, since recording the
    /// refusal is all that its command does; the record's decision tells them apart.
    Ok = 0,
    /// A row that the plan had read was changed before; nothing was written. The leader plans again.
    Conflict = 1,
    /// A counter would have gone below its floor; nothing was written.
    Exhausted = 2,
    /// A row that the plan relied on had expired by the log's time; nothing was written.
    Expired = 3,
    /// The command was malformed; nothing was written.
    Rejected = 4,
    /// The entry was made by consensus itself (a membership change, a blank entry): its content is in clear.
    Clear = 5,
}

impl Outcome {
    /// The outcome of this code, if there is one.
    #[must_use]
    pub const fn from_u8(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Ok,
            1 => Self::Conflict,
            2 => Self::Exhausted,
            3 => Self::Expired,
            4 => Self::Rejected,
            5 => Self::Clear,
            _ => return None,
        })
    }

    /// The stable word of this outcome in exports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Clear => "clear",
        }
    }

    /// The outcome of this word, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        (0..=5).filter_map(Self::from_u8).find(|outcome| outcome.name() == name)
    }
}

/// The clear facts of one command that the tree commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The position in the tree. The first leaf of a store is 0, and there is no gap.
    pub seq: u64,
    /// The position of the entry in the Raft log.
    pub index: u64,
    /// The position of the command in its entry.
    pub k: u32,
    /// The log's time of the entry, in milliseconds since 1970. Never runs backwards from leaf to leaf.
    pub log_time: u64,
    /// What apply did.
    pub outcome: Outcome,
    /// The commitment to the record, or to the clear content if consensus made the entry.
    pub commitment: [u8; 32],
}

impl Leaf {
    /// `SHA-256(0x00 | seq u64 | index u64 | k u32 | log_time u64 | outcome u8 | commitment)`, numbers big endian.
    /// The first byte is the leaf prefix of RFC 6962 section 2.1, so this is the leaf's hash in the tree.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        crypto::sha256(&[
            &[0x00],
            &self.seq.to_be_bytes(),
            &self.index.to_be_bytes(),
            &self.k.to_be_bytes(),
            &self.log_time.to_be_bytes(),
            &[self.outcome as u8],
            &self.commitment,
        ])
    }
}
