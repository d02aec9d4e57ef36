//! Tonic, but for the date in its answers: hyper takes it from the machine's clock, unless there is one, and so the bytes on the wire would not follow
//! from the seed. `crates/raft` is compiled against it under the name `tonic`.

pub use tonic::*;

pub mod transport;
