use std::collections::BTreeSet;
use std::collections::btree_set;

use crate::quorum::BothQuorums;
use crate::quorum::QuorumSet;

/// A quorum rule that is either a read rule alone or a [`BothQuorums`].
///
/// A consensus election picks the variant by how it orders leaders:
///
/// - With totally ordered ballots, as in Paxos, use [`Read`](Self::Read). Two leaders always differ
///   in ballot, and a voter rejects entries from a ballot smaller than one it granted. So read
///   quorums need to intersect only write quorums.
/// - When two leaders of one term are not ordered, as in Raft, use [`Both`](Self::Both). Any two
///   winning vote sets must then intersect, but two read quorums may be disjoint.
///
/// [`ids()`](QuorumSet::ids) returns the read IDs for `Read`, and the union of the read and write
/// IDs for `Both`, each ID once.
#[derive(Clone, Debug)]
pub enum ReadOrBoth<R, W> {
    /// Accepts an ID set when the read rule accepts it.
    Read(R),

    /// Accepts an ID set when both the read rule and the write rule accept it.
    Both(BothQuorums<R, W>),
}

impl<R, W> QuorumSet for ReadOrBoth<R, W>
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
        match self {
            Self::Read(read) => read.is_quorum(ids),
            Self::Both(both) => both.is_quorum(ids),
        }
    }

    fn ids(&self) -> Self::Iter {
        match self {
            Self::Read(read) => {
                let ids = read.ids().collect::<BTreeSet<_>>();
                ids.into_iter()
            }
            Self::Both(both) => both.ids(),
        }
    }
}
