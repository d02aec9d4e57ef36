pub use canonical_id::CanonicalId;
pub use quorum_node::Node;
pub use quorum_tree::QuorumTree;
pub use tree_error::QuorumTreeError;

mod canonical_id;
mod quorum_node;
mod quorum_tree;
mod tree_error;
mod tree_spec;
