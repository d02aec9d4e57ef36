//! The text of a token, against a slow reading of what the format says.

use aumbry_crypto::token::{self, TokenKind};
use aumbry_types::SimulatedEntropy;

use crate::check::{USUAL, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "token",
    seeds,
    run,
    mend,
    words: &[b"aum.", b".", b"s", b"j", b"w", b"4294967295", b"4294967296", b"00"],
    input_bytes_max: 200,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let entropy = SimulatedEntropy::new(1);
    let terms = [0, 1, 77, u32::MAX];
    let all = TokenKind::ALL
        .into_iter()
        .flat_map(|kind| terms.map(|term| (kind, term)));
    all.map(|(kind, term)| token::make(kind, term, &entropy).expose().to_vec())
        .collect()
}

fn run(input: &[u8]) -> Verdict {
    let parsed = bounded(input, USUAL, || token::parse(input));
    assert_eq!(parsed.ok(), slow(input), "the reference reads it otherwise");
    match parsed {
        Ok(_) => Verdict::Accepted,
        Err(error) => {
            silent(input, b"aum.", &error);
            Verdict::Refused
        }
    }
}

fn slow(input: &[u8]) -> Option<(TokenKind, u32)> {
    let text = core::str::from_utf8(input).ok()?;
    let parts: Vec<&str> = text.split('.').collect();
    let ["aum", kind, term, value, checksum] = parts[..] else {
        return None;
    };
    let kind = match kind {
        "s" => TokenKind::Service,
        "j" => TokenKind::Join,
        "w" => TokenKind::Wrapping,
        _ => return None,
    };
    let number: u32 = term.parse().ok()?;
    let letters = |part: &str, count: usize| part.len() == count && part.chars().all(|c| c.is_ascii_alphanumeric());
    let is_right = number.to_string() == term && letters(value, 43) && base62(text.rsplit_once('.')?.0) == checksum;
    is_right.then_some((kind, number))
}

fn base62(content: &str) -> String {
    let mut number = crc32c::crc32c(content.as_bytes());
    let mut digits = Vec::new();
    for _ in 0..6 {
        digits.push(DIGITS[(number % 62) as usize]);
        number /= 62;
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

fn mend(input: &mut Vec<u8>) {
    let content = core::str::from_utf8(input).ok().and_then(|text| text.rsplit_once('.'));
    let Some((content, _)) = content else { return };
    *input = format!("{content}.{}", base62(content)).into_bytes();
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
