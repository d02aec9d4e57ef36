//! Requests that are encoded once: only the digits of the key and the request id are written for each.

use bytes::Bytes;

/// An encoded request with places for the key and the id. It may hold a token, so it has no `Debug`.
pub(crate) struct Template {
    bytes: Vec<u8>,
    key_at: Vec<usize>,
    id_at: Vec<usize>,
}

impl Template {
    /// Of a request that was encoded with [`KEY_MARK`] as key and [`ID_MARK`] as id. Both have the length of what replaces them, so
    /// that no length before them changes.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let places = |mark: &str| {
            let is_there = |at: &usize| bytes[*at..].starts_with(mark.as_bytes());
            (0..bytes.len()).filter(is_there).collect()
        };
        Self {
            key_at: places(KEY_MARK),
            id_at: places(ID_MARK),
            bytes,
        }
    }

    /// The request for this key, with this id.
    pub(crate) fn fill(&self, key: u64, id: &RequestIds, n: u64) -> Bytes {
        let mut bytes = self.bytes.clone();
        for at in &self.key_at {
            // The letter in front stays.
            write_digits(&mut bytes[at + 1..at + KEY_MARK.len()], key);
        }
        for at in &self.id_at {
            id.write(&mut bytes[*at..at + ID_MARK.len()], n);
        }
        Bytes::from(bytes)
    }
}

/// The ids of a run's requests: half is of the run, half counts.
#[derive(Debug)]
pub(crate) struct RequestIds([u8; 16]);

impl RequestIds {
    /// Of the run with this number.
    pub(crate) fn new(run: u64) -> Self {
        let mut digits = [0; 16];
        write_hex(&mut digits, run);
        Self(digits)
    }

    fn write(&self, to: &mut [u8], n: u64) {
        let (run, count) = to.split_at_mut(self.0.len());
        run.copy_from_slice(&self.0);
        write_hex(count, n);
    }
}

fn write_digits(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn write_hex(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = HEX[(number % 16) as usize];
        number /= 16;
    }
}

/// A secret of so many bytes in all, as JSON. It has no digits, so that no mark can be in it.
pub(crate) fn document(size: usize) -> String {
    let filler = size.saturating_sub(DOCUMENT_BEGIN.len() + DOCUMENT_END.len());
    let mut text = String::with_capacity(size);
    text.push_str(DOCUMENT_BEGIN);
    // Letters without a pattern: a store that compresses has no advantage.
    let mut state = 1_u64;
    text.extend((0..filler).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + ((state >> 33) % 26) as u8)
    }));
    text.push_str(DOCUMENT_END);
    text
}

/// Stands for a key's name: a letter and seven digits.
pub(crate) const KEY_MARK: &str = "k9876543";
/// Stands for a request's id.
pub(crate) const ID_MARK: &str = "01234567890123456789012345678901";

const DOCUMENT_BEGIN: &str = "{\"value\":\"";
const DOCUMENT_END: &str = "\"}";
const HEX: [u8; 16] = *b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_id_are_written_in_every_place_and_nothing_else_changes() {
        let template = Template::new(format!("a {ID_MARK} {KEY_MARK}/{KEY_MARK} {ID_MARK} z").into_bytes());
        let ids = RequestIds::new(0xab);
        let filled = template.fill(42, &ids, 255);
        let id = "00000000000000ab00000000000000ff";
        assert_eq!(filled, format!("a {id} k0000042/k0000042 {id} z"));
        assert_eq!(template.fill(9_999_999, &ids, 0).len(), filled.len());
    }

    #[test]
    fn a_document_has_the_size_that_was_asked_for() {
        for size in [16, 100, 1_024, 65_536] {
            let text = document(size);
            assert_eq!(text.len(), size);
            let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(parsed["value"].is_string());
            assert!(!text.bytes().any(|b| b.is_ascii_digit()));
        }
    }
}
