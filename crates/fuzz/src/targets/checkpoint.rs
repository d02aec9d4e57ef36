//! A signed note about the audit tree: what is accepted was signed, to the last byte of its text.

use aumbry_audit::{Checkpoint, CheckpointError, Frontier};
use aumbry_crypto::signature::SigningKey;

use super::{STORAGE, key, text};
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "checkpoint",
    seeds,
    run,
    words: &[
        b"\n",
        b"\n\n",
        "\u{2014} ".as_bytes(),
        b"0",
        b"+",
        b"=",
        b"aumbry/audit/",
        b" ",
    ],
    smoke: 5_000,
    ..Target::USUAL
};

fn signer() -> SigningKey {
    SigningKey::from_seed(&key(7))
}

fn signed(leaves: u8) -> String {
    let mut tree = Frontier::new();
    for n in 0..leaves {
        tree.push([n; 32]);
    }
    Checkpoint::new(&STORAGE, &tree)
        .sign(&signer())
        .expect("the origin can name a key")
}

fn seeds() -> Vec<Vec<u8>> {
    let other = SigningKey::from_seed(&key(8));
    let witness = {
        let note = signed(3);
        let own = Checkpoint::verify(&note, signer().verifying_key()).expect("it was just signed");
        let theirs = own.sign(&other).expect("the origin can name a key");
        format!("{note}{}", theirs.rsplit_once("\n\n").expect("a note has two parts").1)
    };
    [signed(0), signed(1), signed(7), witness]
        .map(String::into_bytes)
        .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    match bounded(input, MEMORY, || Checkpoint::verify(text, signer().verifying_key())) {
        Ok(checkpoint) => {
            let (body, _) = text.rsplit_once("\n\n").expect("a note has two parts");
            let is_signed = (0..8).any(|leaves| signed(leaves).rsplit_once("\n\n").is_some_and(|(own, _)| own == body));
            assert!(is_signed, "what was not signed is accepted");
            assert_eq!(checkpoint.origin, Checkpoint::origin_of(&STORAGE));
            Verdict::Accepted
        }
        Err(error) => {
            // The note of an operator may be anything, and is told nowhere.
            let told = format!("{error} {error:?}");
            assert!(matches!(
                error,
                CheckpointError::Malformed
                    | CheckpointError::Signature
                    | CheckpointError::Unsigned
                    | CheckpointError::Origin
            ));
            assert!(told.len() < 400);
            Verdict::Refused
        }
    }
}

const MEMORY: Memory = Memory {
    per_byte: 16,
    at_least: 64 << 10,
};
