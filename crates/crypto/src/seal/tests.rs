use aumbry_types::SimulatedEntropy;

use super::*;
use crate::testing::{hex, key};

const ID: StorageId = StorageId::from_bytes([5; 16]);

fn seal(shares: u8, threshold: u8) -> (SealConfig, Vec<Share>) {
    let entropy = SimulatedEntropy::new(1);
    make_seal(ID, 3, shares, threshold, &key(0x42), &entropy).expect("a threshold")
}

fn submit(unseal: &mut Unseal, share: &Share) -> Result<Option<SecretKey>, ShareError> {
    let submitted = unseal.submit(share.expose_text().expose())?;
    Ok(match submitted {
        Submitted::Progress { have, need } => {
            assert_eq!((have, need), (unseal.have(), unseal.config().threshold));
            None
        }
        Submitted::Opened(root) => Some(root),
    })
}

#[test]
fn frozen_bytes() {
    let (config, shares) = seal(2, 2);
    assert_eq!(
        hex(&config.encode()),
        "010505050505050505050505050505050500000003020277cda437bd83e39101e760246ed35e4164e048ed756d3190b99ad4a17a7ca04fbb37118b95f25549f1ece44a95fc1b16da9e263477317d7e0fd72e1d0f42d16400010100000003f5e04b5e44022e8bc1533500bb598cbf189deb96b2a46ad12a10a63d411543cc5deddacd5564c76b87d02db01d2414474d9ddaf5b3df9d1e9acb41cf91eaf16f231bb116748ebd400a66374cc7f1cac6cc6746c5bce1875a"
    );
    let text = shares[1].expose_text();
    assert_eq!(
        text.expose_str(),
        Some("aumbry-share-07y0x0gz28f38kg0000060g2n13n6rx73b47dz73rm9pex1cnv97dcxrsdbzkda5rs8r2jnyxxmpdk6cbc")
    );
    let keyring = Keyring::make(&SimulatedEntropy::new(1));
    let wrapped = wrap_keyring(&key(1), ID, &keyring, 3, &SimulatedEntropy::new(2));
    assert_eq!(
        hex(&crate::sha256(&[&wrapped])),
        "e8ffc1a016e770c2139c0ceffb65c0c2306a6c358bb3447e798740b70c281869"
    );
}

#[test]
fn only_the_canonical_form_is_read() {
    let (mut config, _) = seal(3, 2);
    assert_eq!(SealConfig::decode(&config.encode()).as_ref(), Ok(&config));
    config.confirmed = true;
    let good = config.encode();
    assert_eq!(SealConfig::decode(&good).as_ref(), Ok(&config));
    let check = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert_eq!(SealConfig::decode(&bytes), Err(MalformedSealConfig));
    };
    check(|bytes| bytes[0] = 2);
    check(|bytes| bytes.push(0));
    check(|bytes| bytes[21] = 0);
    check(|bytes| bytes[21] = 1);
    check(|bytes| bytes[21] = 4);
    check(|bytes| bytes[22] = 4);
    check(|bytes| bytes[23 + 96] = 2);
    for length in 0..good.len() {
        assert!(SealConfig::decode(&good[..length]).is_err(), "{length}");
    }
}

#[test]
fn thresholds() {
    let check = |shares: u8, threshold: u8, expect: bool| {
        let made = make_seal(ID, 1, shares, threshold, &key(1), &SimulatedEntropy::new(1));
        assert_eq!(made.is_ok(), expect, "{threshold} of {shares}");
    };
    for (shares, threshold) in [(1, 1), (2, 2), (5, 2), (5, 5), (255, 2), (255, 255)] {
        check(shares, threshold, true);
    }
    for (shares, threshold) in [(0, 0), (1, 0), (0, 1), (2, 1), (255, 1), (1, 2), (5, 6)] {
        check(shares, threshold, false);
    }
}

#[test]
fn any_threshold_of_shares_opens() {
    let (config, shares) = seal(5, 3);
    for chosen in [[0, 1, 2], [4, 2, 0], [3, 4, 1]] {
        let mut unseal = Unseal::new(config.clone());
        for (i, at) in chosen.into_iter().enumerate() {
            let root = submit(&mut unseal, &shares[at]).expect("is right");
            assert_eq!(root.as_ref().map(SecretKey::expose), (i == 2).then_some(&[0x42; 32]));
        }
        assert_eq!(unseal.have(), 0, "the shares are wiped");
    }
    let (config, shares) = seal(1, 1);
    let root = submit(&mut Unseal::new(config), &shares[0]).expect("is right");
    assert_eq!(root.expect("one is enough").expose(), &[0x42; 32]);
}

#[test]
fn a_wrong_share_is_named_and_changes_nothing() {
    let (config, shares) = seal(5, 3);
    let mut unseal = Unseal::new(config);
    submit(&mut unseal, &shares[1]).expect("is right");
    let other = |id: StorageId, epoch, threshold, index| Share::new(id, epoch, threshold, index, key(1));
    let foreign = other(StorageId::from_bytes([6; 16]), 3, 3, 1);
    let cases = [
        (foreign, ShareError::Foreign),
        (other(ID, 2, 3, 1), ShareError::Epoch { found: 2, current: 3 }),
        (other(ID, 4, 3, 1), ShareError::Epoch { found: 4, current: 3 }),
        (other(ID, 3, 3, 0), ShareError::Index { found: 0 }),
        (other(ID, 3, 3, 6), ShareError::Index { found: 6 }),
        (other(ID, 3, 3, 255), ShareError::Index { found: 255 }),
        (other(ID, 3, 3, 1), ShareError::Wrong { index: 1 }),
        (other(ID, 3, 3, 2), ShareError::Wrong { index: 2 }),
        // A right value under another number or threshold is not the share either.
        (
            Share::new(ID, 3, 3, 3, shares[0].value().duplicate()),
            ShareError::Wrong { index: 3 },
        ),
        (
            Share::new(ID, 3, 2, 1, shares[0].value().duplicate()),
            ShareError::Wrong { index: 1 },
        ),
    ];
    let check = |unseal: &mut Unseal, text: &[u8], expect: ShareError| {
        assert_eq!(unseal.submit(text).map(|_| ()), Err(expect));
        assert_eq!(unseal.have(), 1);
    };
    for (share, expect) in &cases {
        check(&mut unseal, share.expose_text().expose(), *expect);
    }
    check(
        &mut unseal,
        shares[1].expose_text().expose(),
        ShareError::Repeated { index: 2 },
    );
    let good = shares[0].expose_text();
    let mut typed = good.expose().to_vec();
    typed[40] = if typed[40] == b'7' { b'8' } else { b'7' };
    check(&mut unseal, &typed, ShareError::Checksum);
    check(&mut unseal, &good.expose()[..50], ShareError::Length { found: 37 });
    check(&mut unseal, &good.expose().repeat(2)[..150], ShareError::Encoding);
    check(
        &mut unseal,
        &vec![b'a'; 10_000_000],
        ShareError::Length { found: 10_000_000 },
    );
    check(&mut unseal, b"not a share at all", ShareError::Encoding);

    // And still two more right ones open it.
    assert!(submit(&mut unseal, &shares[0]).expect("is right").is_none());
    assert!(submit(&mut unseal, &shares[2]).expect("is right").is_some());
}

#[test]
fn reset_forgets() {
    let (config, shares) = seal(3, 2);
    let mut unseal = Unseal::new(config);
    submit(&mut unseal, &shares[0]).expect("is right");
    unseal.reset();
    assert_eq!(unseal.have(), 0);
    assert!(submit(&mut unseal, &shares[0]).expect("is right").is_none());
}

#[test]
fn an_altered_configuration_does_not_open() {
    let (config, shares) = seal(3, 2);
    let check = |change: fn(&mut SealConfig)| {
        let mut altered = config.clone();
        change(&mut altered);
        let mut unseal = Unseal::new(altered);
        let last = shares
            .iter()
            .map(|share| submit(&mut unseal, share).err())
            .find(Option::is_some);
        assert_eq!(last.flatten(), Some(ShareError::Damaged));
        assert_eq!(unseal.have(), 0);
    };
    check(|config| config.wrapped_root[60] ^= 1);
    check(|config| config.wrapped_root.truncate(10));
    check(|config| config.threshold = 3);
    check(|config| config.threshold = 1);
    check(|config| config.shares = 4);
}

#[test]
fn the_keyring_opens_with_its_root_only() {
    let keyring = Keyring::make(&SimulatedEntropy::new(1));
    let wrapped = wrap_keyring(&key(1), ID, &keyring, 3, &SimulatedEntropy::new(2));
    assert_eq!(envelope::term(&wrapped), Ok(3));
    let opened = unwrap_keyring(&key(1), ID, &wrapped).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(opened.encode().expose(), keyring.encode().expose());
    let check = |root: u8, id: StorageId| unwrap_keyring(&key(root), id, &wrapped).map(|_| ());
    let wrong = Err(UnwrapError::Envelope(OpenError::WrongKey));
    assert_eq!(check(2, ID), wrong);
    assert_eq!(check(1, StorageId::from_bytes([6; 16])), wrong);
}
