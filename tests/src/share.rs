//! Key shares as a test sees through them: their bytes, and the root key that enough of them give.

use anyhow::{Context as _, Result, ensure};

/// What a share's text holds: its number and its value.
pub fn decode_share(text: &str) -> Result<(u8, [u8; 32])> {
    let symbols = text.trim().strip_prefix(PREFIX).context("a share has its prefix")?;
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for symbol in symbols.bytes() {
        let value = ALPHABET.iter().position(|known| *known == symbol);
        bits = bits << 5 | u32::try_from(value.context("a letter of the alphabet")?)?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    ensure!(bytes.len() == SHARE_BYTES, "a share has {} bytes", bytes.len());
    Ok((bytes[NUMBER_AT], bytes[NUMBER_AT + 1..NUMBER_AT + 33].try_into()?))
}

/// The key that these shares give: each byte is the value at 0 of the polynomial through theirs.
pub fn combine_shares(shares: &[(u8, [u8; 32])]) -> [u8; 32] {
    let mut key = [0; 32];
    for (x, value) in shares {
        let others = shares.iter().map(|(other, _)| *other).filter(|other| other != x);
        // Subtraction is exclusive or.
        let weight = others.fold(1, |weight, other| times(weight, times(other, inverse(other ^ x))));
        for (byte, value) in key.iter_mut().zip(value) {
            *byte ^= times(*value, weight);
        }
    }
    key
}

/// Multiplication in the field of AES.
fn times(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        product ^= if b & 1 == 1 { a } else { 0 };
        a = a << 1 ^ if a & 0x80 == 0 { 0 } else { 0x1b };
        b >>= 1;
    }
    product
}

fn inverse(a: u8) -> u8 {
    (0..=u8::MAX).find(|b| times(a, *b) == 1).unwrap_or(0)
}

const PREFIX: &str = "aumbry-share-";
const ALPHABET: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";
const SHARE_BYTES: usize = 51;
/// Behind version, cluster, epoch and threshold.
const NUMBER_AT: usize = 14;
