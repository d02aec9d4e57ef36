use aumbry_types::SimulatedEntropy;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use proptest::prelude::*;

use super::*;
use crate::testing::{hex, key};

fn sealed() -> Vec<u8> {
    seal(&key(1), 7, b"place", b"plaintext", &SimulatedEntropy::new(1))
}

#[test]
fn frozen_bytes() {
    assert_eq!(
        hex(&sealed()),
        "010100000007c15c0289ec2d0a9167ec8e65a18debbe5e5532fbeea293f8a399b2e4284f0aaf8a30d366af6262eb45bb256c26023daf4888fca7e9d56b6030edc2d4ba135b2576"
    );
}

/// Abuse cases: 110.
#[test]
fn opens_in_its_place_only() {
    let sealed = sealed();
    assert_eq!(sealed.len(), OVERHEAD + 9);
    assert_eq!(term(&sealed), Ok(7));
    let check = |key_byte: u8, aad: &[u8], expect: Result<&[u8], OpenError>| {
        let opened = open(&key(key_byte), aad, &sealed);
        assert_eq!(opened.as_ref().map(SecretBytes::expose).map_err(|error| *error), expect);
    };
    check(1, b"place", Ok(b"plaintext"));
    check(2, b"place", Err(OpenError::WrongKey));
    check(1, b"placf", Err(OpenError::Corrupt));
    check(1, b"", Err(OpenError::Corrupt));
    check(1, b"place\0", Err(OpenError::Corrupt));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let sealed = sealed();
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let expect = match bit / 8 {
            0..2 => OpenError::Format,
            2..6 => OpenError::Corrupt,
            6..46 => OpenError::WrongKey,
            _ => OpenError::Corrupt,
        };
        let opened = open(&key(1), b"place", &flipped).map(|_| ());
        assert_eq!(opened, Err(expect), "bit {bit}");
    }
}

#[test]
fn every_cut_is_noticed() {
    let sealed = sealed();
    for length in 0..sealed.len() {
        assert!(open(&key(1), b"place", &sealed[..length]).is_err(), "{length}");
    }
    assert_eq!(term(&[FORMAT; OVERHEAD - 1]), Err(OpenError::Format));
    let longer = [&sealed[..], b"\0"].concat();
    assert_eq!(open(&key(1), b"place", &longer).map(|_| ()), Err(OpenError::Corrupt));
}

/// Abuse cases: 112.
#[test]
fn the_same_message_never_seals_to_the_same_bytes() {
    let entropy = SimulatedEntropy::new(1);
    let seal = || seal(&key(1), 7, b"place", b"plaintext", &entropy);
    let (a, b) = (seal(), seal());
    assert_ne!(a[6..30], b[6..30]);
    assert_ne!(a[46..], b[46..]);
}

/// The format as another library builds it: a mistake in one of the two does not cancel out.
mod other {
    use super::*;

    struct Length;

    impl KeyType for Length {
        fn len(&self) -> usize {
            48
        }
    }

    fn derive(key: &[u8; 32], nonce: &[u8]) -> (LessSafeKey, [u8; 16]) {
        let mut output = [0; 48];
        let extracted = Salt::new(HKDF_SHA256, nonce).extract(key);
        let expanded = extracted.expand(&[b"aumbry/envelope/1"], Length).expect("48 bytes");
        expanded.fill(&mut output).expect("48 bytes");
        let key = UnboundKey::new(&AES_256_GCM, &output[..32]).expect("32 bytes");
        (LessSafeKey::new(key), output[32..].try_into().expect("16 bytes"))
    }

    fn associated(header: &[u8], aad: &[u8]) -> Vec<u8> {
        let mut all = header.to_vec();
        all.extend_from_slice(&(aad.len() as u64).to_be_bytes());
        all.extend_from_slice(aad);
        all
    }

    pub(super) fn seal(key: &[u8; 32], term: u32, nonce: &[u8; 24], aad: &[u8], text: &[u8]) -> Vec<u8> {
        let (cipher, commitment) = derive(key, nonce);
        let mut out = vec![1, 1];
        out.extend_from_slice(&term.to_be_bytes());
        out.extend_from_slice(nonce);
        out.extend_from_slice(&commitment);
        let associated = Aad::from(associated(&out, aad));
        let mut body = text.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        cipher
            .seal_in_place_append_tag(nonce, associated, &mut body)
            .expect("seals");
        out.extend_from_slice(&body);
        out
    }

    pub(super) fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (header, body) = sealed.split_at(46);
        let (cipher, commitment) = derive(key, &header[6..30]);
        if header[30..] != commitment {
            return None;
        }
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let opened = cipher.open_in_place(nonce, Aad::from(associated(header, aad)), &mut body);
        opened.ok().map(|text| text.to_vec())
    }
}

proptest! {
    #[test]
    fn two_implementations_read_each_other(
        key_bytes: [u8; 32],
        term: u32,
        seed: u64,
        nonce: [u8; 24],
        aad in prop::collection::vec(any::<u8>(), 0..80),
        text in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let key = SecretKey::take(&mut key_bytes.clone());
        let ours = seal(&key, term, &aad, &text, &SimulatedEntropy::new(seed));
        prop_assert_eq!(other::open(&key_bytes, &aad, &ours), Some(text.clone()));
        let theirs = other::seal(&key_bytes, term, &nonce, &aad, &text);
        let opened = open(&key, &aad, &theirs);
        prop_assert_eq!(opened.as_ref().map(SecretBytes::expose), Ok(&text[..]));
        prop_assert_eq!(super::term(&theirs), Ok(term));
    }

    #[test]
    fn arbitrary_bytes_never_open(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(open(&key(1), b"", &bytes).is_err());
    }
}
