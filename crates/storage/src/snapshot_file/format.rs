//! What writer and reader share.

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The last log id that the rows contain: term, node, index.
    pub last_log_id: [u64; 3],
    /// The membership at that point, as its owner encodes it; at most 1 MiB.
    pub membership: Vec<u8>,
}

impl SnapshotHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.membership.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        for number in self.last_log_id {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&(self.membership.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&self.membership);
        bytes
    }
}

/// What a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Rows,
    Bodies,
    Trailer,
}

impl Kind {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Rows => 1,
            Self::Bodies => 2,
            Self::Trailer => 0xff,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Rows),
            2 => Some(Self::Bodies),
            0xff => Some(Self::Trailer),
            _ => None,
        }
    }
}

/// The hash of one chunk. With its number, so that chunks cannot change places.
pub(super) fn chunk_hash(kind: Kind, number: u64, payload: &[u8]) -> [u8; 32] {
    aumbry_crypto::sha256(&[&[kind.byte()], &number.to_be_bytes(), payload])
}

/// Adds a hash to the chain over all of them.
pub(super) fn chain(chain: [u8; 32], hash: [u8; 32]) -> [u8; 32] {
    aumbry_crypto::sha256(&[&chain, &hash])
}

/// The hash in the trailer.
pub(super) fn trailer_hash(chain: [u8; 32], rows: u64, bodies: u64) -> [u8; 32] {
    aumbry_crypto::sha256(&[&chain, &rows.to_be_bytes(), &bodies.to_be_bytes()])
}

pub(super) const MAGIC: &[u8; 8] = b"aumsnap1";
pub(super) const VERSION: u32 = 1;
/// The header without the membership.
pub(super) const FIXED_BYTES: usize = 8 + 4 + 3 * 8 + 4;
/// A membership has some hundred bytes a node.
pub(super) const MEMBERSHIP_BYTES_MAX: usize = 1 << 20;
/// How large a payload may be, unless one item is larger.
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// No item is near it; it keeps a damaged length from taking all memory.
pub(super) const PAYLOAD_BYTES_MAX: usize = 65 << 20;
/// Kind and length of a chunk.
pub(super) const CHUNK_HEAD_BYTES: usize = 5;
pub(super) const HASH_BYTES: usize = 32;
/// Kind, counts, hash.
pub(super) const TRAILER_BYTES: usize = 1 + 8 + 8 + HASH_BYTES;
