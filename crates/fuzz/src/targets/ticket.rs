//! The line that a node joins with: read, written and read again it is the same, and no error repeats any of it.

use aumbry_server::fuzzing::ticket;
use aumbry_types::hex;

use crate::check::{USUAL, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "ticket",
    seeds,
    run,
    words: &[PREFIX, b"22", b"7b", b"7d", b"5b", b"2c", b"5c"],
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let form = |addresses: &str| {
        let json = format!(
            "{{\"cluster\":\"{}\",\"authority\":\"ab\",\"addresses\":[{addresses}],\"secret\":\"{}\"}}",
            "03".repeat(16),
            "5f".repeat(32)
        );
        format!("aumbry-join-{}", hex::encode(json.as_bytes())).into_bytes()
    };
    vec![form("\"127.0.0.1:8200\""), form(""), form("\"a:1\",\"b:2\"")]
}

fn run(input: &[u8]) -> Verdict {
    match bounded(input, USUAL, || ticket(input)) {
        Ok(text) => {
            let again = ticket(&text).expect("what is written can be read");
            assert!(again == text, "it is written in one way");
            Verdict::Accepted
        }
        Err(error) => {
            silent(input, PREFIX, &error);
            Verdict::Refused
        }
    }
}

const PREFIX: &[u8] = b"aumbry-join-";
