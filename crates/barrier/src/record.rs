//! How engines encode what they store inside the ciphertext: a version byte, then postcard.
//!
//! Apply never sees these bytes, so they need not be canonical; they must stay readable. A changed layout takes the next version.

use aumbry_types::SecretBytes;
use serde::{Serialize, de::DeserializeOwned};

/// A stored record does not decode: it was written by a newer build, or by a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored record cannot be read by this build")]
pub struct UnreadableRecord;

/// Encodes a record.
///
/// # Panics
/// Never for plain data; postcard fails only on types that this workspace does not store.
pub fn encode<T: Serialize>(version: u8, record: &T) -> SecretBytes {
    // The buffer has its full size from the start: one that grows would leave copies of secrets behind, unwiped.
    let size = postcard::experimental::serialized_size(record).expect("plain data encodes");
    let mut bytes = Vec::with_capacity(1 + size);
    bytes.push(version);
    let bytes = postcard::to_extend(record, bytes).expect("plain data encodes");
    SecretBytes::new(bytes)
}

/// Decodes a record of this version.
///
/// # Errors
/// [`UnreadableRecord`] if the version differs or the bytes are no such record.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, UnreadableRecord> {
    let rest = bytes.strip_prefix(&[version]).ok_or(UnreadableRecord)?;
    match postcard::take_from_bytes(rest) {
        Ok((record, [])) => Ok(record),
        _ => Err(UnreadableRecord),
    }
}
