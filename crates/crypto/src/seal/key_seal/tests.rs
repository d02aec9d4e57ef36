use aumbry_types::SimulatedEntropy;
use proptest::prelude::*;

use super::super::outer_key::OuterKeyError;
use super::super::static_key::{KeyIdError, MalformedStaticKey};
use super::*;
use crate::testing::{hex, key};

const ID: StorageId = StorageId::from_bytes([5; 16]);

fn made(seed: u64) -> (StaticKey, KeySeal) {
    let entropy = SimulatedEntropy::new(seed);
    let static_key = StaticKey::make(&entropy);
    let seal = KeySeal::make_static(&static_key, ID, 3, &key(0x42), &entropy);
    (static_key, seal)
}

fn open(seal: &KeySeal, key: &StaticKey, id: StorageId) -> Result<[u8; 32], OpenError> {
    seal.open(key, id).map(|root| *root.expose())
}

#[test]
fn frozen_bytes() {
    let (static_key, seal) = made(1);
    assert_eq!(
        static_key.expose_text().expose_str(),
        Some("aumbry-seal-key-c15c0289ec2d0a9167ec8e65a18debbe5e5532fbeea293f80bc942ee9086c171")
    );
    assert_eq!(static_key.id().to_string(), "9d67fddb60cb34328d355027d2c39c81");
    assert_eq!(
        hex(&seal.encode()),
        "01019d67fddb60cb34328d355027d2c39c8100000003010100000003b9b501d1d854bb7180021590ff0b4dc3a53c36d76cec99e07054ad2cffd962b2190e8834cde5d996d6aa224fc0c7d71b03fb5e84b775160978723f6056265d2b6d42ff4f64e2d60263fb13850922b355429d052ba216a36d"
    );
    assert_eq!(open(&seal, &static_key, ID), Ok([0x42; 32]));
}

#[test]
fn a_key_has_one_text() {
    let (static_key, _) = made(1);
    let text = static_key.expose_text().expose_str().unwrap_or_default().to_owned();
    let id = |text: &str| StaticKey::parse(text.as_bytes()).map(|key| key.id());
    for good in [text.clone(), format!("{text}\n"), format!("  {text}\r\n")] {
        assert_eq!(id(&good), Ok(static_key.id()));
    }
    let digits = text.trim_start_matches("aumbry-seal-key-");
    for bad in [
        "",
        "aumbry-seal-key-",
        digits,
        &text[1..],
        &text[..text.len() - 1],
        &format!("{text}0"),
        &format!("{text}\n{text}"),
        &text.to_uppercase(),
        &format!("aumbry-seal-key-{}", "g".repeat(64)),
    ] {
        assert_eq!(id(bad), Err(MalformedStaticKey), "{bad}");
    }
    assert_eq!(StaticKey::parse(&[0xff; 80]).err(), Some(MalformedStaticKey));
    let id = static_key.id();
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!("shares".parse::<KeyId>(), Err(KeyIdError));
}

/// Abuse cases: 62.
#[test]
fn only_its_own_key_opens_it_in_its_own_storage() {
    let (static_key, seal) = made(1);
    let (other, _) = made(2);
    assert_eq!(open(&seal, &other, ID), Err(OpenError::WrongKey));
    assert_eq!(
        open(&seal, &static_key, StorageId::from_bytes([6; 16])),
        Err(OpenError::WrongKey)
    );
    // Who puts his own key's id there gains nothing.
    let mut stolen = seal.clone();
    stolen.key_id = other.id();
    assert_eq!(open(&stolen, &other, ID), Err(OpenError::WrongKey));
    let mut moved = seal.clone();
    moved.root_epoch = 4;
    assert_eq!(open(&moved, &static_key, ID), Err(OpenError::WrongKey));
    let mut newer = seal;
    newer.kind = KeyKind::Unknown(9);
    assert_eq!(open(&newer, &static_key, ID), Err(OpenError::Format));
}

#[test]
fn only_the_canonical_form_is_read() {
    let (_, seal) = made(1);
    let good = seal.encode();
    assert_eq!(KeySeal::decode(&good).as_ref(), Ok(&seal));
    for length in 0..good.len() {
        assert!(KeySeal::decode(&good[..length]).is_err(), "{length}");
    }
    let check = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert_eq!(KeySeal::decode(&bytes), Err(MalformedSealConfig));
    };
    check(|bytes| bytes.push(0));
    check(|bytes| bytes[0] = 2);
    check(|bytes| bytes[1] = 0);
    // A kind of a newer version is carried as it is.
    let newer = [&[1, 9][..], &[7; 16], &[0, 0, 0, 3], b"a name at a service"].concat();
    let read = KeySeal::decode(&newer).expect("is carried");
    assert_eq!((read.kind, read.kind.name()), (KeyKind::Unknown(9), "unknown"));
    assert_eq!(read.encode(), newer);
    let long = [&newer[..22], &[0; WRAPPED_BYTES_MAX + 1]].concat();
    assert_eq!(KeySeal::decode(&long), Err(MalformedSealConfig));
}

fn made_outer(kind: KeyKind) -> (StaticKey, KeySeal) {
    let entropy = SimulatedEntropy::new(4);
    let inner = StaticKey::make(&entropy);
    let bound = OuterBinding {
        kind,
        storage_id: ID,
        root_epoch: 3,
        key_id: inner.id(),
    };
    let outer = OuterKey::new("aumbry".to_owned(), b"wrapped by a token".to_vec()).expect("is one");
    let seal = KeySeal::make_outer(&inner, outer, &bound, &key(0x42), &entropy);
    assert_eq!(seal.binding(ID), bound);
    (inner, seal)
}

/// Abuse cases: 61, 62.
#[test]
fn a_key_that_something_outside_wraps_is_bound_as_well() {
    for kind in [KeyKind::Pkcs11, KeyKind::Transit] {
        let (inner, seal) = made_outer(kind);
        let good = seal.encode();
        assert_eq!(KeySeal::decode(&good).as_ref(), Ok(&seal));
        assert_eq!(open(&seal, &inner, ID), Ok([0x42; 32]));
        assert_eq!(
            open(&seal, &inner, StorageId::from_bytes([6; 16])),
            Err(OpenError::WrongKey)
        );
        // As a seal of another kind it opens nothing: not as a weaker one either.
        for other in [KeyKind::Static, KeyKind::Pkcs11, KeyKind::Transit] {
            let mut weaker = seal.clone();
            weaker.kind = other;
            assert_eq!(open(&weaker, &inner, ID).is_ok(), other == kind);
        }
        let mut moved = seal.clone();
        moved.root_epoch = 4;
        assert_eq!(open(&moved, &inner, ID), Err(OpenError::WrongKey));
        for length in 0..22 + ROOT_LEN + 8 {
            assert!(KeySeal::decode(&good[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn what_a_key_is_bound_to_tells_everything_apart() {
    let (_, seal) = made_outer(KeyKind::Pkcs11);
    let bound = seal.binding(ID);
    let contexts = [
        bound.context("aumbry"),
        bound.context("aumbrz"),
        seal.binding(StorageId::from_bytes([6; 16])).context("aumbry"),
        OuterBinding { root_epoch: 4, ..bound }.context("aumbry"),
        OuterBinding {
            kind: KeyKind::Transit,
            ..bound
        }
        .context("aumbry"),
        OuterBinding {
            key_id: KeyId::from_bytes([0; 16]),
            ..bound
        }
        .context("aumbry"),
    ];
    for (n, context) in contexts.iter().enumerate() {
        assert!(contexts[..n].iter().all(|before| before != context), "{n}");
    }
    assert_eq!(
        hex(&contexts[0]),
        format!(
            "61756d6272792f7365616c2f6f757465722f31{}02{}00000003{}",
            "05".repeat(16),
            hex(seal.key_id.as_bytes()),
            hex(b"aumbry")
        )
    );
}

#[test]
fn a_wrapped_key_has_bounds() {
    let make = |name: &str, length| OuterKey::new(name.to_owned(), vec![7; length]);
    let long = "n".repeat(129);
    for (name, length) in [("", 1), ("n", 0), ("n", 2_049), (&*long, 1), ("a\nb", 1), ("\u{e4}", 1)] {
        assert_eq!(make(name, length).err(), Some(OuterKeyError), "{name} {length}");
    }
    let (inner, mut seal) = made_outer(KeyKind::Transit);
    seal.outer = make(&long[..128], 2_048).ok();
    assert_eq!(KeySeal::decode(&seal.encode()).as_ref(), Ok(&seal));
    assert_eq!(open(&seal, &inner, ID), Ok([0x42; 32]));
}

proptest! {
    #[test]
    fn a_flipped_bit_opens_nothing(seed in any::<u64>(), at in 0_usize..22 + ROOT_LEN, bit in 0_u8..8) {
        let (static_key, seal) = made(seed);
        let mut bytes = seal.encode();
        prop_assert_eq!(open(&seal, &static_key, ID), Ok([0x42; 32]));
        bytes[at] ^= 1 << bit;
        let opened = KeySeal::decode(&bytes).ok().and_then(|seal| open(&seal, &static_key, ID).ok());
        prop_assert_eq!(opened, None);
    }

    #[test]
    fn no_other_key_opens_it(seed in any::<u64>(), other in any::<u64>()) {
        let (_, seal) = made(seed);
        let (key, _) = made(other);
        let opened = open(&seal, &key, ID);
        prop_assert_eq!(opened, if seed == other { Ok([0x42; 32]) } else { Err(OpenError::WrongKey) });
    }
}
