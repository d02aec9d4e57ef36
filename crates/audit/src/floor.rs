//! Where the records begin that are still kept: what stands in place of those that were pruned.
//!
//! What it guarantees: a floor that decodes is one that the key in it has signed, as a checkpoint of the tree up to there. With the subtrees below it,
//! which are at most 64 hashes, everything after it can be hashed on to the root of the whole log. What it does not do: say whose key that is. Whoever
//! reads it compares the key with the one that it trusts, or the tree with its own.

use aumbry_crypto::signature::VerifyingKey;

use crate::codec::{Decoder, Encoder};
use crate::proof::TILE;
use crate::{Body, Checkpoint, Frontier};

/// The edge of what was pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    tree: Frontier,
    note: String,
    key: VerifyingKey,
}

impl Floor {
    /// The floor of a tree of all that lies below it, with the signed checkpoint of that tree. `None` if the checkpoint is of another tree or not signed
    /// by the key, or the tree does not end with a whole tile.
    #[must_use]
    pub fn new(tree: Frontier, note: String, key: VerifyingKey) -> Option<Self> {
        let signed = Checkpoint::verify(&note, &key).ok()?;
        let is_right = (signed.size, signed.root) == (tree.size(), tree.root());
        let is_whole = tree.size() > 0 && tree.size().is_multiple_of(TILE);
        (is_right && is_whole).then_some(Self { tree, note, key })
    }

    /// The first record that is kept.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.tree.size()
    }

    /// The tree of all that lies below.
    #[must_use]
    pub const fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// The signed checkpoint of that tree.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The key that signed it.
    #[must_use]
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// `version u8 | key 32 bytes | length of the note | note | length of the frontier | frontier`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(VERSION);
        encoder.fixed(self.key.as_bytes());
        encoder.bytes(self.note.as_bytes());
        encoder.bytes(&self.tree.encode());
        encoder.finish()
    }

    /// Reads what [`Self::encode`] wrote, and verifies it.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        decoder.version(VERSION)?;
        let key = VerifyingKey::from_bytes(decoder.fixed()?);
        let note = decoder.text()?;
        let tree = Frontier::decode(decoder.bytes()?)?;
        decoder.finish()?;
        Self::new(tree, note, key)
    }
}

/// The tree over bodies in their order, from the beginning of the log or from a floor on.
#[derive(Clone, Debug)]
pub struct Grown {
    floor: u64,
    tree: Frontier,
}

impl Grown {
    /// Nothing yet, after what this tree has.
    #[must_use]
    pub const fn after(below: Frontier) -> Self {
        Self {
            floor: below.size(),
            tree: below,
        }
    }

    /// Adds the leaves of a body. Those below the floor count for nothing: the floor's tree has them.
    ///
    /// # Errors
    /// If records are missing before it.
    pub fn add(&mut self, body: &Body) -> Result<(), &'static str> {
        let end = body.first_seq.saturating_add(body.leaves().count() as u64);
        let is_at_floor = self.tree.size() == self.floor && body.first_seq <= self.floor && self.floor > 0;
        if body.first_seq != self.tree.size() && !is_at_floor {
            return Err("audit records before it are missing");
        }
        if is_at_floor && end <= self.floor {
            return Ok(());
        }
        for leaf in body.leaves().filter(|leaf| leaf.seq >= self.floor) {
            self.tree.push(leaf.hash());
        }
        Ok(())
    }

    /// The tree up to here.
    #[must_use]
    pub const fn tree(&self) -> &Frontier {
        &self.tree
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use aumbry_crypto::signature::SigningKey;
    use aumbry_types::{SecretKey, StorageId};

    use super::*;
    use crate::Outcome;
    use crate::merkle::tests::leaves;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&SecretKey::take(&mut [seed; 32]))
    }

    fn tree(size: u64) -> Frontier {
        let mut tree = Frontier::new();
        leaves(size).into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }

    fn note(tree: &Frontier) -> String {
        let checkpoint = Checkpoint::new(&StorageId::from_bytes([1; 16]), tree);
        checkpoint.sign(&key(7)).unwrap()
    }

    #[test]
    fn only_what_is_signed_so_is_a_floor() {
        let below = tree(768);
        let trusted = *key(7).verifying_key();
        let floor = Floor::new(below.clone(), note(&below), trusted).unwrap();
        let bytes = floor.encode();
        assert_eq!(Floor::decode(&bytes), Some(floor.clone()));
        assert_eq!((floor.seq(), floor.tree().root()), (768, below.root()));
        // Each byte is either signed, or compared with what is.
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert_eq!(Floor::decode(&forged), None, "byte {at}");
        }
        assert_eq!(Floor::decode(&[&bytes[..], &[0]].concat()), None);
        for (tree, note, key) in [
            (tree(512), note(&below), trusted),
            (below.clone(), note(&tree(512)), trusted),
            (below.clone(), note(&below), *key(8).verifying_key()),
            (tree(700), note(&tree(700)), trusted),
            (tree(0), note(&tree(0)), trusted),
        ] {
            assert_eq!(Floor::new(tree, note, key), None);
        }
    }

    /// Nodes of different versions read the same row: its layout is frozen.
    #[test]
    fn the_layout_is_frozen() {
        let below = tree(768);
        let floor = Floor::new(below.clone(), note(&below), *key(7).verifying_key()).unwrap();
        let bytes = floor.encode();
        let digest = aumbry_crypto::sha256(&[&bytes]);
        let frozen = "db261e51f01d46ec26aa245f7a47b8cf7848b892a1e52f51d9e0f003625ac94d";
        assert_eq!((bytes.len(), crate::hex::encode(&digest).as_str()), (348, frozen));
    }

    #[test]
    fn bodies_are_added_from_a_floor_on() {
        let body = |first_seq: u64, count: u32| Body {
            first_seq,
            index: first_seq + 5,
            term: 1,
            log_time: 1,
            wall_time: 1,
            leaves: (0..count).map(|k| (k, Outcome::Ok, [first_seq as u8; 32])).collect(),
            clear: Vec::new(),
            blob: vec![1],
        };
        let bodies: Vec<Body> = (0..300).map(|at| body(at * 3, 3)).collect();
        let mut whole = Grown::after(Frontier::new());
        bodies.iter().for_each(|body| whole.add(body).unwrap());
        assert_eq!(whole.tree().size(), 900);
        let mut below = Frontier::new();
        for leaf in bodies.iter().flat_map(Body::leaves).take(512) {
            below.push(leaf.hash());
        }
        // With some bodies below the floor, with that which reaches over it alone, and with a hole.
        for (from, is_whole) in [(0, true), (100, true), (170, true), (171, false)] {
            let mut grown = Grown::after(below.clone());
            let added = bodies[from..].iter().try_for_each(|body| grown.add(body));
            assert_eq!(added.is_ok(), is_whole, "{from}");
            assert_eq!(grown.tree() == whole.tree(), is_whole, "{from}");
        }
        let mut holed = Grown::after(Frontier::new());
        assert!(holed.add(&bodies[1]).is_err());
    }
}
