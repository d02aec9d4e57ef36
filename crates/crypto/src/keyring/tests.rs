use aumbry_types::SimulatedEntropy;

use super::*;
use crate::testing::hex;
use crate::{equal, sha256};

fn keyring() -> Keyring {
    Keyring::make(&SimulatedEntropy::new(1))
}

#[test]
fn frozen_bytes() {
    let encoded = keyring().encode();
    assert_eq!(encoded.len(), 1 + 6 * (2 + 44));
    assert_eq!(
        hex(&encoded.expose()[..64]),
        "010001000000010000000000000000c15c0289ec2d0a9167ec8e65a18debbe5e5532fbeea293f80bc942ee9086c1710001000000010000000000000000b9b501"
    );
    assert_eq!(
        hex(&sha256(&[encoded.expose()])),
        "af60bef4afc28aa224ab8092ec6a38abdb30cb330bf926b70b6544d0914c0d45"
    );
    let keyring = keyring();
    let derived = Purpose::ALL.map(|purpose| *keyring.data_key(purpose, 1).expect("term 1").expose());
    assert_eq!(
        hex(&sha256(&[derived.as_flattened()])),
        "ae0fe0b92a91445c5715107ec1ce4aa7516a9f25699a9f5a92b79edb7e99e285"
    );
}

#[test]
fn reads_back_after_rotations() {
    let entropy = SimulatedEntropy::new(2);
    let mut keyring = Keyring::make(&entropy);
    for (round, series) in Series::ALL.iter().enumerate() {
        for _ in 0..round {
            keyring
                .rotate(*series, LogIndex(round as u64), &entropy)
                .expect("has room");
        }
    }
    keyring.retire(Series::Audit, 2).expect("is old");
    let read = Keyring::decode(keyring.encode().expose()).expect("reads back");
    for series in Series::ALL {
        assert!(read.generations(series).eq(keyring.generations(series)), "{series:?}");
    }
    assert_eq!(read.encode().expose(), keyring.encode().expose());
    assert_eq!(read.checkpoint().verifying_key(), keyring.checkpoint().verifying_key());
    assert_eq!((read.term(), read.audit_epoch()), (1, 5));
    assert!(read.audit(2).is_none() && read.audit(3).is_some());
}

#[test]
fn only_the_canonical_form_is_read() {
    let good = keyring().encode();
    let check = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.expose().to_vec();
        change(&mut bytes);
        assert_eq!(Keyring::decode(&bytes).map(|_| ()), Err(MalformedKeyring));
    };
    check(|bytes| bytes[0] = 2);
    check(|bytes| bytes.push(0));
    check(|bytes| bytes[2] = 0);
    check(|bytes| bytes[1] = 0xff);
    // The number of the first generation is zero.
    check(|bytes| bytes[6] = 0);
    for length in 0..good.len() {
        assert!(Keyring::decode(&good.expose()[..length]).is_err(), "{length}");
    }
    // Two generations with one number.
    let mut keyring = keyring();
    keyring
        .rotate(Series::Data, LogIndex(9), &SimulatedEntropy::new(1))
        .expect("has room");
    let mut bytes = keyring.encode().expose().to_vec();
    bytes[3 + 44 + 3] = 1;
    assert!(Keyring::decode(&bytes).is_err());
}

#[test]
fn every_key_serves_one_purpose_of_one_term() {
    let entropy = SimulatedEntropy::new(3);
    let mut keyring = Keyring::make(&entropy);
    assert_eq!(keyring.rotate(Series::Data, LogIndex(5), &entropy), Ok(2));
    let mut keys: Vec<&SecretKey> = vec![keyring.names(), keyring.tokens(), keyring.fields()];
    keys.extend(keyring.audit(1));
    for term in [1, 2] {
        keys.extend(
            Purpose::ALL
                .iter()
                .filter_map(|purpose| keyring.data_key(*purpose, term)),
        );
    }
    assert_eq!(keys.len(), 4 + 2 * Purpose::ALL.len());
    for (i, a) in keys.iter().enumerate() {
        assert!(keys[i + 1..].iter().all(|b| !equal(a.expose(), b.expose())));
    }
    assert!(keyring.data_key(Purpose::Meta, 0).is_none());
    assert!(keyring.data_key(Purpose::Meta, 3).is_none());
}

#[test]
fn rotation_keeps_old_keys_until_they_retire() {
    let entropy = SimulatedEntropy::new(4);
    let mut keyring = Keyring::make(&entropy);
    let old = keyring.data_key(Purpose::Meta, 1).expect("term 1").duplicate();
    let checkpoint = *keyring.checkpoint().verifying_key();
    keyring.rotate(Series::Data, LogIndex(5), &entropy).expect("has room");
    keyring.rotate(Series::Data, LogIndex(6), &entropy).expect("has room");
    keyring
        .rotate(Series::Checkpoint, LogIndex(7), &entropy)
        .expect("has room");
    assert_ne!(*keyring.checkpoint().verifying_key(), checkpoint);
    assert_eq!(keyring.term(), 3);
    assert_eq!(
        keyring.data_key(Purpose::Meta, 1).map(SecretKey::expose),
        Some(old.expose())
    );

    let third = keyring.data_key(Purpose::Meta, 3).expect("term 3").duplicate();
    assert_eq!(keyring.retire(Series::Data, 3), Err(RotationError::Current));
    assert_eq!(keyring.retire(Series::Data, 1), Ok(()));
    assert_eq!(keyring.retire(Series::Data, 1), Err(RotationError::Unknown));
    assert!(keyring.data_key(Purpose::Meta, 1).is_none());
    assert_eq!(
        keyring.data_key(Purpose::Meta, 3).map(SecretKey::expose),
        Some(third.expose())
    );
    let left: Vec<_> = keyring.generations(Series::Data).collect();
    assert_eq!(left, [(2, LogIndex(5)), (3, LogIndex(6))]);
}

#[test]
fn a_series_is_bounded() {
    let entropy = SimulatedEntropy::new(5);
    let mut keyring = Keyring::make(&entropy);
    for number in 2..=1_024 {
        assert_eq!(keyring.rotate(Series::Tokens, LogIndex(1), &entropy), Ok(number));
    }
    assert_eq!(
        keyring.rotate(Series::Tokens, LogIndex(1), &entropy),
        Err(RotationError::Full)
    );
    keyring.retire(Series::Tokens, 1).expect("is old");
    assert_eq!(keyring.rotate(Series::Tokens, LogIndex(1), &entropy), Ok(1_025));
    assert!(keyring.tokens_of(1).is_none() && keyring.tokens_of(2).is_some());
}
