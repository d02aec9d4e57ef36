//! A quorum is a set of nodes a vote request or append-entries request has to contact to.
//! The most common quorum is **majority**.
//! A quorum set is a collection of quorums, e.g., the quorum set of the majority of `{a,b,c}` is
//! `{a,b}, {b,c}, {a,c}`.

mod both_quorums;
mod quorum_intersection;
mod quorum_intersection_impl;
mod quorum_set;
mod quorum_set_impl;
mod read_or_both;

pub use both_quorums::BothQuorums;
pub use quorum_intersection::QuorumBridge;
pub use quorum_intersection::QuorumIntersection;
pub use quorum_intersection::verify_intersection;
pub use quorum_set::QuorumSet;
pub use read_or_both::ReadOrBoth;
