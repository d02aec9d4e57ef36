//! The two envelopes of a value: a data key of its own, wrapped, and the body under that data key.
//!
//! ```text
//! two_layer = format u8 | envelope of the data key, 94 bytes | commitment 16 | ciphertext | tag 16
//! ```
//!
//! What it guarantees: the body is sealed under a random key that serves once and has no term, so that a new term
//! rewrites 94 bytes and not the body, and so that a value without its wrapped key is gone. Both layers are bound to the
//! caller's associated data; a wrapped key put before another body, or moved to another row, does not open it.
//!
//! What it does not do: check the body when it rewraps; that shows when the value is read.

use aumbry_types::{Entropy, SecretBytes, SecretKey};
use zeroize::Zeroizing;

use crate::envelope::{self, COMMITMENT_LEN, MessageKey, OpenError, TAG_LEN};

/// Seals a value under a new data key, and that under the wrap key of this term.
///
/// # Panics
/// If the plaintext is longer than [`envelope::PLAINTEXT_BYTES_MAX`], which is a bug of the caller.
#[must_use]
pub fn seal(wrap_key: &SecretKey, term: u32, aad: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let data_key = SecretKey::make(entropy);
    let mut bytes = Vec::with_capacity(OVERHEAD + plaintext.len());
    bytes.push(FORMAT);
    bytes.extend_from_slice(&wrap(wrap_key, term, aad, &data_key, entropy));
    // The body is bound to the format and the place, but not to the wrapped key before it, which a rewrap replaces.
    MessageKey::derive(&data_key, &[], BODY_LABEL).seal(&mut bytes, &[FORMAT], aad, plaintext);
    bytes
}

/// Opens a value, given the wrap key of its [`term`] and the associated data that it was sealed with.
///
/// # Errors
/// [`OpenError`] says whether the bytes, the wrap key or the place is wrong. A body that belongs to another wrapped key
/// is [`OpenError::Corrupt`].
pub fn open(wrap_key: &SecretKey, aad: &[u8], bytes: &[u8]) -> Result<SecretBytes, OpenError> {
    let (wrapped, body) = split(bytes)?;
    let data_key = unwrap(wrap_key, aad, wrapped)?;
    let opened = MessageKey::derive(&data_key, &[], BODY_LABEL).open(&[FORMAT], aad, body);
    opened.map_err(|error| match error {
        // The data key is authentic, so it is the body that is wrong, not the caller's key.
        OpenError::WrongKey => OpenError::Corrupt,
        other => other,
    })
}

/// The term of the wrap key. It is not authentic before the value was opened.
///
/// # Errors
/// [`OpenError::Format`] if the bytes are no sealed value.
pub fn term(bytes: &[u8]) -> Result<u32, OpenError> {
    let (wrapped, _) = split(bytes)?;
    envelope::term(wrapped)
}

/// Wraps the data key under the wrap key of a new term; the body stays as it is.
///
/// # Errors
/// [`OpenError`] if the wrapped data key does not open with the old key.
pub fn rewrap(
    old_key: &SecretKey,
    new_key: &SecretKey,
    new_term: u32,
    aad: &[u8],
    bytes: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, OpenError> {
    let (wrapped, body) = split(bytes)?;
    let data_key = unwrap(old_key, aad, wrapped)?;
    Ok([&[FORMAT], &wrap(new_key, new_term, aad, &data_key, entropy)[..], body].concat())
}

fn wrap(key: &SecretKey, term: u32, aad: &[u8], data_key: &SecretKey, entropy: &dyn Entropy) -> Vec<u8> {
    envelope::seal(key, term, &[WRAP_LABEL, aad].concat(), data_key.expose(), entropy)
}

fn unwrap(key: &SecretKey, aad: &[u8], wrapped: &[u8]) -> Result<SecretKey, OpenError> {
    let opened = envelope::open(key, &[WRAP_LABEL, aad].concat(), wrapped)?;
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(opened.expose());
    Ok(SecretKey::take(&mut bytes))
}

/// Splits into the wrapped data key, of `WRAPPED_LEN` bytes, and the body.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), OpenError> {
    let length_right = (OVERHEAD..=OVERHEAD + envelope::PLAINTEXT_BYTES_MAX).contains(&bytes.len());
    match bytes.split_first() {
        Some((&FORMAT, rest)) if length_right => Ok(rest.split_at(WRAPPED_LEN)),
        _ => Err(OpenError::Format),
    }
}

/// How much longer the sealed value is than its plaintext, in bytes.
pub const OVERHEAD: usize = 1 + WRAPPED_LEN + COMMITMENT_LEN + TAG_LEN;

/// The layout above.
const FORMAT: u8 = 1;
const WRAPPED_LEN: usize = envelope::OVERHEAD + 32;
/// Keeps an envelope that was sealed directly under the same key from passing as a wrapped data key.
const WRAP_LABEL: &[u8] = b"aumbry/two-layer/data-key/1\0";
const BODY_LABEL: &[u8] = b"aumbry/two-layer/body/1";

#[cfg(test)]
mod tests {
    use aumbry_types::SimulatedEntropy;

    use super::*;
    use crate::testing::{hex, key};

    fn sealed(seed: u64) -> Vec<u8> {
        seal(&key(1), 7, b"place", b"plaintext", &SimulatedEntropy::new(seed))
    }

    fn check(key_byte: u8, aad: &[u8], bytes: &[u8], expect: Result<&[u8], OpenError>) {
        let opened = open(&key(key_byte), aad, bytes);
        assert_eq!(opened.as_ref().map(SecretBytes::expose).map_err(|error| *error), expect);
    }

    #[test]
    fn frozen_bytes() {
        assert_eq!(
            hex(&sealed(1)),
            "01010100000007b9b501d1d854bb7180021590ff0b4dc3a53c36d76cec99e05963531966b423eba582dd4497a418598538dc4287421529fb19d05168540d694488f621f0bf987577aef0d1e0757b6c287098cea5ea6e1be3ab3e3755347d2499fa8dbc1273b00b6d2bd3a72ae9a8fff58c18e84bf883fbb4ce856333bf3572d4328c929909a7dfd8"
        );
    }

    /// Abuse cases: 110.
    #[test]
    fn opens_in_its_place_only() {
        let bytes = sealed(1);
        assert_eq!(bytes.len(), OVERHEAD + 9);
        assert_eq!(term(&bytes), Ok(7));
        check(1, b"place", &bytes, Ok(b"plaintext"));
        check(2, b"place", &bytes, Err(OpenError::WrongKey));
        check(1, b"other", &bytes, Err(OpenError::Corrupt));
    }

    #[test]
    fn every_flipped_bit_and_cut_is_noticed() {
        let bytes = sealed(1);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key(1), b"place", &flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(open(&key(1), b"place", &bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_wrapped_key_opens_its_own_body_only() {
        let (a, b) = (sealed(1), sealed(2));
        let swapped = [&a[..1 + WRAPPED_LEN], &b[1 + WRAPPED_LEN..]].concat();
        check(1, b"place", &swapped, Err(OpenError::Corrupt));
    }

    #[test]
    fn an_envelope_of_the_wrap_key_is_no_data_key() {
        let entropy = SimulatedEntropy::new(1);
        let chosen = key(9);
        let plain = envelope::seal(&key(1), 7, b"place", chosen.expose(), &entropy);
        let mut forged = [&[FORMAT], &plain[..]].concat();
        let body = MessageKey::derive(&chosen, &[], BODY_LABEL);
        body.seal(&mut forged, &[FORMAT], b"place", b"x");
        check(1, b"place", &forged, Err(OpenError::Corrupt));
    }

    #[test]
    fn rewrap_replaces_the_wrapped_key_alone() {
        let bytes = sealed(1);
        let rewrap = |old, aad: &[u8]| rewrap(&key(old), &key(2), 8, aad, &bytes, &SimulatedEntropy::new(3));
        let rewrapped = rewrap(1, b"place").expect("the old key opens");
        assert_eq!(rewrapped[1 + WRAPPED_LEN..], bytes[1 + WRAPPED_LEN..]);
        assert_eq!(term(&rewrapped), Ok(8));
        check(2, b"place", &rewrapped, Ok(b"plaintext"));
        check(1, b"place", &rewrapped, Err(OpenError::WrongKey));
        assert_eq!(rewrap(3, b"place"), Err(OpenError::WrongKey));
        assert_eq!(rewrap(1, b"other"), Err(OpenError::Corrupt));
    }
}
