//! The canonical binary codec: fixed-width big-endian integers and length-prefixed bytes, one encoding for each value.
//!
//! Protobuf is not used for what is stored or hashed: it drops unknown fields in silence, so an older node would diverge.

use aumbry_types::{CommandId, ObjectId};
use bytes::{Buf as _, Bytes};

/// The bytes are not what the reader expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed bytes")]
pub struct Malformed;

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Starts with room for this many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Appends two bytes, the larger first.
    pub fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends four bytes, the larger first.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends eight bytes, the larger first.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends a number in as many bytes as it needs: seven bits each, the smaller first, and a mark on all but the last.
    pub fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Appends bytes whose number the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends a length of four bytes, then the bytes.
    ///
    /// # Panics
    /// If there are 4 GiB or more; every caller's input is bounded far below.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("inputs are bounded far below 4 GiB"));
        self.raw(bytes);
    }

    /// What was written so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The buffer.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes values from the front of a buffer; byte strings share its memory.
#[derive(Debug)]
pub struct Reader(Bytes);

impl Reader {
    /// Reads these bytes.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.len()
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`Malformed`] if there are fewer bytes; the same holds for the methods below.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed)
    }

    /// Takes two bytes.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.0.try_get_u16().map_err(|_| Malformed)
    }

    /// Takes four bytes.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed)
    }

    /// Takes eight bytes.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64().map_err(|_| Malformed)
    }

    /// Takes a number as [`Writer::varint`] writes it.
    ///
    /// # Errors
    /// [`Malformed`], also for a number that could be written in fewer bytes.
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let placed = bits << shift;
            if placed >> shift != bits {
                return Err(Malformed);
            }
            value |= placed;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(Malformed)
                } else {
                    Ok(value)
                };
            }
        }
        Err(Malformed)
    }

    /// As [`Self::varint`], of a number of at most four bytes.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn varint_u32(&mut self) -> Result<u32, Malformed> {
        self.varint()?.try_into().map_err(|_| Malformed)
    }

    /// Takes `N` bytes.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        self.0.try_copy_to_slice(&mut array).map_err(|_| Malformed)?;
        Ok(array)
    }

    /// Takes an object's id.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn object(&mut self) -> Result<ObjectId, Malformed> {
        Ok(ObjectId::from_bytes(self.array()?))
    }

    /// Takes a command's id.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn command(&mut self) -> Result<CommandId, Malformed> {
        Ok(CommandId::from_bytes(self.array()?))
    }

    /// Takes a length, then as many bytes.
    ///
    /// # Errors
    /// [`Malformed`] if the length is over `max` or over what is left.
    pub fn bytes(&mut self, max: usize) -> Result<Bytes, Malformed> {
        let length = self.u32()? as usize;
        if length > max || length > self.0.len() {
            return Err(Malformed);
        }
        Ok(self.0.split_to(length))
    }

    /// All that is left.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.0
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`Malformed`] if something is.
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_encoding() {
        let cases: [(u64, &[u8]); 6] = [
            (0, &[0]),
            (0x7f, &[0x7f]),
            (0x80, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::from(u32::MAX), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        let read = |bytes: &[u8]| {
            let mut r = Reader::new(Bytes::copy_from_slice(bytes));
            r.varint().and_then(|value| r.end().map(|()| value))
        };
        for (value, bytes) in cases {
            let mut w = Writer::default();
            w.varint(value);
            assert_eq!(w.as_slice(), bytes, "{value}");
            assert_eq!(read(bytes), Ok(value));
        }
        let wrong: [&[u8]; 6] = [
            &[],
            &[0x80],
            &[0x80, 0],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80],
        ];
        for bytes in wrong {
            assert_eq!(read(bytes), Err(Malformed), "{bytes:x?}");
        }
        let mut r = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x1f]));
        assert_eq!(r.varint_u32(), Err(Malformed), "over four bytes");
    }
}
