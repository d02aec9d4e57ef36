//! AppRole: what a role gives, how often, how long, from where, and what is told of a refusal.

mod bed;
#[path = "../../../barrier/tests/common/mod.rs"]
mod common;
mod logins;
mod paths;
