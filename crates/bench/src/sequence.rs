//! Which request comes when: the same in every run.

use crate::Mix;

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
    List,
    Token,
    Login,
}

impl Operation {
    /// All, in the order of their places in tables.
    pub(crate) const ALL: [Self; 5] = [Self::Read, Self::Write, Self::List, Self::Token, Self::Login];

    /// The name for programs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::List => "list",
            Self::Token => "token",
            Self::Login => "login",
        }
    }
}

/// The requests of a run, by number.
#[derive(Debug)]
pub(crate) struct Sequence {
    mix: Mix,
    keys: u64,
    stride: u64,
}

impl Sequence {
    pub(crate) fn new(mix: Mix, keys: u64) -> Self {
        Self {
            mix,
            keys,
            stride: stride(keys),
        }
    }

    /// The operation and the key of the n-th request. Keys come in a scattered order, each once before any comes again, so that two
    /// requests in flight meet at one key only if there are fewer keys than requests.
    pub(crate) const fn nth(&self, n: u64) -> (Operation, u64) {
        let operation = match self.mix {
            Mix::Read => Operation::Read,
            Mix::Write => Operation::Write,
            Mix::Mixed if scattered(n).is_multiple_of(READS_AND_A_WRITE) => Operation::Write,
            Mix::Mixed => Operation::Read,
            Mix::List => Operation::List,
            Mix::Token => Operation::Token,
            Mix::Login => Operation::Login,
        };
        // Both factors are below 10 million.
        (operation, (n % self.keys) * self.stride % self.keys)
    }
}

/// A step that has no divisor in common with the number of keys, near the golden section, which scatters best.
fn stride(keys: u64) -> u64 {
    let section = keys * 618 / 1_000;
    (section.max(1)..).find(|step| divisor(*step, keys) == 1).unwrap_or(1)
}

const fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// A number that looks drawn by lot (the finaliser of SplitMix64).
const fn scattered(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// 95 to 5.
const READS_AND_A_WRITE: u64 = 20;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_key_comes_once_before_any_comes_again() {
        for keys in [1, 2, 3, 10, 1_000, 1_009, 100_000] {
            let sequence = Sequence::new(Mix::Read, keys);
            let seen: BTreeSet<u64> = (0..keys).map(|n| sequence.nth(n).1).collect();
            assert_eq!(seen.len() as u64, keys);
            assert!(seen.last().is_some_and(|last| *last < keys));
        }
    }

    #[test]
    fn five_in_a_hundred_of_a_mix_write_and_they_reach_all_keys() {
        let sequence = Sequence::new(Mix::Mixed, 20);
        let writes: Vec<u64> = (0..20_000)
            .map(|n| sequence.nth(n))
            .filter(|(operation, _)| *operation == Operation::Write)
            .map(|(_, key)| key)
            .collect();
        assert!((900..1_100).contains(&writes.len()), "{}", writes.len());
        assert_eq!(writes.iter().collect::<BTreeSet<_>>().len(), 20);
    }
}
