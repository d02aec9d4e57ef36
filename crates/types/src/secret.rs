//! Bytes that must not be seen: no `Debug`, no `Clone`, no `PartialEq`, wiped when dropped.

use zeroize::{Zeroize as _, Zeroizing};

use crate::{Entropy, locked};

/// A 256-bit key, in memory that the system never writes to a disk. A move leaves no copy behind.
pub struct SecretKey(Place);

enum Place {
    Locked(Option<locked::Place>),
    /// There was no room.
    Boxed(Box<[u8; 32]>),
}

impl SecretKey {
    /// Takes over the bytes; the caller's copy is wiped.
    #[must_use]
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        let key = Self::filled(|place| place.copy_from_slice(bytes));
        bytes.zeroize();
        key
    }

    /// Makes a random key.
    #[must_use]
    pub fn make(entropy: &dyn Entropy) -> Self {
        Self::filled(|place| entropy.fill(place))
    }

    fn filled(fill: impl FnOnce(&mut [u8; 32])) -> Self {
        Self(match locked::take() {
            Some(place) => {
                fill(place);
                Place::Locked(Some(place))
            }
            None => {
                let mut boxed = Box::new([0; 32]);
                fill(&mut boxed);
                Place::Boxed(boxed)
            }
        })
    }

    /// The only door to the bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        match &self.0 {
            Place::Locked(Some(place)) => place,
            Place::Boxed(boxed) => boxed,
            // It is taken out when it is dropped, and never before.
            Place::Locked(None) => &[0; 32],
        }
    }

    /// A second copy, for a second owner. Explicit, so that it can be found.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::filled(|place| place.copy_from_slice(self.expose()))
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        match &mut self.0 {
            Place::Locked(place) => place.take().into_iter().for_each(locked::give),
            Place::Boxed(boxed) => boxed.zeroize(),
        }
    }
}

/// A secret of any length: a value, a token, a share. Wiped when dropped.
#[derive(Default)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes over the bytes without copying them.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The only door to the bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8.
    #[must_use]
    pub fn expose_str(&self) -> Option<&str> {
        core::str::from_utf8(&self.0).ok()
    }

    /// How many bytes. The length of a secret is not hidden.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A second copy, for a second owner. Explicit, so that it can be found.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl From<String> for SecretBytes {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

/// Serde for a secret that is stored inside an encrypted record: `#[serde(with = "aumbry_types::exposed")]`.
///
/// [`SecretBytes`] itself has no serde, so that every place that writes one out is named.
pub mod exposed {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::SecretBytes;

    /// Writes the bytes.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(secret: &SecretBytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(secret.expose())
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretBytes, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(SecretBytes::new)
    }
}
