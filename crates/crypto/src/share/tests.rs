use proptest::prelude::*;

use super::*;
use crate::testing::{hex, key};

fn share() -> Share {
    Share::new(StorageId::from_bytes([5; 16]), 3, 2, 1, key(0xa7))
}

fn text_of(share: &Share) -> String {
    share.expose_text().expose_str().expect("is ASCII").to_string()
}

#[test]
fn frozen_bytes() {
    assert_eq!(
        text_of(&share()),
        "aumbry-share-07y0x0gz28f38kg0000060g1myktf9x7myktf9x7myktf9x7myktf9x7myktf9x7myktf9x7mykwcasmnc"
    );
    assert_eq!(
        hex(&share().digest(StorageId::from_bytes([5; 16]))),
        "e4da15d059b9c12545c0479748e5964fb05c21f63a06357aabee713b68d0f9b1"
    );
}

#[test]
fn reads_what_a_person_types() {
    let text = text_of(&share());
    let body = &text[PREFIX.len()..];
    let grouped: Vec<&str> = (0..body.len())
        .step_by(4)
        .map(|i| &body[i..body.len().min(i + 4)])
        .collect();
    let forms = [
        text.clone(),
        format!("  {text}\r\n"),
        text.to_uppercase(),
        format!("{PREFIX}{}", grouped.join("-")),
        format!("{PREFIX}{}", grouped.join(" \n ")),
        format!("{PREFIX}{}", body.replace('0', "O").replace('1', "l")),
    ];
    for form in forms {
        let read = Share::parse(form.as_bytes()).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(text_of(&read), text);
        assert_eq!((read.epoch(), read.threshold(), read.index()), (3, 2, 1));
        assert_eq!(read.cluster_tag(), &cluster_tag(StorageId::from_bytes([5; 16])));
    }
}

#[test]
fn says_what_is_wrong() {
    let check = |text: &[u8], expect: ShareError| {
        assert_eq!(Share::parse(text).map(|_| ()), Err(expect));
    };
    let text = text_of(&share());
    let length = |found| ShareError::Length { found };
    check(b"", length(0));
    check(b"aumbry", length(0));
    check(PREFIX.as_bytes(), length(0));
    check(&text.as_bytes()[..text.len() - 1], length(SYMBOLS - 1));
    check(format!("{text}0").as_bytes(), length(SYMBOLS + 1));
    check(&vec![b'0'; 10_000_000], length(10_000_000));
    check(&text.as_bytes()[1..], ShareError::Encoding);
    check(text.replace("aumbry", "vault_").as_bytes(), ShareError::Encoding);
    check(format!("{}u", &text[..text.len() - 1]).as_bytes(), ShareError::Encoding);
    check(
        format!("{}\u{e9}", &text[..text.len() - 2]).as_bytes(),
        ShareError::Encoding,
    );

    let zero = Share::new(StorageId::from_bytes([5; 16]), 3, 2, 0, key(0xa7));
    check(text_of(&zero).as_bytes(), ShareError::Index { found: 0 });
}

/// Abuse cases: 103.
#[test]
fn every_typing_error_is_noticed() {
    let text = text_of(&share()).into_bytes();
    for place in PREFIX.len()..text.len() {
        for symbol in ALPHABET {
            let mut typed = text.clone();
            typed[place] = *symbol;
            if typed != text {
                assert_eq!(Share::parse(&typed).map(|_| ()), Err(ShareError::Checksum));
            }
        }
        if place + 1 < text.len() && text[place] != text[place + 1] {
            let mut typed = text.clone();
            typed.swap(place, place + 1);
            assert_eq!(Share::parse(&typed).map(|_| ()), Err(ShareError::Checksum));
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Share::parse(&bytes).is_err());
        let prefixed = [PREFIX.as_bytes(), &bytes].concat();
        prop_assert!(Share::parse(&prefixed).is_err());
    }

    #[test]
    fn texts_read_back(epoch: u32, threshold: u8, index in 1_u8.., value: [u8; 32]) {
        let id = StorageId::from_bytes([5; 16]);
        let share = Share::new(id, epoch, threshold, index, SecretKey::take(&mut value.clone()));
        let read = Share::parse(share.expose_text().expose()).expect("reads back");
        prop_assert_eq!(read.value().expose(), &value);
        prop_assert_eq!((read.epoch(), read.threshold(), read.index()), (epoch, threshold, index));
    }
}
