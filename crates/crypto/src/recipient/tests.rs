use core::sync::atomic::{AtomicU8, Ordering};

use super::*;

/// An identity that is used for nothing else, and its recipient.
const IDENTITY: &str = "AGE-SECRET-KEY-14V5R4A8908ZUETHUG7SNZLDVUJTX4ZUQLSEDMS42C2E24YCR9NDSQ4XMC3";
const RECIPIENT: &str = "age19n85xmu58cp8e3wt48upwzlfkxw4ezrev4zkrv6lwkqhh7guqd8s8wgc2e";

/// Counts up.
struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn counting() -> Counting {
    Counting(AtomicU8::new(0))
}

/// What the holder of the identity does, step by step as the format says.
fn open(armored: &str, identity: &[u8; 32]) -> Vec<u8> {
    let lines: Vec<_> = armored.lines().collect();
    let file = STANDARD.decode(lines[1..lines.len() - 1].concat()).expect("is base64");
    let mut parts = file.splitn(5, |byte| *byte == b'\n');
    let mut line = || core::str::from_utf8(parts.next().expect("has lines")).expect("is text");
    assert_eq!(line(), "age-encryption.org/v1");
    let share = line().strip_prefix("-> X25519 ").expect("is a stanza");
    let share: [u8; 32] = STANDARD_NO_PAD
        .decode(share)
        .expect("is base64")
        .try_into()
        .expect("is a key");
    let mut wrapped = STANDARD_NO_PAD.decode(line()).expect("is base64");
    let mac = line().strip_prefix("--- ").expect("is a MAC").to_owned();
    let payload = parts.next().expect("has a payload");

    let own = PrivateKey::from_private_key(&X25519, identity).expect("is a key");
    let public = own.compute_public_key().expect("is a key");
    let secret = agree(&own, UnparsedPublicKey::new(&X25519, share), (), |secret| {
        Ok(secret.to_vec())
    });
    let mut key = [0; 32];
    let salt = [&share[..], public.as_ref()].concat();
    hkdf_sha256(
        &salt,
        &secret.expect("agrees"),
        &[b"age-encryption.org/v1/X25519"],
        &mut key,
    );
    let opened = |key: &[u8; 32], nonce: [u8; 12], sealed: &mut Vec<u8>| {
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("is a key"));
        let plain = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), sealed);
        plain.expect("opens").to_vec()
    };
    let file_key = opened(&key, [0; 12], &mut wrapped);
    hkdf_sha256(&[], &file_key, &[b"header"], &mut key);
    let header = file.len() - payload.len() - 1 - mac.len() - 1;
    let expected = hmac_sha256(&key, [&file[..header]].into_iter());
    assert_eq!(mac, STANDARD_NO_PAD.encode(expected));
    hkdf_sha256(&payload[..16], &file_key, &[b"payload"], &mut key);
    let mut nonce = [0; 12];
    nonce[11] = 1;
    opened(&key, nonce, &mut payload[16..].to_vec())
}

#[test]
fn the_holder_of_the_identity_reads_it() {
    let identity = bech32::decode("age-secret-key-", IDENTITY).expect("is an identity");
    let identity: [u8; 32] = identity.try_into().expect("is a key");
    let recipient = Recipient::parse(&format!(" {RECIPIENT}\n")).expect("is one");
    for text in ["", "aumbry-share-07y0x0gz28f38kg0000060g2n13", &"x".repeat(4_000)] {
        let armored = recipient.encrypt(&SecretBytes::from(text.to_owned()), &counting());
        assert_eq!(open(&armored, &identity), text.as_bytes());
        assert!(armored.lines().all(|line| line.len() <= 64), "{armored}");
    }
}

/// The bytes, which `age` 1.1.1 opens with the identity above. The nonces are those of [`Counting`].
#[test]
fn the_format_is_frozen() {
    let recipient = Recipient::parse(RECIPIENT).expect("is one");
    let armored = recipient.encrypt(&SecretBytes::from("a share".to_owned()), &counting());
    assert_eq!(armored, FROZEN);
}

#[test]
fn abuse_063_what_is_no_recipient_is_told_apart() {
    use RecipientError::{Checksum, Form, Identity, Weak};
    let upper = RECIPIENT.to_uppercase();
    assert!(Recipient::parse(&upper).is_ok(), "one case or the other");
    let mixed = format!("{}{}", &RECIPIENT[..30], &upper[30..]);
    let long = format!("{RECIPIENT}{}", "q".repeat(10_000_000));
    for (text, error) in [
        ("", Form),
        ("age1", Form),
        ("age1qqqqqq", Checksum),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHs", Form),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----", Form),
        (IDENTITY, Identity),
        (&IDENTITY.to_lowercase(), Identity),
        (&RECIPIENT[..61], Checksum),
        (&mixed, Form),
        (&long, Form),
    ] {
        assert_eq!(Recipient::parse(text), Err(error), "{:.40}", text);
    }
    // Every wrong character is noticed.
    for at in 4..RECIPIENT.len() {
        for wrong in ["q", "p", "7", "l"] {
            if &RECIPIENT[at..=at] != wrong {
                let text = format!("{}{wrong}{}", &RECIPIENT[..at], &RECIPIENT[at + 1..]);
                assert_eq!(Recipient::parse(&text), Err(Checksum), "{text}");
            }
        }
    }
    // Points of small order: everybody knows the secret.
    assert_eq!(Recipient::parse(ZERO), Err(Weak));
    // Nothing of what was pasted is told.
    assert!(!Identity.to_string().contains("14V5R4A"));
}

#[test]
fn abuse_063_there_is_one_recipient_for_each_share() {
    let parse = |texts: &[&str], shares| Recipients::parse(texts, shares).map(|some| some.is_some());
    let none: [&str; 0] = [];
    assert_eq!(parse(&none, 3), Ok(false));
    assert_eq!(parse(&[RECIPIENT], 1), Ok(true));
    assert_eq!(
        parse(&[RECIPIENT], 2),
        Err(RecipientsError::Count { found: 1, shares: 2 })
    );
    assert_eq!(
        parse(&[RECIPIENT, RECIPIENT], 2),
        Err(RecipientsError::Repeated { number: 2 })
    );
    let error = RecipientError::Identity;
    assert_eq!(
        parse(&[RECIPIENT, IDENTITY], 2),
        Err(RecipientsError::One { number: 2, error })
    );
}

/// The recipient of the point zero.
const ZERO: &str = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z";
const FROZEN: &str = "\
-----BEGIN AGE ENCRYPTED FILE-----\n\
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBqMERGcmJhUEpXSks1YklV\n\
Nm5aNmJzbE5ncDA5ZTE0YTBicHZQaUU0S0Y4CjhEUlVsb2wzT0NIWmxwSDErZlRS\n\
WXBlZEhpa2Q0SXo4UnpwZElFM0xlWG8KLS0tICtNQ3ZlL3VKdnE0aWVBUlFmaWR1\n\
cU5RVXZCWitPMm5HWDNzODh1Sk90WEEKMDEyMzQ1Njc4OTo7PD0+Pxansvmnt4uz\n\
nMQpEoDVzQGNokZQvLS6\n\
-----END AGE ENCRYPTED FILE-----\n";
