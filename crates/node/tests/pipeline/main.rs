//! The whole road from request to reply, on the in-memory consensus.

mod bed;
mod requests;
mod trouble;
