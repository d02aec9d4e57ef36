//! A snapshot of the state in one file: a header, the rows, the audit bodies, and a trailer.
//!
//! ```text
//! header   "aumsnap1" | version u32 | last log id 3 x u64 | membership length u32 | membership
//! chunk    kind u8 | payload length u32 | payload | SHA-256 of kind, number of the chunk, payload
//! trailer  kind 0xff | rows u64 | bodies u64 | SHA-256 over the chain of the header's and all chunks' hashes, and the counts
//! row      key length u32 | row length u32 | key | row
//! body     log index u64 | first sequence number u64 | length u32 | body
//! ```
//!
//! Numbers are big-endian. All chunks of rows come before those of bodies; keys go up strictly, log indexes by one. A payload is at most 1 MiB,
//! or one item that is larger.
//!
//! Guarantees: the file appears under its name only when it is complete and durable, and a reader has checked every byte before it returns the
//! first one. It is not encrypted, because rows and bodies are sealed already, and not signed: it comes from a peer over an authenticated channel.

mod content;
mod format;
mod name;
mod reader;
mod writer;

pub use content::SnapshotContent;
pub use format::SnapshotHeader;
pub use name::snapshot_name;
pub use reader::{SnapshotBodies, SnapshotReader, SnapshotRows};
pub use writer::SnapshotWriter;

#[cfg(test)]
mod tests;
