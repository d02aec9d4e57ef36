//! Namespaces: tenants, each with mounts, auth methods, policies, tokens and identities of its own, below one another.
//!
//! What it guarantees: a namespace that is gone is gone at once, with all that is in it; what it leaves is swept. What it does not do: decide who reaches
//! which, or know engines, whose mounts are its caller's to look at and to sweep.

mod plan;
mod request;
mod row;

pub use plan::{Change, Place, created, exists, find, plan};
pub use request::Request;
