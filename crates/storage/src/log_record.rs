//! How the log's database names and checks what it stores.

use bytes::Bytes;

use crate::log::Meta;

/// The key of an entry. The keys of entries are in order of their indexes, after all other keys.
pub(crate) fn entry_key(index: u64) -> [u8; 9] {
    let mut key = [ENTRY; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The index in the key of an entry.
pub(crate) fn index_of(key: &[u8]) -> Option<u64> {
    match key.split_first()? {
        (&ENTRY, index) => Some(u64::from_be_bytes(index.try_into().ok()?)),
        _ => None,
    }
}

/// The key of a small value beside the entries.
pub(crate) const fn meta_key(key: Meta) -> [u8; 2] {
    [META, key as u8]
}

/// The key of the index up to which the log was purged.
pub(crate) const PURGED: [u8; 2] = [META, 0xff];
/// The key of the number of votes that were stored.
pub(crate) const VOTES: [u8; 2] = [META, 0xfe];
/// The key after those of all entries.
pub(crate) const END: [u8; 1] = [ENTRY + 1];

/// A value as it is stored: a checksum over name and bytes, then the bytes. With the name in it, a value in another's place is noticed.
pub(crate) fn encode(name: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CHECKSUM_BYTES + bytes.len());
    value.extend_from_slice(&checksum(name, bytes).to_be_bytes());
    value.extend_from_slice(bytes);
    value
}

/// The bytes of a stored value, if its checksum is right.
pub(crate) fn decode(name: &[u8], value: impl Into<Bytes>) -> Option<Bytes> {
    let mut value = value.into();
    if value.len() < CHECKSUM_BYTES {
        return None;
    }
    let bytes = value.split_off(CHECKSUM_BYTES);
    (*value == checksum(name, &bytes).to_be_bytes()).then_some(bytes)
}

fn checksum(name: &[u8], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(name), bytes)
}

const META: u8 = 0;
const ENTRY: u8 = 1;
/// What a stored value has before its bytes.
pub(crate) const CHECKSUM_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_or_another_place_is_noticed() {
        let name = 7u64.to_be_bytes();
        let value = encode(&name, b"entry");
        assert_eq!(decode(&name, value.clone()).unwrap(), "entry");
        assert_eq!(decode(&8u64.to_be_bytes(), value.clone()), None);
        for bit in 0..value.len() * 8 {
            let mut value = value.clone();
            value[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&name, value), None, "bit {bit}");
        }
        assert_eq!(decode(&name, value[..3].to_vec()), None);
    }

    #[test]
    fn keys_of_entries_are_in_order() {
        for (low, high) in [(0, 1), (255, 256), (1, u64::MAX)] {
            assert!(entry_key(low) < entry_key(high));
            assert_eq!(index_of(&entry_key(high)), Some(high));
        }
        assert!(entry_key(u64::MAX)[..] < END[..]);
        assert_eq!(index_of(&PURGED), None);
    }
}
