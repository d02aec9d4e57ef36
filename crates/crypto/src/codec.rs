//! The codec of this crate's formats: fixed fields in network order, counts before lists.
//!
//! What it guarantees: a buffer that may hold keys is made in its final size, so that growing leaves no copy behind, and
//! a reader never takes memory for a length that its input does not hold.

use aumbry_types::SecretKey;
use zeroize::Zeroizing;

/// Appends fields to a buffer of a size that is known before.
pub(crate) struct Writer {
    bytes: Vec<u8>,
    length: usize,
}

impl Writer {
    /// Starts an encoding of exactly `length` bytes.
    pub(crate) fn new(length: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(length),
            length,
        }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        debug_assert!(self.bytes.len() + bytes.len() <= self.length, "the buffer would grow");
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The bytes so far.
    pub(crate) fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes.
    pub(crate) fn finish(self) -> Vec<u8> {
        debug_assert_eq!(self.bytes.len(), self.length, "the length was told before");
        self.bytes
    }
}

/// Takes fields from the front of the input; `None` once it is too short.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn key(&mut self) -> Option<SecretKey> {
        let mut bytes = Zeroizing::new(self.array()?);
        Some(SecretKey::take(&mut bytes))
    }

    /// `Some` if nothing is left.
    pub(crate) fn finish(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
