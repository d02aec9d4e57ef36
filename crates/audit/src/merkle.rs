//! The Merkle tree of RFC 6962 section 2.1, kept as its frontier: the roots of its complete subtrees, largest first.
//!
//! What it guarantees: appending costs amortised one hash, the whole tree costs at most 64 hashes of memory, and the
//! root is the one that a verifier computes from all leaves. What it does not do: proofs about old leaves, which need
//! the leaf hashes again (see [`crate::proof`]).

use aumbry_crypto as crypto;

use crate::codec::Decoder;

/// A tree that can be appended to and has a root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Invariant: one root for each bit set in `size`, the largest subtree first.
    peaks: Vec<[u8; 32]>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            peaks: Vec::new(),
        }
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf_hash: [u8; 32]) {
        let mut root = leaf_hash;
        // Each low bit that is set is a subtree as large as the one just completed, like a carry in addition.
        for _ in 0..self.size.trailing_ones() {
            // The invariant gives one peak for each set bit, so a peak is there.
            if let Some(left) = self.peaks.pop() {
                root = node_hash(&left, &root);
            }
        }
        self.peaks.push(root);
        self.size += 1;
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree; of the empty tree SHA-256 of nothing.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        let smallest_first = self.peaks.iter().rev().copied();
        smallest_first
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(|| crypto::sha256(&[]))
    }

    /// The root of a complete subtree, if it is one of those that are kept: its level, and its position among those of that level.
    #[must_use]
    pub(crate) fn peak(&self, level: u32, position: u64) -> Option<[u8; 32]> {
        let mut start = 0;
        let mut peaks = self.peaks.iter();
        for bit in (0..u64::BITS).rev().filter(|bit| self.size >> bit & 1 == 1) {
            let peak = peaks.next()?;
            if (bit, start >> bit) == (level, position) {
                return Some(*peak);
            }
            start += 1 << bit;
        }
        None
    }

    /// The tree of complete subtrees, whose roots `root` gives by level and position. `None` if it gives not all of them.
    pub(crate) fn of_subtrees<E>(
        size: u64,
        mut root: impl FnMut(u32, u64) -> Result<Option<[u8; 32]>, E>,
    ) -> Result<Option<Self>, E> {
        let (mut start, mut peaks) = (0_u64, Vec::new());
        for bit in (0..u64::BITS).rev().filter(|bit| size >> bit & 1 == 1) {
            let Some(peak) = root(bit, start >> bit)? else {
                return Ok(None);
            };
            peaks.push(peak);
            start += 1 << bit;
        }
        Ok(Some(Self { size, peaks }))
    }

    /// `version u8 | size u64 big endian | 32 bytes for each peak, the largest subtree first`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(9 + 32 * self.peaks.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend(self.peaks.iter().flatten());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        decoder.version(VERSION)?;
        let size = u64::from_be_bytes(decoder.fixed()?);
        if size > SIZE_MAX {
            return None;
        }
        let peaks = (0..size.count_ones()).map(|_| decoder.fixed()).collect::<Option<_>>()?;
        decoder.finish()?;
        Some(Self { size, peaks })
    }
}

/// `SHA-256(0x01 | left | right)`, an inner node of RFC 6962 section 2.1.
pub(crate) fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    crypto::sha256(&[&[0x01], left, right])
}

const VERSION: u8 = 1;

/// Far more leaves than a store can write, and few enough that a size read from disk can be added to without overflow.
pub(crate) const SIZE_MAX: u64 = 1 << 62;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::hex;

    /// The eight inputs and the roots over the first n of them that the certificate-transparency project publishes.
    pub(crate) const INPUTS: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[
            0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f,
        ],
    ];
    pub(crate) const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    pub(crate) fn published_leaves() -> Vec<[u8; 32]> {
        INPUTS.iter().map(|input| crypto::sha256(&[&[0x00], input])).collect()
    }

    /// `n` leaves that differ.
    pub(crate) fn leaves(n: u64) -> Vec<[u8; 32]> {
        (0..n).map(|i| crypto::sha256(&[&[0x00], &i.to_be_bytes()])).collect()
    }

    /// The definition in RFC 6962 section 2.1, word for word and without any memory.
    pub(crate) fn root_by_definition(leaves: &[[u8; 32]]) -> [u8; 32] {
        match leaves {
            [] => crypto::sha256(&[]),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&root_by_definition(left), &root_by_definition(right))
            }
        }
    }

    #[test]
    fn the_published_roots() {
        let mut tree = Frontier::new();
        assert_eq!(hex::encode(&tree.root()), ROOTS[0]);
        for (leaf, root) in published_leaves().into_iter().zip(&ROOTS[1..]) {
            tree.push(leaf);
            assert_eq!(hex::encode(&tree.root()), *root, "size {}", tree.size());
        }
    }

    #[test]
    fn the_frontier_has_the_root_of_the_definition_and_round_trips() {
        let leaves = leaves(300);
        let mut tree = Frontier::new();
        for size in 0..=leaves.len() {
            assert_eq!(tree.size(), size as u64);
            assert_eq!(tree.root(), root_by_definition(&leaves[..size]), "size {size}");
            let bytes = tree.encode();
            assert_eq!(Frontier::decode(&bytes), Some(tree.clone()));
            assert_eq!(Frontier::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Frontier::decode(&[bytes, vec![0]].concat()), None);
            if let Some(leaf) = leaves.get(size) {
                tree.push(*leaf);
            }
        }
    }

    #[test]
    fn a_frontier_too_large_to_be_real_is_refused() {
        let bytes = [&[VERSION][..], &u64::MAX.to_be_bytes(), &[0; 64 * 32]].concat();
        assert_eq!(Frontier::decode(&bytes), None);
    }

    #[test]
    fn frozen_frontier() {
        let mut tree = Frontier::new();
        for leaf in published_leaves().into_iter().take(3) {
            tree.push(leaf);
        }
        let frozen = "010000000000000003fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125\
                      0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7";
        assert_eq!(hex::encode(&tree.encode()), frozen);
    }
}
