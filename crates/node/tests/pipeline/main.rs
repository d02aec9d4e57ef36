//! The whole road from request to reply, on the in-memory consensus.

mod audits;
mod bed;
mod cluster_seal;
mod costs;
mod generate_root;
mod housekeeping;
mod keys;
mod namespaces;
mod numbers;
mod people;
mod rekey;
mod replays;
mod requests;
mod retention;
mod rules;
mod seals;
mod told;
mod transparency;
mod trouble;
