//! Hashes of passwords: argon2id (RFC 9106), at the cost that OWASP names as its first choice.
//!
//! ```text
//! hash = version u8 | memory KiB u32 | passes u32 | lanes u32 | salt 16 B | argon2id 32 B        numbers in network order
//! ```
//!
//! What it guarantees: a hash carries what it was made with, so that the cost can be raised for new ones; and what is compared is compared
//! in constant time. What it does not do: bound how many are made at once. Each takes 19 MiB and some 20 ms of a processor, so callers
//! have a bounded pool.

use aumbry_types::{Entropy, SecretBytes};
use zeroize::Zeroizing;

use crate::equal;

/// The hash of a password. Whoever has it can try passwords on it, so it is as secret as they are.
pub struct PasswordHash {
    cost: Cost,
    salt: [u8; SALT_BYTES],
    hash: Zeroizing<[u8; HASH_BYTES]>,
}

#[derive(Clone, Copy)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl PasswordHash {
    /// Hashes a password with a new salt.
    #[must_use]
    pub fn make(password: &[u8], entropy: &dyn Entropy) -> Self {
        let mut salt = [0; SALT_BYTES];
        entropy.fill(&mut salt);
        Self {
            cost: COST,
            salt,
            hash: hash(COST, &salt, password),
        }
    }

    /// What a password of nobody is verified against, so that it takes as long as one of somebody. It verifies none.
    #[must_use]
    pub fn of_nobody() -> Self {
        Self {
            cost: COST,
            salt: [0; SALT_BYTES],
            hash: Zeroizing::new([0; HASH_BYTES]),
        }
    }

    /// Whether it is the hash of this password.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        let shown = hash(self.cost, &self.salt, password);
        equal(&shown[..], &self.hash[..])
    }

    /// Whether the other is the same hash.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        equal(self.encode().expose(), other.encode().expose())
    }

    /// Encodes the hash.
    #[must_use]
    pub fn encode(&self) -> SecretBytes {
        let mut bytes = Vec::with_capacity(ENCODED_BYTES);
        bytes.push(VERSION);
        for number in [self.cost.memory_kib, self.cost.passes, self.cost.lanes] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.hash[..]);
        SecretBytes::new(bytes)
    }

    /// Decodes a hash. `None` if the bytes are none, or if it would cost more than any that is made here.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        let (numbers, rest) = rest.split_first_chunk::<12>()?;
        let number = |place: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| numbers[4 * place + byte]));
        let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
        let cost = Cost {
            memory_kib: number(0),
            passes: number(1),
            lanes: number(2),
        };
        let is_bounded = cost.memory_kib <= MEMORY_KIB_MAX && cost.passes <= PASSES_MAX && cost.lanes <= LANES_MAX;
        if !is_bounded || cost.params().is_none() {
            return None;
        }
        Some(Self {
            cost,
            salt: *salt,
            hash: Zeroizing::new(*<&[u8; HASH_BYTES]>::try_from(rest).ok()?),
        })
    }
}

impl Cost {
    fn params(self) -> Option<argon2::Params> {
        argon2::Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH_BYTES)).ok()
    }
}

fn hash(cost: Cost, salt: &[u8], password: &[u8]) -> Zeroizing<[u8; HASH_BYTES]> {
    let params = cost.params().expect("a cost was checked where it came from");
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut hash = Zeroizing::new([0; HASH_BYTES]);
    argon2
        .hash_password_into(password, salt, &mut hash[..])
        .expect("salt and hash have lengths that argon2 takes, and a password is bounded far below 4 GiB");
    hash
}

/// 19 MiB, two passes: the first choice of OWASP's cheat sheet for argon2id.
const COST: Cost = Cost {
    memory_kib: 19_456,
    passes: 2,
    lanes: 1,
};
/// Far above what a node could afford for each login.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const ENCODED_BYTES: usize = 1 + 12 + SALT_BYTES + HASH_BYTES;
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use aumbry_types::SimulatedEntropy;

    use super::*;
    use crate::testing::{hex, unhex};

    /// From the reference implementation's own tests (`test.c`): argon2id, version 0x13.
    #[test]
    fn known_answers() {
        let check = |passes, memory_kib, lanes, password: &str, salt: &str, expect: &str| {
            let cost = Cost {
                memory_kib,
                passes,
                lanes,
            };
            assert_eq!(hex(&hash(cost, salt.as_bytes(), password.as_bytes())[..]), expect);
        };
        check(
            2,
            256,
            1,
            "password",
            "somesalt",
            "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe",
        );
        check(
            2,
            256,
            2,
            "password",
            "somesalt",
            "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037",
        );
    }

    #[test]
    fn a_hash_verifies_its_password_alone() {
        let entropy = SimulatedEntropy::new(1);
        let made = PasswordHash::make(b"correct horse", &entropy);
        assert!(made.verify(b"correct horse"));
        for wrong in [&b""[..], b"correct hors", b"correct horse ", b"Correct horse"] {
            assert!(!made.verify(wrong));
        }
        let again = PasswordHash::make(b"correct horse", &entropy);
        assert!(!made.is_same(&again), "salted");
        let nobody = PasswordHash::of_nobody();
        assert!(!nobody.verify(b"") && !nobody.verify(b"correct horse"));
        let decoded = PasswordHash::decode(made.encode().expose()).expect("is one");
        assert!(decoded.is_same(&made) && decoded.verify(b"correct horse"));
    }

    #[test]
    fn frozen_bytes() {
        let frozen = "0100004c000000000200000001ce56971cde355897421efc0b1046c8bfaea0e376e36ee0cd38ada46ad6596ec35d98aa222e5a29ad6d9907bbfc7104ae";
        let made = PasswordHash::make(b"password", &SimulatedEntropy::new(2));
        assert_eq!(hex(made.encode().expose()), frozen);
        let stored = PasswordHash::decode(&unhex(frozen)).expect("is one");
        assert!(stored.verify(b"password"));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let good = PasswordHash::of_nobody().encode().expose().to_vec();
        assert!(PasswordHash::decode(&good).is_some());
        for length in 0..good.len() {
            assert!(PasswordHash::decode(&good[..length]).is_none(), "{length}");
        }
        let with = |place: usize, bytes: &str| {
            let bytes = unhex(bytes);
            let mut changed = good.clone();
            changed[place..place + bytes.len()].copy_from_slice(&bytes);
            changed
        };
        let longer = [&good[..], &[0]].concat();
        for bad in [
            longer,
            with(0, "02"),
            with(1, "ffffffff"),
            with(1, "00000000"),
            with(5, "00000041"),
            with(5, "00000000"),
            with(9, "00000011"),
            with(9, "00000000"),
        ] {
            assert!(PasswordHash::decode(&bad).is_none());
        }
    }
}
