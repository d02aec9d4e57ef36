//! JWT: whose tokens are taken, and what is demanded of them.

mod bed;
mod browser;
#[path = "../../../barrier/tests/common/mod.rs"]
mod common;
mod logins;
mod paths;
#[path = "signer.rs"]
mod signer;
