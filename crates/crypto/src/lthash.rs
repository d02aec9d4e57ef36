//! A hash of a set that is kept up to date row by row: LtHash16.
//!
//! ```text
//! seed  = BLAKE3(context, |key| key row)
//! state = sum over all rows of AES-256-CTR(seed, 0)      1,024 lanes of u16, little-endian, modulo 2^16
//! ```
//!
//! Every write of a row costs such an expansion on every node. The counter mode, keyed by a digest, takes a fifth of the time of
//! BLAKE3's own, and is as good as a random oracle as far as AES is as good as an ideal cipher.
//!
//! What it guarantees: equal sets of (key, row) have equal states, whatever the order in which rows came and went; to
//! find two different sets with one state is as hard as a short-integer-solution problem of at least 200 bits. What it
//! does not do: notice 65,536 copies of one (key, row), which a map cannot hold, or a `remove` of what was not there.
//!
//! Source: K. Lewi, W. Kim, I. Maykov, S. Weis, "Securing Update Propagation with Homomorphic Hashing", 2019.

use core::fmt;
use std::sync::LazyLock;

use crate::primitives::ctr_keystream;

/// The state of the hash. It holds no secret if the rows do not.
#[derive(Clone, PartialEq, Eq)]
pub struct LtHash {
    // Boxed, because moves of 2 KiB would show in apply.
    lanes: Box<[u16; LANES]>,
}

impl LtHash {
    /// The state of the empty set.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lanes: Box::new([0; LANES]),
        }
    }

    /// Adds a row.
    pub fn add(&mut self, key: &[u8], row: &[u8]) {
        self.combine(key, row, u16::wrapping_add);
    }

    /// Removes a row that was added.
    pub fn remove(&mut self, key: &[u8], row: &[u8]) {
        self.combine(key, row, u16::wrapping_sub);
    }

    /// The whole state, to be stored and gone on with.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 2 * LANES] {
        let mut bytes = [0; 2 * LANES];
        let (pairs, _) = bytes.as_chunks_mut();
        for (pair, lane) in pairs.iter_mut().zip(&*self.lanes) {
            *pair = lane.to_le_bytes();
        }
        bytes
    }

    /// The state that [`Self::to_bytes`] gave. Every value is a state.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 2 * LANES]) -> Self {
        let mut state = Self::new();
        let (pairs, _) = bytes.as_chunks();
        for (lane, pair) in state.lanes.iter_mut().zip(pairs) {
            *lane = u16::from_le_bytes(*pair);
        }
        state
    }

    /// SHA-256 of a label and the state: what nodes compare.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        crate::sha256(&[DIGEST_LABEL, &self.to_bytes()])
    }

    fn combine(&mut self, key: &[u8], row: &[u8], combine: impl Fn(u16, u16) -> u16) {
        let mut hasher = HASHER.clone();
        hasher.update(&(key.len() as u64).to_be_bytes()).update(key).update(row);
        let mut expanded = [0; 2 * LANES];
        ctr_keystream(hasher.finalize().as_bytes(), &mut expanded);
        let (pairs, _) = expanded.as_chunks();
        for (lane, pair) in self.lanes.iter_mut().zip(pairs) {
            *lane = combine(*lane, u16::from_le_bytes(*pair));
        }
    }
}

impl Default for LtHash {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LtHash(")?;
        self.digest().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The number of the paper for 16-bit lanes.
const LANES: usize = 1_024;
const CONTEXT: &str = "aumbry 2026 state digest, LtHash16 row, version 2";
/// The context is hashed once.
static HASHER: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key(CONTEXT));
const DIGEST_LABEL: &[u8] = b"aumbry/lthash/digest/2\0";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::hex;

    #[test]
    fn frozen_bytes() {
        let mut hash = LtHash::new();
        assert_eq!(
            hex(&hash.digest()),
            "4465a2918060c5a0fe7aed994d1a0b2c85c0970261495f4dec4ceda221cda8c1"
        );
        hash.add(b"key", b"row");
        assert_eq!(hex(&hash.to_bytes()[..16]), "1471a0ac76b8b56645901f3662d6669c");
        assert_eq!(
            hex(&hash.digest()),
            "c0abfa314f98f492b22e28a37b01a0c9fb4763ea3dca285a4fc94e2de0a11b6f"
        );
    }

    #[test]
    fn key_and_row_are_framed() {
        let of = |key: &[u8], row: &[u8]| {
            let mut hash = LtHash::new();
            hash.add(key, row);
            hash.digest()
        };
        assert_ne!(of(b"a", b"bc"), of(b"ab", b"c"));
        assert_ne!(of(b"", b""), LtHash::new().digest());
    }

    proptest! {
        #[test]
        fn order_and_detours_do_not_matter(
            mut rows in prop::collection::vec((any::<[u8; 4]>(), any::<[u8; 8]>()), 0..20),
            detour: ([u8; 4], [u8; 8]),
        ) {
            let mut forward = LtHash::new();
            rows.iter().for_each(|(key, row)| forward.add(key, row));
            let mut backward = LtHash::new();
            backward.add(&detour.0, &detour.1);
            rows.reverse();
            rows.iter().for_each(|(key, row)| backward.add(key, row));
            backward.remove(&detour.0, &detour.1);
            prop_assert_eq!(&forward, &backward);
            prop_assert_eq!(&LtHash::from_bytes(forward.to_bytes()), &forward);
            rows.iter().for_each(|(key, row)| forward.remove(key, row));
            prop_assert_eq!(forward, LtHash::default());
        }
    }
}
