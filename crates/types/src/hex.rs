//! Lower-case hex, the text of digests and keys.

use core::fmt::Write as _;

/// The bytes as lower-case hex.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The bytes of exactly `2 * N` lower-case hex digits. Upper case is refused, so that a text has one form.
#[must_use]
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// The bytes of any number of pairs of lower-case hex digits.
#[must_use]
pub fn decode_all(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_has_one_form() {
        let bytes = [0x00, 0x9a, 0xff];
        assert_eq!(encode(&bytes), "009aff");
        assert_eq!(decode("009aff"), Some(bytes));
        assert_eq!(decode_all("009aff"), Some(bytes.to_vec()));
        for bad in ["", "009af", "009afff", "009aFF", "009ag0", "\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(decode::<3>(bad), None, "{bad}");
            assert!(decode_all(bad).is_none_or(|bytes| bytes.len() != 3), "{bad}");
        }
    }
}
