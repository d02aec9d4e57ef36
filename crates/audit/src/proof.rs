//! Proofs about the tree for somebody who has a checkpoint and not the records.
//!
//! [`Inclusion`] shows that one record is in a tree: with the record and its salt it is all that is disclosed.
//! [`Consistency`] shows that a tree grew out of an older one, which is what a witness asks before it believes a newer
//! checkpoint. Making a proof hashes all leaves once, or reads some tiles of [`Stored`] hashes; checking one takes a hash for each level of
//! the tree.

use crate::Frontier;
use crate::merkle::node_hash;

mod form;
mod stored;

pub use form::{FORM_BYTES_MAX, Proof};
pub use stored::{Stored, TILE, UNKNOWN, root_of};

/// That a leaf is at a position of a tree (RFC 9162 section 2.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The position of the leaf.
    pub seq: u64,
    /// The number of leaves of the tree.
    pub size: u64,
    /// The roots of the subtrees beside the way from the leaf to the root, the lowest first.
    pub path: Vec<[u8; 32]>,
}

impl Inclusion {
    /// Proves the leaf at `seq` of the tree with these leaf hashes. `None` if the tree has no such leaf.
    #[must_use]
    pub fn prove(leaves: &[[u8; 32]], seq: u64) -> Option<Self> {
        let position = usize::try_from(seq).ok().filter(|position| *position < leaves.len())?;
        let mut path = Vec::new();
        inclusion_path(leaves, position, &mut path);
        Some(Self {
            seq,
            size: leaves.len() as u64,
            path,
        })
    }

    /// Whether the leaf with this hash is at [`seq`](Self::seq) of the tree with this root.
    #[must_use]
    pub fn verify(&self, leaf_hash: &[u8; 32], root: &[u8; 32]) -> bool {
        if self.seq >= self.size {
            return false;
        }
        let mut way = Way {
            node: self.seq,
            last: self.size - 1,
        };
        let mut hash = *leaf_hash;
        for sibling in &self.path {
            if way.last == 0 {
                return false;
            }
            hash = if way.climb_is_right() {
                node_hash(sibling, &hash)
            } else {
                node_hash(&hash, sibling)
            };
        }
        way.last == 0 && hash == *root
    }
}

/// That a tree begins with all leaves of an older tree (RFC 9162 section 2.1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// The number of leaves of the older tree.
    pub old_size: u64,
    /// The number of leaves of the newer tree.
    pub new_size: u64,
    /// The roots of the subtrees from which both roots are computed.
    pub path: Vec<[u8; 32]>,
}

impl Consistency {
    /// Proves that the tree with these leaf hashes began with its first `old_size`. `None` if it has fewer.
    #[must_use]
    pub fn prove(leaves: &[[u8; 32]], old_size: u64) -> Option<Self> {
        let old = usize::try_from(old_size).ok().filter(|old| *old <= leaves.len())?;
        let mut path = Vec::new();
        // Every tree begins with the empty one, and with itself; neither needs a proof.
        if old > 0 && old < leaves.len() {
            consistency_path(leaves, old, Known::Yes, &mut path);
        }
        Some(Self {
            old_size,
            new_size: leaves.len() as u64,
            path,
        })
    }

    /// Whether the tree with `new_root` begins with the tree with `old_root`.
    #[must_use]
    pub fn verify(&self, old_root: &[u8; 32], new_root: &[u8; 32]) -> bool {
        if self.old_size == 0 {
            return self.path.is_empty() && *old_root == Frontier::new().root();
        }
        if self.old_size >= self.new_size {
            return self.old_size == self.new_size && self.path.is_empty() && old_root == new_root;
        }
        // The root of a complete older tree is a node of the newer one; the prover leaves it out.
        let known = self.old_size.is_power_of_two().then_some(old_root);
        let mut hashes = known.into_iter().chain(&self.path);
        let Some(first) = hashes.next() else {
            return false;
        };
        let mut way = Way {
            node: self.old_size - 1,
            last: self.new_size - 1,
        };
        way.skip(way.node.trailing_ones());
        let (mut old, mut new) = (*first, *first);
        for sibling in hashes {
            if way.last == 0 {
                return false;
            }
            if way.climb_is_right() {
                old = node_hash(sibling, &old);
                new = node_hash(sibling, &new);
            } else {
                new = node_hash(&new, sibling);
            }
        }
        way.last == 0 && old == *old_root && new == *new_root
    }
}

/// The way from a node to the root: its position among the nodes of its level, and the position of the last of them.
struct Way {
    node: u64,
    last: u64,
}

impl Way {
    /// Goes up to the parent, and says whether the sibling on that step is on the left. Not at the root, where `last`
    /// is 0.
    const fn climb_is_right(&mut self) -> bool {
        let is_right = self.node & 1 == 1 || self.node == self.last;
        if is_right {
            // The last node of a level without a left neighbour is passed up as it is, until it is a right child.
            self.skip(self.node.trailing_zeros());
        }
        self.skip(1);
        is_right
    }

    const fn skip(&mut self, levels: u32) {
        self.node >>= levels;
        self.last >>= levels;
    }
}

/// Whether the verifier knows the root of the older part already.
#[derive(Clone, Copy)]
enum Known {
    Yes,
    No,
}

fn inclusion_path(leaves: &[[u8; 32]], position: usize, path: &mut Vec<[u8; 32]>) {
    if leaves.len() <= 1 {
        return;
    }
    let (left, right) = halves(leaves);
    if position < left.len() {
        inclusion_path(left, position, path);
        path.push(root(right));
    } else {
        inclusion_path(right, position - left.len(), path);
        path.push(root(left));
    }
}

fn consistency_path(leaves: &[[u8; 32]], old: usize, known: Known, path: &mut Vec<[u8; 32]>) {
    if old == leaves.len() {
        if matches!(known, Known::No) {
            path.push(root(leaves));
        }
        return;
    }
    let (left, right) = halves(leaves);
    if old <= left.len() {
        consistency_path(left, old, known, path);
        path.push(root(right));
    } else {
        consistency_path(right, old - left.len(), Known::No, path);
        path.push(root(left));
    }
}

/// Splits two or more leaves after the largest power of two that leaves something on the right.
fn halves(leaves: &[[u8; 32]]) -> (&[[u8; 32]], &[[u8; 32]]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    let mut tree = Frontier::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;
    use crate::merkle::tests::{leaves, published_leaves, root_by_definition};

    #[test]
    fn the_published_proofs() {
        // Position, size and path, as the certificate-transparency project publishes them.
        let inclusions: [(u64, usize, &[&str]); 3] = [
            (
                0,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                5,
                8,
                &[
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                3,
                &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
            ),
        ];
        for (seq, size, path) in inclusions {
            let proof = Inclusion::prove(&published_leaves()[..size], seq).unwrap();
            assert_eq!(
                proof.path.iter().map(|hash| hex::encode(hash)).collect::<Vec<_>>(),
                path
            );
        }
        let consistency = Consistency::prove(&published_leaves(), 6).unwrap();
        assert_eq!(
            consistency
                .path
                .iter()
                .map(|hash| hex::encode(hash))
                .collect::<Vec<_>>(),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved_and_no_other() {
        let leaves = leaves(40);
        for size in 1..=leaves.len() {
            let root = root_by_definition(&leaves[..size]);
            for seq in 0..size {
                let proof = Inclusion::prove(&leaves[..size], seq as u64).unwrap();
                assert!(proof.verify(&leaves[seq], &root), "{seq} of {size}");
                assert!(!proof.verify(&leaves[(seq + 1) % 40], &root), "another leaf");
                for wrong in bent(&proof.path) {
                    assert!(
                        !Inclusion { path: wrong, ..proof }.verify(&leaves[seq], &root),
                        "{seq} of {size}"
                    );
                }
                let moved = Inclusion {
                    seq: (seq as u64 + 1) % size as u64,
                    ..proof.clone()
                };
                assert!(size == 1 || !moved.verify(&leaves[seq], &root), "another position");
            }
            assert_eq!(Inclusion::prove(&leaves[..size], size as u64), None);
        }
    }

    #[test]
    fn every_small_tree_is_consistent_with_its_beginnings_and_no_other() {
        let leaves = leaves(40);
        for new in 0..=leaves.len() {
            let new_root = root_by_definition(&leaves[..new]);
            for old in 0..=new {
                let old_root = root_by_definition(&leaves[..old]);
                let proof = Consistency::prove(&leaves[..new], old as u64).unwrap();
                assert!(proof.verify(&old_root, &new_root), "{old} in {new}");
                assert!(!proof.verify(&[1; 32], &new_root), "another old root");
                assert!(old == 0 || !proof.verify(&old_root, &[1; 32]), "another new root");
                for wrong in bent(&proof.path) {
                    assert!(
                        !Consistency { path: wrong, ..proof }.verify(&old_root, &new_root),
                        "{old} in {new}"
                    );
                }
            }
            assert_eq!(Consistency::prove(&leaves[..new], new as u64 + 1), None);
        }
    }

    /// The path with one hash changed, each in turn, one left out, and one too many.
    fn bent(path: &[[u8; 32]]) -> Vec<Vec<[u8; 32]>> {
        let mut all: Vec<Vec<_>> = (0..path.len())
            .map(|i| {
                let mut path = path.to_vec();
                path[i][31] ^= 1;
                path
            })
            .collect();
        all.extend(path.split_last().map(|(_, rest)| rest.to_vec()));
        all.push([path, &[[0; 32]]].concat());
        all
    }

    #[test]
    fn a_proof_with_absurd_sizes_is_refused() {
        for (seq, size) in [
            (0, 0),
            (1, 1),
            (u64::MAX, u64::MAX),
            (u64::MAX - 1, u64::MAX),
            (0, u64::MAX),
        ] {
            for length in [0, 1, 64, 70] {
                let path = vec![[0; 32]; length];
                assert!(
                    !Inclusion {
                        seq,
                        size,
                        path: path.clone()
                    }
                    .verify(&[0; 32], &[0; 32])
                );
                assert!(
                    !Consistency {
                        old_size: seq,
                        new_size: size,
                        path
                    }
                    .verify(&[1; 32], &[0; 32])
                );
            }
        }
    }
}
