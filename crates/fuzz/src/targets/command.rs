//! A command of an entry: what is taken from the bytes is encoded to the same bytes.

use aumbry_state::Command;
use aumbry_state::codec::{Reader, Writer};
use bytes::Bytes;

use super::entry;
use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "command",
    seeds,
    run,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let encoded = |n| {
        let mut writer = Writer::default();
        entry::command(n).encode(&mut writer);
        writer.finish()
    };
    vec![encoded(1), encoded(2)]
}

fn run(input: &[u8]) -> Verdict {
    let bytes = Bytes::copy_from_slice(input);
    let (decoded, left) = bounded(input, USUAL, || {
        let mut reader = Reader::new(bytes);
        (Command::decode(&mut reader), reader.left())
    });
    let Ok(command) = decoded else { return Verdict::Refused };
    let mut writer = Writer::default();
    command.encode(&mut writer);
    assert_eq!(
        writer.as_slice(),
        &input[..input.len() - left],
        "a command has one encoding"
    );
    assert!(
        writer.as_slice().len() <= command.size_hint(),
        "the hint has room for it"
    );
    Verdict::Accepted
}
