//! A small file of the data directory: what is read was written, to the last byte.

use std::fs;

use aumbry_storage::SmallFile;

use super::in_directory;
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "small_file",
    seeds,
    run,
    mend,
    words: &[b"crc32c ", b"\n"],
    smoke: 3_000,
    ..Target::USUAL
};

fn written(text: &str) -> Vec<u8> {
    format!("{text}crc32c {:08x}\n", crc32c::crc32c(text.as_bytes())).into_bytes()
}

fn seeds() -> Vec<Vec<u8>> {
    ["", "one\n", "one\ntwo 2\n", "h\u{e9}\n"].map(written).to_vec()
}

fn mend(input: &mut Vec<u8>) {
    if let Some(text) = input
        .len()
        .checked_sub(LAST_BYTES)
        .and_then(|end| core::str::from_utf8(&input[..end]).ok())
    {
        *input = written(text);
    }
}

fn run(input: &[u8]) -> Verdict {
    in_directory(|directory| {
        let path = directory.join("small");
        fs::write(&path, input).expect("the file is written");
        let file = SmallFile::new(path);
        let Ok(read) = bounded(input, MEMORY, || file.read()) else {
            return Verdict::Refused;
        };
        let text = read.expect("the file is there");
        assert_eq!(written(&text), input, "a text has one file");
        Verdict::Accepted
    })
}

const LAST_BYTES: usize = 16;
const MEMORY: Memory = Memory {
    per_byte: 8,
    at_least: 64 << 10,
};
