use std::fmt;

use super::QuorumTree;

impl<ID> fmt::Display for QuorumTree<ID>
where ID: Ord + fmt::Display
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.spec, f)
    }
}
