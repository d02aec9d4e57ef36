//! The node: one road from request to reply, the seal, and what a leader does by itself.
//!
//! What it guarantees:
//! - Every answer that carries anything of the store leaves after its audit record was committed by a quorum, in the leadership that
//!   took the view, and applied with its fence intact.
//! - Every failure says whether the request certainly was not applied or whether that is unknown.
//! - Plans are made one after the other, each on the state with all plans before it, so conflicts come only with a new leader.
//!
//! What it does not do: know gRPC, RocksDB or openraft. Start reading at `pipeline.rs`.

mod admission;
mod allow;
mod audit_archive;
mod audit_floor;
mod audit_log;
mod audit_query;
mod audit_tree;
mod auth_cache;
mod authorize;
mod beside;
mod browser;
pub mod ceremony;
mod certificates;
mod checkpoints;
mod clocks;
mod cluster_seal;
mod dedup;
mod duties;
pub mod erasure;
mod expiry;
mod failure;
pub mod fuzzing;
mod genesis;
mod identity;
pub mod keys;
mod logins;
pub mod look;
mod looks;
pub mod method;
mod mounts;
mod namespaces;
mod node;
mod operation;
mod ops;
mod outside;
pub mod passwords;
mod pipeline;
mod planner;
pub mod quotas;
mod record;
mod recovered;
mod refusals;
mod reply;
mod request;
mod restored;
mod rooms;
mod scope;
mod seal;
mod sent;
mod sequencer;
mod stack;
mod time;
mod unsealing;
mod vouchers;

pub use audit_archive::{ARCHIVE_RECORDS, archive_end};
pub use audit_floor::{AuditPrune, Before};
pub use audit_log::AuditRow;
pub use audit_query::{AuditQuery, Moment};
pub use audit_tree::{AuditProof, HashStore, MemoryHashes, ProofAsk};
pub use duties::{run as run_duties, step_aside};
pub use failure::{Class, Failure, OutcomeClass, Position};
pub use genesis::{GenesisFacts, InitError, InitOptions, Initialised, genesis_facts, initialise};
pub use mounts::{MountInfo, MountOptions, MountRow, MountTable};
pub use namespaces::only_in_root;
pub use node::Node;
pub use operation::{Contents, ExplainAsk, LogicalAsk, MountChange, NoRoute, Operation, TokenName, Whose};
pub use ops::auth_methods;
pub use outside::{
    AskDirectory, AskPeer, AskWeb, DirectoryAnswer, DirectoryError, JoinRequest, Outside, OwnRoom, PeerState, SignNode,
    WebAnswer, WebBody, WebCredential, WebError, WebRequest, no_directory, no_web,
};
pub use recovered::{Discontinuity, OfflineSeal, Quarantine};
pub use reply::{Answer, Joined, Reply};
pub use request::{Consistency, Evidence, Request};
pub use restored::{NewIdentity, RestoredFrom};
pub use seal::{KeySeals, KeyUnsealError, SealInfo, SealStatus, UnsealError, is_confirmed};
pub use sent::Sent;
pub use unsealing::{Opened, UnsealReport};
