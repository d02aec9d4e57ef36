//! `quorum-set` 0.2.3 with one fault put back into it, to see whether the simulation finds it. Nothing else may depend on this copy: its only
//! change is marked in `progress/vec_progress.rs`. Tests, benchmarks and the readme of the original are left out.

pub use progress::DisplayVecProgress;
pub use progress::IdVal;
pub use progress::VecProgress;
pub use progress::VecProgressEntry;
pub use progress::VecProgressEntryData;
pub use quorum::BothQuorums;
pub use quorum::QuorumBridge;
pub use quorum::QuorumIntersection;
pub use quorum::QuorumSet;
pub use quorum::ReadOrBoth;
pub use quorum::verify_intersection;
pub use tree::CanonicalId;
pub use tree::Node;
pub use tree::QuorumTree;
pub use tree::QuorumTreeError;

mod progress;
mod quorum;
mod tree;
