//! Consensus: everything that knows openraft. To the rest of Aumbry it is an [`aumbry_state::Consensus`].
//!
//! What it guarantees:
//! - A proposal is bound to the leadership that took the view it was planned on, and is answered once it is applied here.
//! - A vote or entry is acknowledged only once it is on this node's disk, in the order of the log.
//! - Peers talk over TLS 1.3 with keys that the membership record pins; a caller is known before its message is read.
//! - An error of consensus or storage that cannot be survived ends the process.
//!
//! What it does not do: look into entries, which are opaque, or hold any key of the store.

// A simulation compiles this crate a second time, without what looks at a node that is down.
#![cfg_attr(aumbry_sim, allow(dead_code))]

mod acknowledged;
mod admission;
mod campaign;
mod coalesced;
mod compaction;
mod consistency;
mod contact;
mod convert;
mod erase;
#[doc(hidden)]
pub mod fuzzing;
mod heard;
mod identity;
#[cfg(not(aumbry_sim))]
mod inspect;
mod log_store;
mod members;
mod network;
mod node;
mod peers;
pub mod pki;
mod propose;
mod rebuild;
#[cfg(not(aumbry_sim))]
mod recover;
#[cfg(not(aumbry_sim))]
mod remains;
#[cfg(not(aumbry_sim))]
mod restore;
mod room;
mod service;
mod snapshots;
mod state_machine;
#[cfg(test)]
mod suite;
#[cfg_attr(aumbry_sim, path = "../../sim/raft/tls.rs")]
mod tls;
mod transfer;
mod types;
mod vacancy;

pub use acknowledged::{RolledBack, rolled_back};
pub use consistency::{prepare, refuse_loss};
pub use erase::{Erasure, erased_to_wire};
pub use identity::{Identity, IdentityError};
#[cfg(not(aumbry_sim))]
pub use inspect::{Inspection, Remedy, discard, inspect, repair};
pub use node::{Config, Forward, ForwardError, Handlers, PeerStatus, RaftNode, StartError};
#[cfg(not(aumbry_sim))]
pub use recover::{RecoverError, recover};
#[cfg(not(aumbry_sim))]
pub use remains::{Remains, RemainsError};
#[cfg(not(aumbry_sim))]
pub use restore::{discard_unfinished, restore};
pub use room::room_to_wire;
pub use tls::TlsError;
