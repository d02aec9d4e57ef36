//! The key in a file, and its id: one text each, and no error repeats any of it.

use aumbry_crypto::seal::{KeyId, StaticKey};
use aumbry_types::SimulatedEntropy;

use super::text;
use crate::check::{USUAL, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "static_key",
    seeds,
    run,
    words: &[PREFIX, b"\n", b"A", b"g"],
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let key = StaticKey::make(&SimulatedEntropy::new(1));
    let text = key.expose_text().expose().to_vec();
    let line = [&text[..], b"\n"].concat();
    vec![text, line, key.id().to_string().into_bytes()]
}

fn run(input: &[u8]) -> Verdict {
    if let Some(Ok(id)) = text(input).map(str::parse::<KeyId>) {
        assert_eq!(id.to_string().as_bytes(), input, "an id has one text");
        return Verdict::Accepted;
    }
    match bounded(input, USUAL, || StaticKey::parse(input)) {
        Ok(key) => {
            assert_eq!(key.expose_text().expose(), input.trim_ascii(), "a key has one text");
            Verdict::Accepted
        }
        Err(error) => {
            silent(input, PREFIX, &error);
            Verdict::Refused
        }
    }
}

const PREFIX: &[u8] = b"aumbry-seal-key-";
