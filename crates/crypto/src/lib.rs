//! The cryptography of Aumbry: envelopes, keys and their derivation, shares, tokens, signatures. The only crate that
//! calls a cipher.
//!
//! What it guarantees:
//! - Every message is sealed by AES-256-GCM under a key of its own and commits to the key that it was sealed with.
//! - One key serves one purpose: what is long-lived is only ever the input of a labelled derivation.
//! - A byte format is canonical and versioned: one value has one encoding, and trailing bytes are refused. The formats
//!   are frozen by tests.
//! - No type with a secret has `Debug`, `Clone` or `PartialEq`; secrets are compared in constant time, and buffers that
//!   held them are wiped.
//!
//! What it does not do: choose when keys rotate, store anything, know about time, or do I/O. Randomness is injected. It
//! does not clear the stack: the libraries below it leave copies of intermediate values there, until it is reused.

mod codec;
mod hash;
mod primitives;
mod shamir;

pub mod envelope;
pub mod jws;
pub mod keyring;
pub mod lthash;
pub mod password;
pub mod recipient;
pub mod seal;
pub mod share;
pub mod signature;
pub mod token;
pub mod totp;
pub mod two_layer;

pub use hash::{HashKind, derive_key, equal, mac, mac16, sha256};

#[cfg(test)]
mod testing;
