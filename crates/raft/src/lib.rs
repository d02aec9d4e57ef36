//! Consensus: everything that knows openraft. To the rest of Aumbry it is an [`aumbry_state::Consensus`].
//!
//! What it guarantees:
//! - A proposal is bound to the leadership that took the view it was planned on, and is answered once it is applied here.
//! - A vote or entry is acknowledged only once it is on this node's disk, in the order of the log.
//! - Peers talk over TLS 1.3 with keys that the membership record pins; a caller is known before its message is read.
//! - An error of consensus or storage that cannot be survived ends the process.
//!
//! What it does not do: look into entries, which are opaque, or hold any key of the store.

mod acknowledged;
mod admission;
mod campaign;
mod coalesced;
mod compaction;
mod consistency;
mod contact;
mod convert;
#[doc(hidden)]
pub mod fuzzing;
mod heard;
mod identity;
mod inspect;
mod log_store;
mod members;
mod network;
mod node;
mod peers;
pub mod pki;
mod propose;
mod rebuild;
mod recover;
mod remains;
mod restore;
mod room;
mod service;
mod snapshots;
mod state_machine;
#[cfg(test)]
mod suite;
mod tls;
mod transfer;
mod types;
mod vacancy;

pub use acknowledged::{RolledBack, rolled_back};
pub use consistency::{prepare, refuse_loss};
pub use identity::{Identity, IdentityError};
pub use inspect::{Inspection, Remedy, discard, inspect, repair};
pub use node::{Config, Forward, ForwardError, Handlers, PeerStatus, RaftNode, StartError};
pub use recover::{RecoverError, recover};
pub use remains::{Remains, RemainsError};
pub use restore::{discard_unfinished, restore};
pub use room::room_to_wire;
pub use tls::TlsError;
