//! The vocabulary of Aumbry: ids, paths, times, capabilities, secrets, and the two injected sources, clock and entropy.
//!
//! What it guarantees: a value of one of these types is valid, because only a parsing constructor makes one.
//! What it does not do: any I/O (but the system clock and entropy), any cryptography, any policy.

mod capability;
mod clock;
mod duration;
mod entropy;
pub mod hex;
mod ids;
mod locked;
mod namespace;
mod path;
pub mod percent;
mod secret;

pub use capability::{Capabilities, Capability, UnknownCapability};
pub use clock::{Clock, LogTime, SimulatedClock, SystemClock, WallTime};
pub use duration::{DurationError, format_duration, parse_duration};
pub use entropy::{Entropy, SimulatedEntropy, SystemEntropy};
pub use ids::{ClusterId, CommandId, IdError, LeaderId, LogId, LogIndex, NodeId, ObjectId, RequestId, StorageId, Term};
pub use locked::{KeyMemory, key_memory};
pub use namespace::{NAMESPACE_DEPTH_MAX, NamespaceError, NamespacePath};
pub use path::{MountPath, Name, NameError, PathError, SecretPath};
pub use secret::{SecretBytes, SecretKey, exposed};
