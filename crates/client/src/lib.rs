//! The Rust SDK: leader discovery, retry, TLS.
