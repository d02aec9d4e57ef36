//! The keyring as it is wrapped: one encoding, and nothing after it.

use aumbry_crypto::keyring::{Keyring, Series};
use aumbry_types::{LogIndex, SimulatedEntropy};

use crate::check::{Memory, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "keyring",
    seeds,
    run,
    smoke: 10_000,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let entropy = SimulatedEntropy::new(1);
    let mut keyring = Keyring::make(&entropy);
    let mut all = vec![keyring.encode().expose().to_vec()];
    for series in [Series::Data, Series::Names, Series::Audit] {
        keyring.rotate(series, LogIndex(9), &entropy).expect("there is room");
        all.push(keyring.encode().expose().to_vec());
    }
    all
}

fn run(input: &[u8]) -> Verdict {
    match bounded(input, MEMORY, || Keyring::decode(input)) {
        Ok(keyring) => {
            assert!(keyring.encode().expose() == input, "a keyring has one encoding");
            let term = keyring.term();
            assert!(keyring.generations(Series::Data).any(|(number, _)| number == term));
            Verdict::Accepted
        }
        Err(error) => {
            silent(input, b"", &error);
            Verdict::Refused
        }
    }
}

/// A list is given room for as many keys as it announces, at most 1,024; each data key has some that are derived from it.
const MEMORY: Memory = Memory {
    per_byte: 64,
    at_least: 128 << 10,
};
