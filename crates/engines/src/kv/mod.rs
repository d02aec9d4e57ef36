//! KV, version 2: secrets with versions, check-and-set, soft delete and metadata.
//!
//! A secret is one metadata row and one row a version. Directories come with the first secret below them and vanish with the last.

mod data;
mod metadata;
mod plan;
mod request;
mod tree;
mod versions;

pub use data::DataError;
pub use metadata::{Metadata, VersionState};
pub use plan::plan;
pub use request::{Error, Item, MetadataChange, Reply, Request, VersionInfo, access};
