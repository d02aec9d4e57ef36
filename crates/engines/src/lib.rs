//! Secrets engines, one folder each. An engine plans: it reads and writes through a [`aumbry_barrier::Txn`] and gives a reply.
//!
//! What an engine guarantees: its plan depends on nothing but the request and the transaction (state, log time, randomness).
//! What it does not do: authenticate, decide, audit, wait, or reach outside of the store.

pub mod kv;
