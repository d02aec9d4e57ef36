//! Shares as clients of other servers write them.

use aumbry_types::{SecretBytes, hex};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A share, which clients send as they were given it: in hexadecimal digits, in base64, or as it is.
#[must_use]
pub fn read(text: &[u8]) -> SecretBytes {
    let text = text.trim_ascii();
    // More than any form of a share has is none: it is not decoded, and refused for its length.
    let coded = Some(text).filter(|text| text.len() <= CODED_BYTES_MAX);
    let is_share = |bytes: &Vec<u8>| bytes.is_ascii() && bytes.len() >= 8;
    let lower = SecretBytes::new(coded.unwrap_or_default().to_ascii_lowercase());
    let from_hex = lower.expose_str().and_then(hex::decode_all);
    let from_base64 = || coded.and_then(|text| STANDARD.decode(text).ok());
    let found = from_hex.filter(is_share).or_else(|| from_base64().filter(is_share));
    SecretBytes::new(found.unwrap_or_else(|| text.to_vec()))
}

/// A share as clients of other servers get it: in hexadecimal digits and in base64.
pub(super) fn write(share: &SecretBytes) -> (String, String) {
    (hex::encode(share.expose()), STANDARD.encode(share.expose()))
}

/// Twice a share's text in groups of one, with room for the ends of lines.
const CODED_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_in_each_form() {
        let share = SecretBytes::from("aumbry-share-07y0x0gz28f38kg0000060g2n13".to_owned());
        let (hex, base64) = write(&share);
        for text in [
            hex.to_uppercase(),
            hex,
            base64,
            " aumbry-share-07y0x0gz28f38kg0000060g2n13\n".to_owned(),
        ] {
            assert_eq!(read(text.as_bytes()).expose(), share.expose(), "{text}");
        }
        for text in ["", "zz", "00", "aumbry"] {
            assert_eq!(read(text.as_bytes()).expose(), text.as_bytes());
        }
        assert_eq!(read(&[b'a'; 10_000_000]).len(), 10_000_000);
    }
}
