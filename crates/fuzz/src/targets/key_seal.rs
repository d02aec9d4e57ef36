//! A seal by a key: one encoding, and it opens with that key if it is as it was made.

use aumbry_crypto::seal::{KeySeal, StaticKey};
use aumbry_types::SimulatedEntropy;

use super::{STORAGE, key};
use crate::check::{USUAL, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "key_seal",
    seeds,
    run,
    ..Target::USUAL
};

fn static_key() -> StaticKey {
    StaticKey::make(&SimulatedEntropy::new(3))
}

fn seeds() -> Vec<Vec<u8>> {
    let made = KeySeal::make_static(&static_key(), STORAGE, 2, &key(9), &SimulatedEntropy::new(1)).encode();
    let mut unknown = made.clone();
    unknown[1] = 7;
    vec![made, unknown]
}

fn run(input: &[u8]) -> Verdict {
    let Ok(seal) = bounded(input, USUAL, || KeySeal::decode(input)) else {
        return Verdict::Refused;
    };
    assert_eq!(seal.encode(), input, "a seal has one encoding");
    match seal.open(&static_key(), STORAGE) {
        Ok(root) => {
            assert_eq!(root.expose(), &[9; 32]);
            assert_eq!(input, &seeds()[0][..], "another seal opens");
        }
        Err(error) => silent(input, b"", &error),
    }
    Verdict::Accepted
}
