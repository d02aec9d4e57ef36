//! The key of a static seal, as it lies in a file: a line of text.
//!
//! ```text
//! text   = "aumbry-seal-key-" and 64 hexadecimal digits
//! key id = mac16(key, label)
//! ```
//!
//! What it guarantees: the id tells keys apart, also those of two clusters, and reveals nothing of a key of 256 random bits.
//!
//! What it does not do: notice a mistyped digit, which gives another key with another id. Nobody types it: it is copied as a file.

use core::fmt;
use core::str::FromStr;

use aumbry_types::{Entropy, SecretBytes, SecretKey, hex};
use zeroize::Zeroizing;

use crate::mac16;

/// A key that opens a seal by itself. It has neither `Debug` nor `Clone`.
pub struct StaticKey(SecretKey);

/// The text is no key of a static seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it holds no seal key: one line, `{PREFIX}` and 64 hexadecimal digits; make one with `aumbry operator seals key`"
)]
pub struct MalformedStaticKey;

/// Which key a seal is opened by. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

/// The text is no id of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a seal's key is 32 hexadecimal digits; `aumbry operator seals list` shows it")]
pub struct KeyIdError;

impl StaticKey {
    /// Makes a random key.
    #[must_use]
    pub fn make(entropy: &dyn Entropy) -> Self {
        Self(SecretKey::make(entropy))
    }

    /// Reads the text of a key. Space around it does not matter.
    ///
    /// # Errors
    /// [`MalformedStaticKey`], which repeats nothing of the text.
    pub fn parse(text: &[u8]) -> Result<Self, MalformedStaticKey> {
        let digits = text.trim_ascii().strip_prefix(PREFIX.as_bytes());
        let digits = digits.and_then(|digits| core::str::from_utf8(digits).ok());
        let bytes = digits.and_then(hex::decode::<32>).ok_or(MalformedStaticKey)?;
        Ok(Self(SecretKey::take(&mut Zeroizing::new(bytes))))
    }

    /// The text for the file, without a newline. The only door to the key.
    #[must_use]
    pub fn expose_text(&self) -> SecretBytes {
        let mut text = Vec::with_capacity(PREFIX.len() + 64);
        text.extend_from_slice(PREFIX.as_bytes());
        text.extend_from_slice(Zeroizing::new(hex::encode(self.0.expose())).as_bytes());
        SecretBytes::new(text)
    }

    /// What the key is known by.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(mac16(&self.0, &[ID_LABEL]))
    }

    pub(super) const fn key(&self) -> &SecretKey {
        &self.0
    }
}

impl KeyId {
    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        hex::decode(text).map(Self).ok_or(KeyIdError)
    }
}

const PREFIX: &str = "aumbry-seal-key-";
const ID_LABEL: &[u8] = b"aumbry/seal/static/id/1";
