//! Proofs made from stored hashes, without all leaves: the hashes of complete subtrees, in tiles.
//!
//! A tile is up to [`TILE`] neighbouring hashes of one tier. Tier 0 holds the leaves; each hash of a higher one is the root of a whole
//! tile of the tier below (the shape of C2SP `tlog-tiles`). A proof reads at most two tiles a tier, so its cost grows with the height of
//! the tree and not with its size.
//!
//! What it guarantees: a proof made here is the one that [`Inclusion::prove`] and [`Consistency::prove`] make of all leaves, if the hashes
//! are right. What it does not do: check them. Whoever stores them verifies what was made before it is given to anybody.
//!
//! Where records were pruned before their hashes were known, [`UNKNOWN`] stands for these. The [`Frontier`] of what was pruned gives what a proof about
//! later records needs of them, and none is made about them.

use std::collections::BTreeMap;

use super::{Consistency, Inclusion};
use crate::Frontier;
use crate::merkle::node_hash;

/// The number of hashes in a whole tile.
pub const TILE: u64 = 256;
/// Stands for a hash that nobody here knows: of records that were pruned. No input is known that hashes to it.
pub const UNKNOWN: [u8; 32] = [0; 32];
/// The levels of the tree from one tier to the next.
const TILE_LEVELS: u32 = 8;

/// The tree at one size, read from stored hashes.
pub struct Stored<F> {
    size: u64,
    /// Gives the first so many hashes of a tile, by tier and position.
    read: F,
    /// The tiles that were read already: a proof takes several hashes of most of them.
    tiles: BTreeMap<(u32, u64), Vec<[u8; 32]>>,
    /// The tree of what was pruned.
    below: Frontier,
}

impl<F, E> Stored<F>
where
    F: FnMut(u32, u64, u64) -> Result<Vec<[u8; 32]>, E>,
{
    /// The tree with so many leaves. `read` gives, for a tier, the position of a tile in it and a number, so many hashes from the
    /// beginning of that tile; they are of subtrees that are complete at this size.
    pub const fn new(size: u64, read: F) -> Self {
        Self {
            size,
            read,
            tiles: BTreeMap::new(),
            below: Frontier::new(),
        }
    }

    /// As it is, where all records of this tree were pruned.
    #[must_use]
    pub fn above(mut self, below: Frontier) -> Self {
        self.below = below;
        self
    }

    /// The tree over the first so many leaves, to be appended to. `None` as [`Self::leaf`].
    ///
    /// # Errors
    /// That of reading.
    pub fn frontier(&mut self, size: u64) -> Result<Option<Frontier>, E> {
        if size > self.size {
            return Ok(None);
        }
        Frontier::of_subtrees(size, |level, position| self.node(level, position))
    }

    /// The hash at a position of a tier, made of those below if it is not stored. `None` as [`Self::leaf`].
    ///
    /// # Errors
    /// That of reading.
    pub fn hash(&mut self, tier: u32, position: u64) -> Result<Option<[u8; 32]>, E> {
        self.node(TILE_LEVELS * tier, position)
    }

    /// The hash of a leaf. `None` if the tree has no such leaf, or fewer hashes were given than asked.
    ///
    /// # Errors
    /// That of reading.
    pub fn leaf(&mut self, seq: u64) -> Result<Option<[u8; 32]>, E> {
        if seq >= self.size {
            return Ok(None);
        }
        self.node(0, seq)
    }

    /// The root of the tree over the first so many leaves. `None` as [`Self::leaf`].
    ///
    /// # Errors
    /// That of reading.
    pub fn root(&mut self, size: u64) -> Result<Option<[u8; 32]>, E> {
        if size > self.size {
            return Ok(None);
        }
        match size {
            0 => Ok(Some(Frontier::new().root())),
            _ => self.range(0, size),
        }
    }

    /// Proves a leaf of the tree over the first `size` leaves. `None` as [`Self::leaf`].
    ///
    /// # Errors
    /// That of reading.
    pub fn inclusion(&mut self, seq: u64, size: u64) -> Result<Option<Inclusion>, E> {
        if seq >= size || size > self.size {
            return Ok(None);
        }
        let mut path = Vec::new();
        let (mut start, mut end) = (0, size);
        while end - start > 1 {
            let middle = middle(start, end);
            let beside = if seq < middle { (middle, end) } else { (start, middle) };
            let Some(hash) = self.range(beside.0, beside.1)? else {
                return Ok(None);
            };
            path.push(hash);
            (start, end) = if seq < middle { (start, middle) } else { (middle, end) };
        }
        // It was walked from the root; a proof begins at the leaf.
        path.reverse();
        Ok(Some(Inclusion { seq, size, path }))
    }

    /// Proves that the tree over the first `new_size` leaves begins with that over the first `old_size`. `None` as [`Self::leaf`].
    ///
    /// # Errors
    /// That of reading.
    pub fn consistency(&mut self, old_size: u64, new_size: u64) -> Result<Option<Consistency>, E> {
        if old_size > new_size || new_size > self.size {
            return Ok(None);
        }
        let mut path = Vec::new();
        if old_size > 0 && old_size < new_size {
            let (mut start, mut end) = (0, new_size);
            while old_size != end {
                let middle = middle(start, end);
                let beside = if old_size <= middle {
                    (middle, end)
                } else {
                    (start, middle)
                };
                let Some(hash) = self.range(beside.0, beside.1)? else {
                    return Ok(None);
                };
                path.push(hash);
                (start, end) = if old_size <= middle {
                    (start, middle)
                } else {
                    (middle, end)
                };
            }
            // The verifier knows the root of the older tree if that is what is left.
            if start > 0 {
                let Some(hash) = self.range(start, end)? else {
                    return Ok(None);
                };
                path.push(hash);
            }
            path.reverse();
        }
        Ok(Some(Consistency {
            old_size,
            new_size,
            path,
        }))
    }

    /// The root over a range of leaves as the tree divides them: it begins at a multiple of the smallest power of two that holds it.
    fn range(&mut self, start: u64, end: u64) -> Result<Option<[u8; 32]>, E> {
        // From the right: the smallest complete subtrees are the last.
        let (mut end, mut right) = (end, None);
        while end > start {
            let level = (end - start).trailing_zeros();
            let first = end - (1 << level);
            let Some(left) = self.node(level, first >> level)? else {
                return Ok(None);
            };
            right = Some(right.map_or(left, |right| node_hash(&left, &right)));
            end = first;
        }
        Ok(right)
    }

    /// The root of a complete subtree: its level, and its position among those of that level.
    fn node(&mut self, level: u32, position: u64) -> Result<Option<[u8; 32]>, E> {
        let (tier, above) = (level / TILE_LEVELS, level % TILE_LEVELS);
        let first = position << above;
        let tile = first / TILE;
        if !self.tiles.contains_key(&(tier, tile)) {
            let known = (self.size >> (TILE_LEVELS * tier)).saturating_sub(tile * TILE);
            let hashes = (self.read)(tier, tile, known.min(TILE))?;
            let _ = self.tiles.insert((tier, tile), hashes);
        }
        // Both are below the size of a tile.
        let (offset, count) = ((first % TILE) as usize, 1_usize << above);
        let hashes = self.tiles.get(&(tier, tile));
        let stored = hashes
            .and_then(|hashes| hashes.get(offset..offset + count))
            .filter(|hashes| !hashes.contains(&UNKNOWN))
            .map(root_of);
        if stored.is_some() {
            return Ok(stored);
        }
        if let Some(peak) = self.below.peak(level, position) {
            return Ok(Some(peak));
        }
        let is_at_edge = position << level < self.below.size() && (position + 1) << level > self.below.size();
        if !is_at_edge {
            return Ok(None);
        }
        // At level 0 nothing is at an edge.
        let Some(left) = self.node(level - 1, 2 * position)? else {
            return Ok(None);
        };
        let right = self.node(level - 1, 2 * position + 1)?;
        Ok(right.map(|right| node_hash(&left, &right)))
    }
}

/// The root over the leaves, or subtrees of one height, with these hashes.
#[must_use]
pub fn root_of(hashes: &[[u8; 32]]) -> [u8; 32] {
    let mut tree = Frontier::new();
    hashes.iter().for_each(|hash| tree.push(*hash));
    tree.root()
}

/// Where a range of two or more leaves is divided: after the largest power of two that leaves something on the right.
const fn middle(start: u64, end: u64) -> u64 {
    start + (end - start).next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::merkle::tests::leaves;

    /// The tiers over these leaves, whole tiles alone.
    fn tiers(leaves: &[[u8; 32]]) -> Vec<Vec<[u8; 32]>> {
        let mut tiers = vec![leaves.to_vec()];
        while tiers.last().unwrap().len() >= 256 {
            let below = tiers.last().unwrap();
            tiers.push(below.chunks_exact(256).map(root_of).collect());
        }
        tiers
    }

    /// Reads from tiers in memory.
    fn reader(tiers: &[Vec<[u8; 32]>]) -> impl FnMut(u32, u64, u64) -> Read {
        |tier, tile, count| {
            let first = (tile * TILE) as usize;
            Ok(tiers[tier as usize][first..first + count as usize].to_vec())
        }
    }

    type Read = Result<Vec<[u8; 32]>, Infallible>;

    #[test]
    fn every_proof_is_that_of_all_leaves() {
        let all = leaves(1_100);
        let tiers = tiers(&all);
        let sizes = (1..=40).chain([255, 256, 257, 511, 512, 513, 700, 768, 1_023, 1_024, 1_025, 1_100]);
        for size in sizes {
            let (tree, count) = (&all[..size], size as u64);
            let mut stored = Stored::new(1_100, reader(&tiers));
            assert_eq!(stored.root(count).unwrap(), Some(root_of(tree)), "{size}");
            let step = if size > 300 { 7 } else { 1 };
            for seq in (0..count).step_by(step).chain([count - 1]) {
                let expected = Inclusion::prove(tree, seq);
                assert_eq!(stored.inclusion(seq, count).unwrap(), expected, "{seq} of {size}");
                assert_eq!(stored.leaf(seq).unwrap(), Some(all[seq as usize]));
            }
            for old in (0..=count).step_by(step).chain([count]) {
                let expected = Consistency::prove(tree, old);
                assert_eq!(stored.consistency(old, count).unwrap(), expected, "{old} in {size}");
            }
        }
    }

    #[test]
    fn a_third_tier_is_read_and_little_else() {
        let all = leaves(70_000);
        let tiers = tiers(&all);
        assert_eq!(tiers.len(), 3);
        for (seq, size, old) in [(0, 70_000, 65_536), (69_999, 70_000, 1), (65_535, 65_537, 65_535)] {
            let mut reads = 0;
            let mut stored = Stored::new(70_000, |tier: u32, tile: u64, count: u64| {
                reads += 1;
                let first = (tile * TILE) as usize;
                Ok::<_, Infallible>(tiers[tier as usize][first..first + count as usize].to_vec())
            });
            let tree = &all[..size as usize];
            assert_eq!(stored.inclusion(seq, size).unwrap(), Inclusion::prove(tree, seq));
            assert_eq!(stored.consistency(old, size).unwrap(), Consistency::prove(tree, old));
            drop(stored);
            assert!(reads <= 3 * 3, "{reads} tiles for three tiers and three places");
        }
    }

    /// Whatever was pruned, what is after it is proved as from all leaves, and what is below is not, but for what others know of it.
    #[test]
    fn above_a_floor_every_proof_is_that_of_all_leaves() {
        let all = leaves(3_000);
        let whole = tiers(&all);
        for floor in [256, 512, 768, 1_024, 1_280, 2_304, 2_816] {
            let below = Frontier::of_subtrees(floor, |level, position| {
                let first = (position << level) as usize;
                Ok::<_, Infallible>(Some(root_of(&all[first..first + (1 << level)])))
            });
            let below = below.unwrap().unwrap();
            assert_eq!(below.root(), root_of(&all[..floor as usize]));
            let mut tiers = whole.clone();
            tiers[0][..floor as usize].fill(UNKNOWN);
            tiers[1][..floor as usize / 256].fill(UNKNOWN);
            let mut stored = Stored::new(3_000, reader(&tiers)).above(below.clone());
            assert_eq!(stored.frontier(floor).unwrap(), Some(below));
            for size in [floor, floor + 1, floor + 255, 2_900, 2_999, 3_000] {
                let size = size.min(3_000);
                let tree = &all[..size as usize];
                assert_eq!(stored.root(size).unwrap(), Some(root_of(tree)), "{floor} {size}");
                for seq in (floor..size).step_by(97) {
                    let expected = Inclusion::prove(tree, seq);
                    assert_eq!(stored.inclusion(seq, size).unwrap(), expected, "{floor} {seq} {size}");
                }
                for old in (floor..=size).step_by(89) {
                    let expected = Consistency::prove(tree, old);
                    assert_eq!(stored.consistency(old, size).unwrap(), expected, "{floor} {old} {size}");
                }
                assert_eq!(stored.inclusion(floor - 1, size).unwrap(), None);
            }
            assert_eq!(stored.leaf(floor - 1).unwrap(), None);
            assert_eq!(stored.root(floor - 1).unwrap(), None);
        }
    }

    #[test]
    fn a_higher_tier_is_made_over_the_edge() {
        let all = leaves(66_000);
        let tiers = tiers(&all);
        let below = Frontier::of_subtrees(1_280, |level, position| {
            let first = (position << level) as usize;
            Ok::<_, Infallible>(Some(root_of(&all[first..first + (1 << level)])))
        });
        let mut known = tiers.clone();
        known[1][..5].fill(UNKNOWN);
        known[2].clear();
        let mut stored = Stored::new(65_536, |tier: u32, tile: u64, _: u64| {
            Ok::<_, Infallible>(
                known[tier as usize]
                    .iter()
                    .skip((tile * TILE) as usize)
                    .copied()
                    .collect(),
            )
        })
        .above(below.unwrap().unwrap());
        assert_eq!(stored.hash(2, 0).unwrap(), Some(tiers[2][0]));
        assert_eq!(
            stored.hash(1, 4).unwrap(),
            Some(tiers[1][4]),
            "it is a subtree of its own"
        );
        assert_eq!(stored.hash(1, 3).unwrap(), None);
    }

    #[test]
    fn what_is_not_there_is_not_proved() {
        let all = leaves(300);
        let tiers = tiers(&all);
        let mut stored = Stored::new(300, reader(&tiers));
        assert_eq!(stored.leaf(300).unwrap(), None);
        assert_eq!(stored.root(301).unwrap(), None);
        assert_eq!(stored.inclusion(5, 5).unwrap(), None);
        assert_eq!(stored.inclusion(5, 301).unwrap(), None);
        assert_eq!(stored.consistency(6, 5).unwrap(), None);
        assert_eq!(stored.consistency(6, 301).unwrap(), None);
        assert_eq!(stored.root(0).unwrap(), Some(Frontier::new().root()));
        // A store that gives fewer than asked makes no proof, and no panic.
        let mut short = Stored::new(300, |_, _, _| Ok::<_, Infallible>(Vec::new()));
        assert_eq!(short.inclusion(5, 300).unwrap(), None);
        assert_eq!(short.consistency(5, 300).unwrap(), None);
        assert_eq!(short.root(300).unwrap(), None);
    }
}
