//! The envelope: one message sealed with AES-256-GCM under a key of its own.
//!
//! ```text
//! envelope   = format u8 | algorithm u8 | term u32 | nonce 24 | commitment 16 | ciphertext | tag 16
//! key, commitment = HKDF-SHA-256(ikm = key, salt = nonce, info = label)       32 and 16 bytes
//! ciphertext, tag = AES-256-GCM(key, nonce = 0, associated = header | length u64 | caller's associated data)
//! ```
//!
//! What it guarantees:
//! - The nonce is 192 random bits and makes a key of its own for the message, so that 2^80 messages may be sealed with
//!   one key by any number of nodes, and no counter can be set back by a restored disk. Within a message key the nonce of
//!   GCM is zero, because that key serves once.
//! - An envelope opens with the key it was sealed with alone: GCM by itself does not commit to its key. The commitment is
//!   checked first, which also tells a wrong key from damaged bytes. It is 128 bits long: who makes *both* keys can find
//!   two with one commitment after 2^64 trials; keys here are made by the keyring and never come from outside.
//! - The associated data and every byte of the header are authentic.
//!
//! What it does not do: hide the length, or notice that a whole old envelope was put back in its place. The term is in
//! clear, to find the key with; it is the caller's and means nothing here.
//!
//! Sources: NIST SP 800-38D (GCM), RFC 5869 (HKDF), C2SP XAES-256-GCM (a key derived from the nonce).

use aumbry_types::{Entropy, SecretBytes, SecretKey};
use zeroize::Zeroizing;

use crate::codec::Reader;
use crate::equal;
use crate::primitives::{gcm_decrypt, gcm_encrypt, hkdf_sha256};

/// Why an envelope did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short, too long, or of a format or algorithm that this version does not know.
    #[error("the bytes are not a sealed message that this version can read; check the version that wrote them")]
    Format,
    /// The key is not the one that sealed this message, or the nonce or commitment in the header is damaged.
    #[error("the sealed message belongs to another key; check the term and the storage id")]
    WrongKey,
    /// The key is right. The ciphertext, the header or the associated data is not what was sealed.
    #[error("the sealed message is damaged or was moved from another place; restore it from another node")]
    Corrupt,
}

/// Seals a message. `term` names the key for the reader, `aad` is what the message belongs to: [`open`] needs the same.
///
/// # Panics
/// If the plaintext is longer than [`PLAINTEXT_BYTES_MAX`], which is a bug of the caller.
#[must_use]
pub fn seal(key: &SecretKey, term: u32, aad: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let header = [&[FORMAT, ALGORITHM], &term.to_be_bytes()[..], &nonce].concat();
    let mut envelope = Vec::with_capacity(OVERHEAD + plaintext.len());
    envelope.extend_from_slice(&header);
    MessageKey::derive(key, &nonce, LABEL).seal(&mut envelope, &header, aad, plaintext);
    envelope
}

/// Opens an envelope, given the key and the associated data that it was sealed with.
///
/// # Errors
/// [`OpenError`] says whether the bytes, the key or the place is wrong.
pub fn open(key: &SecretKey, aad: &[u8], envelope: &[u8]) -> Result<SecretBytes, OpenError> {
    term(envelope)?;
    let (header, rest) = envelope.split_at(HEADER_LEN - COMMITMENT_LEN);
    let nonce = &header[HEADER_LEN - COMMITMENT_LEN - NONCE_LEN..];
    MessageKey::derive(key, nonce, LABEL).open(header, aad, rest)
}

/// The term that the header names. It is not authentic before the envelope was opened.
///
/// # Errors
/// [`OpenError::Format`] if the bytes are no envelope.
pub fn term(envelope: &[u8]) -> Result<u32, OpenError> {
    let length_right = (OVERHEAD..=OVERHEAD + PLAINTEXT_BYTES_MAX).contains(&envelope.len());
    let mut reader = Reader::new(envelope);
    match (reader.byte(), reader.byte(), reader.u32()) {
        (Some(FORMAT), Some(ALGORITHM), Some(term)) if length_right => Ok(term),
        _ => Err(OpenError::Format),
    }
}

/// The key of one message, and its commitment. Used for one seal, so that GCM's nonce can be zero.
pub(crate) struct MessageKey(Zeroizing<[u8; 32 + COMMITMENT_LEN]>);

impl MessageKey {
    pub(crate) fn derive(key: &SecretKey, salt: &[u8], label: &[u8]) -> Self {
        let mut output = Zeroizing::new([0; 32 + COMMITMENT_LEN]);
        hkdf_sha256(salt, key.expose(), &[label], &mut *output);
        Self(output)
    }

    /// Appends `commitment | ciphertext | tag`.
    pub(crate) fn seal(self, out: &mut Vec<u8>, header: &[u8], aad: &[u8], plaintext: &[u8]) {
        assert!(
            plaintext.len() <= PLAINTEXT_BYTES_MAX,
            "the caller bounds what it seals"
        );
        let (key, commitment) = self.parts();
        out.reserve_exact(COMMITMENT_LEN + plaintext.len() + TAG_LEN);
        out.extend_from_slice(commitment);
        // The plaintext is encrypted where it lies, and the buffer has room for the tag: no copy of it stays behind.
        let start = out.len();
        out.extend_from_slice(plaintext);
        let associated = associated(header, commitment, aad);
        let tag = gcm_encrypt(key, &[0; 12], &associated, &mut out[start..]);
        out.extend_from_slice(&tag);
    }

    /// Opens `commitment | ciphertext | tag` that was sealed with this header.
    pub(crate) fn open(self, header: &[u8], aad: &[u8], rest: &[u8]) -> Result<SecretBytes, OpenError> {
        let (key, commitment) = self.parts();
        let (found, rest) = rest.split_at_checked(COMMITMENT_LEN).ok_or(OpenError::Format)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(OpenError::Format)?;
        if !equal(found, commitment) {
            return Err(OpenError::WrongKey);
        }
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        if !gcm_decrypt(key, &[0; 12], &associated(header, found, aad), &mut buffer, tag) {
            return Err(OpenError::Corrupt);
        }
        Ok(SecretBytes::new(core::mem::take(&mut *buffer)))
    }

    fn parts(&self) -> (&[u8; 32], &[u8]) {
        self.0.split_first_chunk().expect("the array is longer than 32 bytes")
    }
}

/// `header | commitment | length of aad u64 | aad`. The header's length follows from its first bytes.
fn associated(header: &[u8], commitment: &[u8], aad: &[u8]) -> Vec<u8> {
    [header, commitment, &(aad.len() as u64).to_be_bytes(), aad].concat()
}

/// How much longer an envelope is than its plaintext, in bytes.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// The longest plaintext in bytes. Values are at most 1 MiB and an entry's audit records a few; the bound is far above
/// them and far below the 64 GiB of GCM, and keeps a damaged length from taking the memory of the node.
pub const PLAINTEXT_BYTES_MAX: usize = 1 << 28;

/// The layout above.
const FORMAT: u8 = 1;
/// HKDF-SHA-256 and AES-256-GCM. Others may follow.
const ALGORITHM: u8 = 1;
const NONCE_LEN: usize = 24;
pub(crate) const COMMITMENT_LEN: usize = 16;
pub(crate) const TAG_LEN: usize = 16;
const HEADER_LEN: usize = 2 + 4 + NONCE_LEN + COMMITMENT_LEN;
const LABEL: &[u8] = b"aumbry/envelope/1";

#[cfg(test)]
mod tests;
