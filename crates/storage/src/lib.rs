//! What a node keeps on its disk: the Raft log, the applied rows, the audit bodies, and snapshot files.
//!
//! Guarantees:
//! * A log entry, a vote or a truncation is durable before its callback is called, in the order of the calls ([`Log`], [`Wal`]).
//! * A disk that lost acknowledged entries is noticed when the log is opened, and the node does not start.
//! * Every stored byte that can be checked is checked when it is read: nothing damaged is used, and nothing damaged in the middle is cut away.
//! * A snapshot is installed by moving one pointer file: a crash leaves the old state or the new one.
//! * An error of the disk at run time stops the process ([`fatal()`]). It is never retried: after a failed `fsync` the kernel may have dropped the
//!   pages, and a second call would report success for bytes that are lost (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
//!
//! What it does not do: it knows nothing of Raft's rules, of what a row means, or of encryption. The bytes it is given are already sealed.
//! It does not set the process's umask: everything lies below [`DataDir`], whose mode 0700 keeps other users out.
//!
//! The order in which the caller makes things durable: [`AuditSegments::sync`], then [`StateDb::flush`], then [`Log::purge_to`].
//! The rows name the last applied index, so a body may be newer than the rows (it is cut at the next start), but never older.

mod audit_segments;
mod backup;
pub mod check;
mod data_dir;
mod error;
mod fatal;
mod files;
mod floor;
#[doc(hidden)]
pub mod fuzzing;
mod generations;
mod incoming;
mod inspect;
mod log;
mod log_image;
mod options;
mod replacement;
mod segment;
mod small_file;
mod snapshot_file;
mod space;
mod state_db;
#[cfg(test)]
mod testing;
mod tree_hashes;
mod wal;

pub use audit_segments::AuditSegments;
pub use backup::{Backup, Manifest};
pub use data_dir::DataDir;
pub use error::{NEXT, StorageError, with_causes};
pub use fatal::fatal;
pub use files::rename;
pub use incoming::Incoming;
pub use inspect::{Inspected, inspect};
pub use log::{Done, Log, Meta};
pub use log_image::LogImage;
pub use replacement::Replacement;
pub use small_file::SmallFile;
pub use snapshot_file::{
    SnapshotBodies, SnapshotContent, SnapshotHeader, SnapshotReader, SnapshotRows, SnapshotWriter, snapshot_name,
};
pub use space::{Space, free_bytes};
pub use state_db::{Flush, StateDb, StateSnapshot, StillHeld, install_state, switch_state};
pub use tree_hashes::TreeHashes;
pub use wal::Wal;
