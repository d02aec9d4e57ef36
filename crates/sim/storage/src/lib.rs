//! Storage in a simulation: log, rows and audit bodies on a simulated disk. `crates/raft` is compiled against it under the name `aumbry_storage`.
//!
//! What it guarantees: the same as the crate that it stands for, with the means of the simulated world: order of callbacks, what is durable when, which
//! losses are noticed when something is opened. An error of the disk ends the simulated process and not the program.
//!
//! What it does not do: lose anything of the small files and of the snapshot files, which are real ones and written by the code of `crates/storage`. A
//! process can die between any two of them, but what it wrote stays.

// `crates/storage` names the errors of RocksDB by this name; there are none here.
extern crate self as rocksdb;

mod audit_segments;
pub mod check;
#[path = "../../../storage/src/data_dir.rs"]
mod data_dir;
#[path = "../../../storage/src/error.rs"]
#[allow(dead_code, reason = "parts of it are for databases")]
mod error;
mod fatal;
#[path = "../../../storage/src/files.rs"]
#[allow(dead_code, reason = "parts of it are for the commands of operators")]
mod files;
#[path = "../../../storage/src/incoming.rs"]
mod incoming;
#[path = "../../../storage/src/log.rs"]
#[allow(dead_code, reason = "parts of it are for the commands of operators")]
mod log;
#[path = "../../../storage/src/replacement.rs"]
#[allow(dead_code, reason = "parts of it are for the commands of operators")]
mod replacement;
#[path = "../../../storage/src/small_file.rs"]
mod small_file;
mod snapshot_file;
mod space;
mod state_db;
mod wal;

pub use audit_segments::AuditSegments;
pub use data_dir::DataDir;
pub use error::{NEXT, StorageError, with_causes};
pub use fatal::fatal;
pub use files::rename;
pub use incoming::Incoming;
pub use log::{Done, Log, Meta};
pub use replacement::Replacement;
pub use small_file::SmallFile;
pub use snapshot_file::{
    SnapshotBodies, SnapshotContent, SnapshotHeader, SnapshotReader, SnapshotRows, SnapshotWriter, snapshot_name,
};
pub use space::Space;
pub use state_db::{Flush, StateDb, StateSnapshot, StillHeld, install_state, switch_state};
pub use wal::Wal;

/// Stands for an error of RocksDB. There is none.
#[derive(Debug, thiserror::Error)]
#[error("there is no database")]
pub struct Error;
