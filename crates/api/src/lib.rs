//! The wire protocols, generated from `proto/`, and what ties them together.
//!
//! What it guarantees: no generated message has `Debug`, as many carry secrets.
//! What it does not do: check anything; the server does that where it turns messages into requests.

mod failure;
mod operation;
mod tries;

pub use failure::{code_name, failure_in, failure_of, status_of};
pub use operation::{Operation, Reply};
pub use tries::Tries;

/// What clients speak, as a set of file descriptors without those of what nodes speak among themselves.
pub const FILE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/aumbry.v1.bin"));

/// What clients speak.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unused_qualifications,
    unreachable_pub,
    elided_lifetimes_in_paths
)]
pub mod v1 {
    tonic::include_proto!("aumbry.v1");
}

/// What nodes speak among themselves.
pub mod peer {
    /// Version 1.
    #[allow(
        missing_docs,
        clippy::all,
        clippy::pedantic,
        unused_qualifications,
        unreachable_pub,
        elided_lifetimes_in_paths
    )]
    pub mod v1 {
        tonic::include_proto!("aumbry.peer.v1");
    }
}
