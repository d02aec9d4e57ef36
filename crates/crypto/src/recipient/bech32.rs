//! Bech32 (BIP 173), as far as recipients need it: short texts in one case.

use super::RecipientError;

/// The bytes after this human-readable part.
pub(super) fn decode(prefix: &str, text: &str) -> Result<Vec<u8>, RecipientError> {
    let text = if text.chars().any(|c| c.is_ascii_lowercase()) {
        text.to_owned()
    } else {
        text.to_ascii_lowercase()
    };
    let data = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('1'));
    let data = data.ok_or(RecipientError::Form)?;
    let symbol = |byte: u8| ALPHABET.iter().position(|known| *known == byte);
    let symbols = data
        .bytes()
        .map(|byte| symbol(byte).and_then(|at| u8::try_from(at).ok()));
    let symbols: Vec<u8> = symbols.collect::<Option<_>>().ok_or(RecipientError::Form)?;
    let content = symbols
        .len()
        .checked_sub(CHECKSUM_SYMBOLS)
        .ok_or(RecipientError::Form)?;
    let high = prefix.bytes().map(|byte| byte >> 5);
    let low = prefix.bytes().map(|byte| byte & 31);
    let all = high.chain([0]).chain(low).chain(symbols.iter().copied());
    if polymod(all) != 1 {
        return Err(RecipientError::Checksum);
    }
    // Five bits each; what is left over is zero and less than a symbol.
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for symbol in &symbols[..content] {
        held = held << 5 | u32::from(*symbol);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    if bits >= 5 || held & ((1 << bits) - 1) != 0 {
        return Err(RecipientError::Form);
    }
    Ok(bytes)
}

fn polymod(symbols: impl Iterator<Item = u8>) -> u32 {
    let mut sum = 1_u32;
    for symbol in symbols {
        let top = sum >> 25;
        sum = (sum & 0x01ff_ffff) << 5 ^ u32::from(symbol);
        for (at, term) in GENERATOR.iter().enumerate() {
            if top >> at & 1 == 1 {
                sum ^= term;
            }
        }
    }
    sum
}

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
const CHECKSUM_SYMBOLS: usize = 6;
