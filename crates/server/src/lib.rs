//! The server: configuration, listeners, services, and the wiring of everything below.
//!
//! What it guarantees: every listener is bounded in connections, message size and time; whatever a client sends is checked before it
//! reaches the pipeline; no name, value or token reaches a log or metric.
//! What it does not do: decide anything. The pipeline (aumbry-node) does.

mod archive;
mod auto_unseal;
mod certificate;
mod check;
pub mod config;
mod convert;
mod directory;
mod disk;
mod erasing;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod harden;
mod health;
mod holding;
mod http;
mod key_file;
mod lifecycle;
mod logical;
mod machine;
mod media;
mod member;
mod metrics;
mod outgoing;
mod recovering;
mod restoring;
mod run;
mod seals;
mod services;
mod sink;
mod telemetry;
mod ticket;
mod tls;
mod tree;
mod unseal_records;
mod vault;
mod web;

/// What is done with the data directory of a node that does not run.
pub mod offline {
    pub use aumbry_raft::{Inspection, Remedy, discard, inspect, repair};
    pub use aumbry_storage::check::{Finding, Part};
}

pub use aumbry_node::{Quarantine, SealStatus, UnsealError};
pub use aumbry_state::{Member, Status};
pub use aumbry_storage::{Backup, Manifest, StorageError};
pub use check::{Check, Finding, check};
pub use harden::harden;
pub use key_file::{KeyFileError, read as read_key_file};
pub use recovering::{Look, RecoverError, Recovered, Survivor};
pub use run::{RunError, run};
pub use seals::{SealSource, SealSourceError};
