//! The text of a key share. However it is written, it is read as one share; nothing that was not made opens or is counted, and no error
//! repeats any of it.

use aumbry_crypto::seal::SealConfig;
use aumbry_crypto::seal::{Share, ShareError, Unseal, make_seal};
use aumbry_types::SimulatedEntropy;

use super::{STORAGE, key};
use crate::check::{USUAL, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "share",
    seeds,
    run,
    mend,
    words: &[PREFIX, b"-", b"o", b"l", b"\r\n"],
    input_bytes_max: 600,
    ..Target::USUAL
};

fn made() -> (SealConfig, Vec<Share>) {
    make_seal(STORAGE, 3, 3, 2, &key(1), &SimulatedEntropy::new(1)).expect("it is a threshold")
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = made()
        .1
        .iter()
        .map(|share| share.expose_text().expose().to_vec())
        .collect::<Vec<_>>();
    let spaced = texts[0].chunks(4).collect::<Vec<_>>().join(&b" "[..]);
    let upper = texts[1].to_ascii_uppercase();
    // The beginning may not be taken apart.
    let spaced = [PREFIX, &spaced[PREFIX.len() + 3..]].concat();
    [
        texts,
        vec![upper],
        (Share::parse(&spaced).is_ok()).then_some(spaced).into_iter().collect(),
    ]
    .concat()
}

fn run(input: &[u8]) -> Verdict {
    let parsed = bounded(input, USUAL, || Share::parse(input));
    let (config, shares) = made();
    let genuine = |share: &Share| {
        shares
            .iter()
            .any(|made| made.expose_text().expose() == share.expose_text().expose())
    };
    match parsed {
        Ok(share) => {
            let canonical = share.expose_text();
            assert_eq!(
                canonical.expose(),
                plain(input),
                "a share has one text but for case, look-alikes and space"
            );
            let again = Share::parse(canonical.expose()).expect("its own text is read");
            assert_eq!(
                (again.index(), again.epoch(), again.threshold()),
                (share.index(), share.epoch(), share.threshold())
            );
            let submitted = Unseal::new(config).submit(input).map(drop);
            assert_eq!(submitted.is_ok(), genuine(&share), "only what was made is counted");
            if let Err(error) = submitted {
                silent(input, PREFIX, &error);
            }
            Verdict::Accepted
        }
        Err(error) => {
            silent(input, PREFIX, &error);
            assert!(Unseal::new(config).submit(input).is_err_and(|other| other == error));
            // The number of letters is the caller's own to see, and nothing else is told.
            assert!(!matches!(error, ShareError::Wrong { .. } | ShareError::Repeated { .. }));
            Verdict::Refused
        }
    }
}

/// Written as it is printed: a slow reading of what the format says.
fn plain(input: &[u8]) -> Vec<u8> {
    let text = input.trim_ascii().to_ascii_lowercase();
    let letters = text[PREFIX.len()..]
        .iter()
        .filter(|c| !c.is_ascii_whitespace() && **c != b'-');
    let letters = letters.map(|c| match c {
        b'o' => b'0',
        b'i' | b'l' => b'1',
        c => *c,
    });
    [PREFIX, &letters.collect::<Vec<u8>>()].concat()
}

/// Sets checksum and filler right, if the rest has the form of a share.
fn mend(input: &mut Vec<u8>) {
    let Some(rest) = input.strip_prefix(PREFIX) else { return };
    let value = |c: &u8| ALPHABET.iter().position(|known| known == c);
    let Some(values) = rest.iter().map(value).collect::<Option<Vec<usize>>>() else {
        return;
    };
    let bits: Vec<bool> = values
        .iter()
        .flat_map(|value| (0..5).rev().map(move |bit| value >> bit & 1 == 1))
        .collect();
    let mut bytes: Vec<u8> = bits
        .chunks_exact(8)
        .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
        .collect();
    if bytes.len() != BYTES {
        return;
    }
    super::mend_crc_at_end(&mut bytes);
    let bits: Vec<bool> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
        .collect();
    let symbol = |bits: &[bool]| {
        let value = bits.iter().fold(0, |value, bit| value << 1 | usize::from(*bit));
        ALPHABET[value << (5 - bits.len())]
    };
    input.truncate(PREFIX.len());
    input.extend(bits.chunks(5).map(symbol));
}

const PREFIX: &[u8] = b"aumbry-share-";
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BYTES: usize = 51;
