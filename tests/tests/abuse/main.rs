//! What an attacker or a mishap would do, over real processes: the numbered cases of `tests/ABUSE.md`, as far as no other test has them.
//!
//! A test of a case is named after its number. Tests that harm nobody share one cluster of three nodes.

mod audit;
mod bed;
mod floods;
mod mishaps;
mod paths;
mod peers;
mod permissions;
mod raw;
mod seal;
mod storage;
mod tokens;
mod transport;
