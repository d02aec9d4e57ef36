//! The replicated state machine: what an entry is, how it changes the state, and the seam to consensus.
//!
//! What it guarantees:
//! - **Apply is pure and total.** State and bytes in, rows and outcomes out; no key, clock, randomness or I/O. The same log gives
//!   the same rows, audit root and state digest on every node, bit for bit, however it is cut into entries and calls.
//! - **Apply knows no engine.** It sees ciphertext, clear headers, and two closed sets: preconditions and writes.
//! - **A change and its audit leaf are one.** Every command, applied or refused, becomes a leaf with its outcome.
//!
//! What it does not do: decide who may do what (the leader did), encrypt (the barrier did), store (the storage crate does).

pub mod codec;
mod command;
mod consensus;
mod container;
mod entry;
mod execute;
mod floor;
pub mod key;
mod local;
mod machine;
mod merge;
mod overlay;
mod row;
mod touched;
mod view;

pub use aumbry_audit::Outcome;
pub use command::{Command, Counters, Precondition, Put, Slot, Write};
pub use consensus::{
    Campaign, Change, Committed, Consensus, Erased, Member, MembershipError, Obstacle, ProposeError, Room, Status,
};
pub use container::ContainerState;
pub use entry::{APPLY_VERSION, Entry, EntryError, EntryHeader};
pub use execute::{At, execute, execute_after};
pub use floor::{audit_floor, floor_in};
pub use local::Local;
pub use machine::{Applied, ApplyError, EntryResult, Input, LoadError, Machine, Payload};
pub use merge::merge_scan;
pub use overlay::Overlay;
pub use row::{Rev, Row};
pub use touched::Reads;
pub use view::{MemoryView, View};
