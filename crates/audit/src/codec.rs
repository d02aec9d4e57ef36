//! The one binary codec of this crate: numbers as shortest LEB128, byte strings with their length before them.
//!
//! What it guarantees: a number has one form only, and a reader neither panics nor reserves memory for a length that
//! its input does not hold. What it does not do: order and bounds of a type's own parts, which the type checks.

/// Appends values to a buffer.
#[derive(Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    /// Starts an encoding with its version byte.
    pub(crate) fn new(version: u8) -> Self {
        Self(vec![version])
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(crate) fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.fixed(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes values from a buffer. Every method answers `None` when the input is too short or not in its one form.
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// Takes the version byte, which must be this one.
    pub(crate) fn version(&mut self, version: u8) -> Option<()> {
        (self.byte()? == version).then_some(())
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if (part << shift) >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                // A last byte of zero adds nothing, so a shorter form exists.
                return (byte != 0 || shift == 0).then_some(number);
            }
        }
        None
    }

    pub(crate) fn number_u32(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    /// Takes a count of items that occupy at least `item_bytes` each, so that a count cannot ask for more memory than
    /// a small multiple of the input.
    pub(crate) fn count(&mut self, item_bytes: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len() / item_bytes).then_some(count)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.count(1)?;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        core::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    /// Ends the decoding: nothing may be left over.
    pub(crate) fn finish(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form() {
        for number in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut encoder = Encoder::default();
            encoder.number(number);
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            assert_eq!(decoder.number(), Some(number));
            assert_eq!(decoder.finish(), Some(()));
        }
        let bad: [&[u8]; 6] = [
            &[],
            &[0x80],
            &[0x80, 0],
            &[0xff, 0x80, 0],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ];
        for bytes in bad {
            assert_eq!(Decoder::new(bytes).number(), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_length_beyond_the_input_is_refused() {
        assert_eq!(Decoder::new(&[3, 1, 2]).bytes(), None);
        assert_eq!(Decoder::new(&[2, 1, 2]).bytes(), Some(&[1, 2][..]));
        assert_eq!(Decoder::new(&[2, 0, 0, 0]).count(2), None);
    }
}
