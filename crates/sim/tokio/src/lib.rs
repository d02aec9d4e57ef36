//! Tokio, but for what a simulation must have in its own hands: connections, files, and the pool of threads that may block.
//!
//! `crates/raft` is compiled against it under the name `tokio`, unchanged. Work that may block is done on the one thread that there is, after a simulated
//! while, and nothing else happens meanwhile: so it is atomic, unless the process is to die at a place within it.

pub use tokio::*;

pub mod fs;
pub mod net;
pub mod task;
