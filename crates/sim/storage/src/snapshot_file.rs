//! The snapshot files of `crates/storage`, as they are.

#[path = "../../../storage/src/snapshot_file/content.rs"]
mod content;
#[path = "../../../storage/src/snapshot_file/format.rs"]
mod format;
#[path = "../../../storage/src/snapshot_file/name.rs"]
mod name;
#[path = "../../../storage/src/snapshot_file/reader.rs"]
mod reader;
#[path = "../../../storage/src/snapshot_file/writer.rs"]
mod writer;

pub use content::SnapshotContent;
pub use format::SnapshotHeader;
pub use name::snapshot_name;
pub use reader::{SnapshotBodies, SnapshotReader, SnapshotRows};
pub use writer::SnapshotWriter;
