//! Sealed messages. What opens is byte for byte what was sealed: no other bytes do, and no error tells of the content.

use aumbry_crypto::{envelope, two_layer};
use aumbry_types::SimulatedEntropy;

use super::{chosen, key};
use crate::check::{USUAL, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "envelope",
    seeds,
    run,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let entropy = SimulatedEntropy::new(1);
    let one = |plain: &[u8]| chosen(0, &envelope::seal(&key(1), 7, b"place", plain, &entropy));
    let two = |plain: &[u8]| chosen(1, &two_layer::seal(&key(1), 7, b"place", plain, &entropy));
    vec![one(b""), one(SECRET), two(b""), two(SECRET)]
}

fn run(input: &[u8]) -> Verdict {
    let Some((choice, bytes)) = input.split_first() else {
        return Verdict::Refused;
    };
    let opened = bounded(bytes, USUAL, || match choice & 1 {
        0 => envelope::open(&key(1), b"place", bytes),
        _ => two_layer::open(&key(1), b"place", bytes),
    });
    let term = match choice & 1 {
        0 => envelope::term(bytes),
        _ => two_layer::term(bytes),
    };
    match opened {
        Ok(plain) => {
            assert!(plain.is_empty() || plain.expose() == SECRET, "what opens was sealed");
            assert_eq!(term, Ok(7));
            let is_sealed = seeds()
                .iter()
                .any(|seed| (seed[0] ^ choice) & 1 == 0 && seed[1..] == *bytes);
            assert!(is_sealed, "other bytes than the sealed ones open");
            Verdict::Accepted
        }
        Err(error) => {
            silent(SECRET, b"", &error);
            silent(bytes, b"", &error);
            Verdict::Refused
        }
    }
}

const SECRET: &[u8] = b"canary-5f2a91c7";
