//! The audit trail: what one request meant to do, what became of it, and how anybody proves that nothing is missing.
//!
//! The path of one request through this crate:
//!
//! 1. The leader writes a [`Record`], the *intent*: who, what, which policies decided, digests of the values.
//! 2. It makes a salted [`commitment`] to the record, which stands in clear in the log entry, and seals all
//!    records of the entry in one [`blob`].
//! 3. Apply, which has no key, adds the outcome and hashes each command into a [`Leaf`] of a Merkle tree
//!    (RFC 6962). It keeps the [`Frontier`] of the tree with the data and appends a [`Body`] to the audit segments.
//! 4. An unsealed node signs a [`Checkpoint`] of the tree and writes an [`export`], which anybody verifies offline and
//!    without a key. One record alone is disclosed with a [`proof`].
//!
//! # Invariants
//!
//! - Every encoding here has exactly one form: what decodes also re-encodes to the same bytes. Decoding never panics.
//! - A record in clear exists only inside an AEAD or in memory of an unsealed node. A value from a request is in a
//!   record as a digest unless its field was allow-listed by the caller.
//! - The whole crate is pure: no clock, no random source of its own, no files, no threads.
//!
//! # What it does not do
//!
//! - It does not decide what is allow-listed; the request pipeline does.
//! - It does not notice a fork by an attacker who holds an unsealed leader and its checkpoint key. Only a witness that
//!   keeps checkpoints elsewhere does, with [`proof::Consistency`].
//! - It does not delete: retention is a command of the state machine, which leaves a [`Floor`] behind.

pub mod blob;
pub mod export;
pub mod filter;
pub mod format;
pub mod proof;
pub mod text;

mod body;
mod checkpoint;
mod codec;
mod commitment;
mod event;
mod floor;
use aumbry_types::hex;
mod leaf;
mod merkle;
mod receipt;
mod record;
mod shown;

pub use body::Body;
pub use checkpoint::{Checkpoint, CheckpointError, NOTE_BYTES_MAX, public_key};
pub use commitment::{clear_commitment, commitment, redact};
pub use filter::{Filter, PathFilter, host};
pub use floor::{Floor, Grown};
pub use leaf::{Leaf, Outcome};
pub use merkle::Frontier;
pub use receipt::{RECEIPT_BYTES_MAX, Receipt};
pub use record::{Decision, Field, Principal, Record};
pub use shown::{Place, shown};
