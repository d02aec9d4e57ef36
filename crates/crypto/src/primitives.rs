//! The one file that calls the libraries below: AES-256-GCM, AES-256-CTR, HKDF and HMAC with SHA-256.
//!
//! What it guarantees: the functions of the standards, tested against their published vectors, with nothing added. What
//! it does not do: any framing. A caller separates domains and parts before it comes here.

use crate::HashKind;
use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

/// SHA-256 (FIPS 180-4) of the parts, one after the other.
pub(crate) fn hash(kind: HashKind, bytes: &[u8]) -> Vec<u8> {
    match kind {
        HashKind::Sha224 => Sha224::digest(bytes).to_vec(),
        HashKind::Sha256 => Sha256::digest(bytes).to_vec(),
        HashKind::Sha384 => Sha384::digest(bytes).to_vec(),
        HashKind::Sha512 => Sha512::digest(bytes).to_vec(),
    }
}

pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// HMAC-SHA-256 (RFC 2104) of the parts, one after the other.
pub(crate) fn hmac_sha256<'a>(key: &[u8], parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}

/// HKDF-SHA-256 (RFC 5869) into `output`, which is at most 8,160 bytes long. `info` is its parts, one after the other.
pub(crate) fn hkdf_sha256(salt: &[u8], input: &[u8], info: &[&[u8]], output: &mut [u8]) {
    let expanded = Hkdf::<Sha256>::new(Some(salt), input).expand_multi_info(info, output);
    expanded.expect("no caller asks for more than 255 blocks");
}

/// Encrypts the buffer in place with AES-256-GCM (SP 800-38D) and returns the tag.
pub(crate) fn gcm_encrypt(key: &[u8; 32], nonce: &[u8; 12], associated: &[u8], buffer: &mut [u8]) -> [u8; 16] {
    let cipher = Aes256Gcm::new(key.into());
    let tag = cipher.encrypt_inout_detached(nonce.into(), associated, buffer.into());
    tag.expect("no caller has a message of 64 GiB").into()
}

/// Decrypts the buffer in place with AES-256-GCM if the tag is right. If it is not, the buffer is not plaintext.
#[must_use]
pub(crate) fn gcm_decrypt(
    key: &[u8; 32],
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut [u8],
    tag: &[u8; 16],
) -> bool {
    let cipher = Aes256Gcm::new(key.into());
    cipher
        .decrypt_inout_detached(nonce.into(), associated, buffer.into(), tag.into())
        .is_ok()
}

/// Fills the buffer, which is zero, with the key stream of AES-256-CTR (SP 800-38A) from counter zero on.
pub(crate) fn ctr_keystream(key: &[u8; 32], zeroes: &mut [u8]) {
    let start = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    let made = UnboundCipherKey::new(&AES_256, key)
        .and_then(EncryptingKey::ctr)
        .and_then(|key| key.less_safe_encrypt(zeroes, start));
    made.expect("AES takes any key of its length and any message");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, unhex};

    #[test]
    fn the_key_stream_is_the_counters_encrypted() {
        use aes_gcm::aes::cipher::BlockCipherEncrypt as _;
        let key = [7; 32];
        let mut stream = [0; 2_048];
        ctr_keystream(&key, &mut stream);
        let cipher = aes_gcm::aes::Aes256::new(&key.into());
        for (counter, block) in (0_u128..).zip(stream.chunks(16)) {
            let mut expected = counter.to_be_bytes().into();
            cipher.encrypt_block(&mut expected);
            assert_eq!(block, &expected[..], "block {counter}");
        }
    }

    /// From NIST's CAVP file `gcmEncryptExtIV256.rsp`: key, nonce, plaintext, associated data, ciphertext, tag.
    const GCM: &[[&str; 6]] = &[
        [
            "b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4",
            "516c33929df5a3284ff463d7",
            "",
            "",
            "",
            "bdc1ac884d332457a1d2664f168c76f0",
        ],
        [
            "78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223",
            "d79cf22d504cc793c3fb6c8a",
            "",
            "b96baa8c1c75a671bfb2d08d06be5f36",
            "",
            "3e5d486aa2e30b22e040b85723a06e76",
        ],
        [
            "31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22",
            "0d18e06c7c725ac9e362e1ce",
            "2db5168e932556f8089a0622981d017d",
            "",
            "fa4362189661d163fcd6a56d8bf0405a",
            "d636ac1bbedd5cc3ee727dc2ab4a9489",
        ],
        [
            "92e11dcdaa866f5ce790fd24501f92509aacf4cb8b1339d50c9c1240935dd08b",
            "ac93a1a6145299bde902f21a",
            "2d71bcfa914e4ac045b2aa60955fad24",
            "1e0889016f67601c8ebea4943bc23ad6",
            "8995ae2e6df3dbf96fac7b7137bae67f",
            "eca5aa77d51d4a0a14d9c51e1da474ab",
        ],
        [
            "463b412911767d57a0b33969e674ffe7845d313b88c6fe312f3d724be68e1fca",
            "611ce6f9a6880750de7da6cb",
            "e7d1dcf668e2876861940e012fe52a98dacbd78ab63c08842cc9801ea581682ad54af0c34d0d7f6f59e8ee0bf4900e0fd85042",
            "0a682fbc6192e1b47a5e0868787ffdafe5a50cead3575849990cdd2ea9b3597749403efb4a56684f0c6bde352d4aeec5",
            "8886e196010cb3849d9c1a182abe1eeab0a5f3ca423c3669a4a8703c0f146e8e956fb122e0d721b869d2b6fcd4216d7d4d3758",
            "2469cecd70fd98fec9264f71df1aee9a",
        ],
    ];

    #[test]
    fn gcm_agrees_with_nist() {
        for [key, nonce, plaintext, associated, ciphertext, tag] in GCM {
            let key: [u8; 32] = unhex(key).try_into().expect("32 bytes");
            let nonce: [u8; 12] = unhex(nonce).try_into().expect("12 bytes");
            let associated = unhex(associated);
            let mut buffer = unhex(plaintext);
            let made = gcm_encrypt(&key, &nonce, &associated, &mut buffer);
            assert_eq!((hex(&buffer), hex(&made)), (ciphertext.to_string(), tag.to_string()));

            let mut altered = made;
            altered[15] ^= 1;
            let mut copy = buffer.clone();
            assert!(!gcm_decrypt(&key, &nonce, &associated, &mut copy, &altered));
            assert!(gcm_decrypt(&key, &nonce, &associated, &mut buffer, &made));
            assert_eq!(hex(&buffer), *plaintext);
        }
    }

    #[test]
    fn hkdf_agrees_with_rfc_5869() {
        let check = |input: &[u8], salt: &[u8], info: &[u8], expect: &str| {
            let mut output = vec![0; expect.len() / 2];
            hkdf_sha256(salt, input, &[info], &mut output);
            assert_eq!(hex(&output), expect);
            let (left, right) = info.split_at(info.len() / 2);
            output.fill(0);
            hkdf_sha256(salt, input, &[left, right], &mut output);
            assert_eq!(hex(&output), expect, "in two parts");
        };
        let range = |from: u8, to: u8| (from..=to).collect::<Vec<_>>();
        check(
            &[0x0b; 22],
            &range(0x00, 0x0c),
            &range(0xf0, 0xf9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        );
        check(
            &range(0x00, 0x4f),
            &range(0x60, 0xaf),
            &range(0xb0, 0xff),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
             da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        );
        check(
            &[0x0b; 22],
            &[],
            &[],
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        );
    }

    #[test]
    fn hmac_agrees_with_rfc_4231() {
        let check = |key: &[u8], data: &[u8], expect: &str| {
            let parts = [&data[..1], &data[1..]];
            assert_eq!(hex(&hmac_sha256(key, parts.into_iter())), expect);
        };
        check(
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        );
        check(
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        check(
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        );
        check(
            &(0x01..=0x19).collect::<Vec<_>>(),
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        );
        check(
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        );
    }

    #[test]
    fn sha256_agrees_with_fips_180() {
        let expect = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(&[b"a", b"", b"bc"])), expect);
    }
}
