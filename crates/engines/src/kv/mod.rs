//! KV, versions 2 and 1. Version 2: secrets with versions, check-and-set, soft delete and metadata.
//!
//! A secret is one metadata row and one row a version. Directories come with the first secret below them and vanish with the last.

mod config;
mod data;
#[doc(hidden)]
pub mod fuzzing;
mod metadata;
mod plain;
mod plan;
mod request;
mod sweep;
mod tree;
mod versions;

pub use config::Config;
pub use data::DataError;
pub use metadata::{Metadata, VersionState};
pub use plain::{PlainRequest, plain_access, plan_plain};
pub use plan::plan;
pub use request::{ChangeForm, Error, Item, MetadataChange, Reply, Request, VersionInfo, access};
pub use sweep::{SWEEP_LABEL, Swept, disable, sweep};
