use std::collections::BTreeSet;
use std::collections::btree_set;

use crate::quorum::QuorumSet;
#[cfg(doc)]
use crate::verify_intersection;

/// A quorum rule that accepts an ID set only when both a read rule and a write rule accept it.
///
/// Two read quorums may be disjoint, and so may two write quorums. Every set this rule accepts is
/// both a read quorum and a write quorum. So when every read quorum intersects every write quorum,
/// any two accepted sets intersect; [`verify_intersection`] checks that condition. A consensus
/// election can use this rule, so that two candidates cannot both win in one term.
///
/// [`ids()`](QuorumSet::ids) returns the union of the read and write IDs, each ID once.
#[derive(Clone, Debug)]
pub struct BothQuorums<R, W> {
    read: R,
    write: W,
}

impl<R, W> BothQuorums<R, W> {
    /// Builds a rule that accepts an ID set only when both `read` and `write` accept it.
    pub fn new(read: R, write: W) -> Self {
        Self { read, write }
    }
}

impl<R, W> QuorumSet for BothQuorums<R, W>
where
    R: QuorumSet,
    W: QuorumSet<Id = R::Id>,
    R::Id: Ord,
{
    type Id = R::Id;
    type Iter = btree_set::IntoIter<R::Id>;

    fn is_quorum<'a, I>(&self, ids: I) -> bool
    where
        Self::Id: 'a,
        I: Iterator<Item = &'a Self::Id> + Clone,
    {
        let is_read_quorum = self.read.is_quorum(ids.clone());
        is_read_quorum && self.write.is_quorum(ids)
    }

    fn ids(&self) -> Self::Iter {
        let mut ids = BTreeSet::new();
        ids.extend(self.read.ids());
        ids.extend(self.write.ids());
        ids.into_iter()
    }
}
