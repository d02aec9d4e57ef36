//! A root token, made by as many holders of key shares as open the seal: for when there is none that anybody holds.
//!
//! ```text
//! attempt -> a one-time pad -> shares, as many as open the seal -> the token, hidden by the pad
//! ```
//!
//! What it guarantees, beside what holds of all [`ceremonies`](super):
//! - Nobody begins, watches or ends an attempt who shows neither a share of the seal nor a token with `sudo`. A request that shows a share takes no token: there
//!   may be none any more.
//! - The token is made in the entry that ends the attempt, and its accessor is on record. Whoever shows the last share sees it hidden by the pad, which whoever
//!   began was told and nobody else.

mod plan;
mod request;
mod session;

pub(crate) use plan::{plan, prove};
pub use request::{Asking, Custodian, Request, Step};
