//! The audit tree of this node as hashes that proofs are made from, without reading the log for each.
//!
//! Kept are the roots of whole tiles of 256 records, and of tiles of those: an eighth of a byte a record. They are made from the audit
//! bodies, which hold all that a leaf commits to and need no key, behind what is applied and in small pieces: no request waits for them.
//! The leaves of a tile that a proof goes through are hashed from its bodies.
//!
//! What was pruned is passed over: its hashes stay where they are known, and where they are not the floor's tree stands for them.
//!
//! What it guarantees: every proof that leaves it leads to the root that apply has. Hashes that do not lead there are thrown away and made
//! anew.

use std::io;
use std::sync::{Mutex, PoisonError};

use aumbry_audit::proof::{Consistency, Inclusion, Stored, TILE, UNKNOWN, root_of};
use aumbry_audit::{Body, Frontier, Leaf};
use aumbry_state::audit_floor;
use serde::{Deserialize, Serialize};

use crate::audit_floor::pruned;
use crate::audit_log::damaged;
use crate::{Class, Failure, Node};

/// Where the hashes are kept, by tier: tier 1 has the root of each whole tile of records, every other one that of each whole tile of the
/// tier below. What is in it need not survive, nor be right.
pub trait HashStore: Send + Sync {
    /// How many hashes a tier has.
    fn count(&self, tier: u32) -> u64;

    /// So many hashes of a tier from a position on; fewer if it has no more.
    ///
    /// # Errors
    /// If the disk fails.
    fn read(&self, tier: u32, first: u64, count: u64) -> io::Result<Vec<[u8; 32]>>;

    /// Appends a hash to a tier.
    ///
    /// # Errors
    /// If the disk fails.
    fn append(&self, tier: u32, hash: &[u8; 32]) -> io::Result<()>;

    /// Forgets everything.
    ///
    /// # Errors
    /// If the disk fails.
    fn clear(&self) -> io::Result<()>;
}

/// Hashes in memory, for nodes without a disk.
#[derive(Default)]
pub struct MemoryHashes(Mutex<Vec<Vec<[u8; 32]>>>);

/// What is to be proved. A size of 0 is that of the whole tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofAsk {
    /// That a record is in the tree of a size.
    Inclusion {
        /// The record.
        seq: u64,
        /// How many records the tree has.
        size: u64,
    },
    /// That the tree of one size begins with that of another.
    Consistency {
        /// How many records the older tree has.
        from: u64,
        /// How many the newer has.
        to: u64,
    },
}

/// A proof with the signed checkpoints that it is verified against.
#[derive(Clone, Serialize, Deserialize)]
pub struct AuditProof {
    /// The proof, in the form of its file.
    pub proof: String,
    /// The signed checkpoint of the tree that it leads to.
    pub note: String,
    /// How many records that has.
    pub size: u64,
    /// The signed checkpoint of the older tree; empty for a proof of inclusion.
    pub old_note: String,
    /// The leaf that is proved; nothing for a proof of consistency.
    pub leaf_hash: Option<[u8; 32]>,
    /// The identity of the stored data, as hexadecimal digits.
    pub storage_id: String,
    /// The key that verifies the checkpoints.
    pub verifying_key: [u8; 32],
}

/// A proof that was found, and the roots that it ties together.
pub(crate) enum Found {
    /// Of a leaf.
    Inclusion {
        proof: Inclusion,
        leaf: [u8; 32],
        root: [u8; 32],
    },
    /// Of an older tree in a newer.
    Consistency {
        proof: Consistency,
        old: [u8; 32],
        new: [u8; 32],
    },
}

/// Appends what is missing above tier 1: no tier has fewer hashes afterwards than the one below it has whole tiles, whatever a crash left out.
fn complete(store: &dyn HashStore, pruned: &Frontier) -> io::Result<()> {
    let mut tier = 1;
    while store.count(tier) >= TILE {
        let (whole, there) = (store.count(tier) / TILE, store.count(tier + 1));
        for tile in there..whole {
            let below = store.read(tier, tile * TILE, TILE)?;
            let root = match below.contains(&UNKNOWN) {
                false => Some(root_of(&below)),
                true => Stored::new(store.count(1) * TILE, |tier, tile, count| match tier {
                    0 => Ok(Vec::new()),
                    _ => store.read(tier, tile * TILE, count),
                })
                .above(pruned.clone())
                .hash(tier + 1, tile)?,
            };
            store.append(tier + 1, &root.unwrap_or(UNKNOWN))?;
        }
        tier += 1;
    }
    Ok(())
}

impl Node {
    /// Brings the hashes of the audit tree up to what is applied here, by at most so many tiles of 256 records. True if nothing is left to
    /// do. Blocks on the disk; needs no key.
    ///
    /// # Errors
    /// [`Failure`] if the audit bodies are damaged, or the hashes cannot be kept.
    pub fn follow_audit_tree(&self, tiles: usize) -> Result<bool, Failure> {
        let store = &*self.outside.audit_hashes;
        let size = self.consensus.status().audit_size;
        let below = self.pruned_tree();
        for _ in 0..tiles {
            let turn = self.audit_turn.lock().unwrap_or_else(PoisonError::into_inner);
            let passed = self.pass_over_pruned(below.size());
            passed.and_then(|()| complete(store, &below)).map_err(unkept)?;
            let next = store.count(1) * TILE;
            if size.saturating_sub(next) < TILE {
                return Ok(true);
            }
            let leaves = self.audit_leaves(next, TILE)?;
            let added = store
                .append(1, &root_of(&leaves))
                .and_then(|()| complete(store, &below));
            added.map_err(unkept)?;
            drop(turn);
        }
        Ok(store.count(1) >= size / TILE)
    }

    /// Finds a proof in the tree as it is applied here, and verifies it.
    pub(crate) fn find_proof(&self, ask: ProofAsk) -> Result<Found, Failure> {
        // The tree that is proved first, so that what is kept of hashes is at least of that: it grows meanwhile.
        let status = self.consensus.status();
        let (size, root) = (status.audit_size, status.audit_root);
        if !self.follow_audit_tree(TILES_AT_ONCE)? {
            return Err(behind());
        }
        let store = &*self.outside.audit_hashes;
        let below = self.pruned_tree();
        let floor = below.size();
        if let ProofAsk::Inclusion { seq, .. } = ask
            && seq < floor
        {
            return Err(pruned(seq, floor));
        }
        let mut stored = self.stored(size, below);
        let whole = |asked| if asked == 0 { size } else { asked };
        // The newest tree's root is known. That a proof leads there from an older one's shows that the older one is right, too.
        let found = match ask {
            ProofAsk::Inclusion { seq, size: asked } => {
                let asked = whole(asked);
                check_sizes(seq.saturating_add(1), asked, size, "the record")?;
                let proof = stored.inclusion(seq, asked)?;
                let (leaf, older) = (stored.leaf(seq)?, stored.root(asked)?);
                let growth = stored.consistency(asked, size)?;
                proof
                    .zip(leaf)
                    .zip(older.zip(growth))
                    .and_then(|((proof, leaf), (older, growth))| {
                        let is_right = growth.verify(&older, &root) && proof.verify(&leaf, &older);
                        is_right.then_some(Found::Inclusion {
                            proof,
                            leaf,
                            root: older,
                        })
                    })
            }
            ProofAsk::Consistency { from, to } => {
                let to = whole(to);
                check_sizes(from, to, size, "the older tree")?;
                let proof = stored.consistency(from, to)?;
                let (old, new) = (stored.root(from)?, stored.root(to)?);
                let growth = stored.consistency(to, size)?;
                proof
                    .zip(old)
                    .zip(new.zip(growth))
                    .and_then(|((proof, old), (new, growth))| {
                        let is_right = growth.verify(&new, &root) && proof.verify(&old, &new);
                        is_right.then_some(Found::Consistency { proof, old, new })
                    })
            }
        };
        if let (None, ProofAsk::Consistency { from, .. }) = (&found, ask)
            && from < floor
        {
            return Err(pruned_size(from, floor));
        }
        let Some(found) = found else {
            tracing::error!(
                size,
                "the kept hashes do not lead to the root of the audit tree; they are made anew"
            );
            let _turn = self.audit_turn.lock().unwrap_or_else(PoisonError::into_inner);
            store.clear().map_err(unkept)?;
            return Err(behind());
        };
        Ok(found)
    }

    /// The tree of a size that is a whole number of tiles, as hashes from which it goes on, and its root, which leads to that of the tree as it is.
    pub(crate) fn find_tree(&self, size: u64) -> Result<(Frontier, [u8; 32]), Failure> {
        let Found::Consistency { old, .. } = self.find_proof(ProofAsk::Consistency { from: size, to: 0 })? else {
            return Err(behind());
        };
        let mut stored = self.stored(size, self.pruned_tree());
        let tree = stored.frontier(size)?.filter(|tree| tree.root() == old);
        tree.map(|tree| (tree, old)).ok_or_else(behind)
    }

    /// The tree of what was pruned.
    fn pruned_tree(&self) -> Frontier {
        let floor = audit_floor(&*self.consensus.view());
        floor.map(|floor| floor.tree().clone()).unwrap_or_default()
    }

    /// The tree of a size, from what is kept of it here.
    #[expect(clippy::type_complexity, reason = "a reader is a closure")]
    fn stored(
        &self,
        size: u64,
        below: Frontier,
    ) -> Stored<impl FnMut(u32, u64, u64) -> Result<Vec<[u8; 32]>, Failure> + '_> {
        let store = &*self.outside.audit_hashes;
        let floor = below.size();
        let read = move |tier, tile: u64, count| match tier {
            0 if tile * TILE < floor => Ok(Vec::new()),
            0 => self.audit_leaves(tile * TILE, count),
            _ => store
                .read(tier, tile * TILE, count)
                .map_err(|error| Failure::internal(format!("the hashes of the audit tree cannot be read: {error}"))),
        };
        Stored::new(size, read).above(below)
    }

    /// The leaf of a record, if it is applied here.
    pub(crate) fn audit_leaf(&self, seq: u64) -> Option<Leaf> {
        let bodies = self.consensus.audit_bodies(seq, 1);
        let body = bodies.first().and_then(|bytes| Body::decode(bytes))?;
        body.leaves().find(|leaf| leaf.seq == seq)
    }

    /// The hashes of so many leaves.
    fn audit_leaves(&self, first: u64, count: u64) -> Result<Vec<[u8; 32]>, Failure> {
        let (mut hashes, mut next, end) = (Vec::new(), first, first + count);
        while next < end {
            let before = next;
            for bytes in self.consensus.audit_bodies(next, STEP_ENTRIES) {
                let body = Body::decode(&bytes).ok_or_else(damaged)?;
                for leaf in body.leaves() {
                    if leaf.seq == next && next < end {
                        hashes.push(leaf.hash());
                        next += 1;
                    }
                }
            }
            if next == before {
                return Err(damaged());
            }
        }
        Ok(hashes)
    }
}

impl HashStore for MemoryHashes {
    fn count(&self, tier: u32) -> u64 {
        let tiers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tiers.get(place(tier)).map_or(0, |hashes| hashes.len() as u64)
    }

    fn read(&self, tier: u32, first: u64, count: u64) -> io::Result<Vec<[u8; 32]>> {
        let tiers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hashes = tiers.get(place(tier)).map_or(&[][..], Vec::as_slice);
        let [first, count] = [first, count].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Ok(hashes.iter().skip(first).take(count).copied().collect())
    }

    fn append(&self, tier: u32, hash: &[u8; 32]) -> io::Result<()> {
        let mut tiers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = place(tier);
        if tiers.len() <= place {
            tiers.resize(place + 1, Vec::new());
        }
        if let Some(hashes) = tiers.get_mut(place) {
            hashes.push(*hash);
        }
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

fn place(tier: u32) -> usize {
    usize::try_from(tier).unwrap_or(usize::MAX)
}

/// Sizes ascend: the part, the tree that it is to be in, and the tree that there is.
fn check_sizes(part: u64, tree: u64, size: u64, what: &str) -> Result<(), Failure> {
    if part <= tree && tree <= size {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "{what} is not in a tree of {tree} records, or the log, which has {size}, is shorter than that: name sizes that ascend"
    )))
}

fn pruned_size(size: u64, floor: u64) -> Failure {
    let text = format!(
        "the hashes up to {size} went with the records, which begin with {floor}: verify the file that was exported before they were pruned with `aumbry-verify export --kept`, and the growth from there"
    );
    Failure::new(Class::NotFound, crate::audit_floor::PRUNED, text)
}

fn behind() -> Failure {
    let text = "the hashes that proofs are made from are being made from the log: try again in a moment";
    Failure::new(Class::Unavailable, "TREE_BEHIND", text).retry()
}

fn unkept(error: io::Error) -> Failure {
    Failure::internal(format!("the hashes of the audit tree cannot be kept: {error}"))
}

/// Sixteen thousand records, of some 16 MB: a request that finds the hashes further behind does not wait for them.
const TILES_AT_ONCE: usize = 64;
/// An entry has up to 256 KiB, so this many are read and held in one step at most.
const STEP_ENTRIES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// A crash can come between a hash and the one above it that it completes.
    #[test]
    fn what_a_crash_left_out_is_made_up_for() {
        let store = MemoryHashes::default();
        let hashes: Vec<[u8; 32]> = (0..600_u32)
            .map(|number| aumbry_crypto::sha256(&[&number.to_be_bytes()]))
            .collect();
        for hash in &hashes {
            store.append(1, hash).unwrap();
        }
        assert_eq!(store.count(2), 0);
        complete(&store, &Frontier::new()).unwrap();
        complete(&store, &Frontier::new()).unwrap();
        let expected: Vec<[u8; 32]> = hashes.chunks_exact(256).map(root_of).collect();
        assert_eq!(store.read(2, 0, 9).unwrap(), expected);
        assert_eq!(store.count(3), 0);
    }

    #[test]
    fn sizes_ascend() {
        for (part, tree, size, is_right) in [
            (1, 1, 1, true),
            (0, 0, 5, true),
            (2, 1, 5, false),
            (1, 6, 5, false),
            (u64::MAX, u64::MAX, 5, false),
        ] {
            assert_eq!(
                check_sizes(part, tree, size, "it").is_ok(),
                is_right,
                "{part} {tree} {size}"
            );
        }
    }
}
