//! Userpass: who gets in, who is locked, and what is told.

mod bed;
#[path = "../../../barrier/tests/common/mod.rs"]
mod common;
mod logins;
mod paths;
