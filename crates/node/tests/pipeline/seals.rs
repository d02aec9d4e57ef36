//! Seals that keys open, beside the shares.

use aumbry_crypto::seal::{KeyId, KeyKind, OuterBinding, OuterKey, StaticKey};
use aumbry_node::{KeyUnsealError, SealInfo};
use aumbry_types::{SimulatedEntropy, StorageId};

use crate::bed::*;

/// A node whose shares are known.
async fn open() -> (Bed, Vec<SecretBytes>) {
    let mut bed = Bed::sealed();
    let initialised = bed.initialise().await.expect("initialises");
    bed.unseal(&initialised);
    bed.run_duties();
    (bed, initialised.shares)
}

fn key(seed: u64) -> StaticKey {
    StaticKey::make(&SimulatedEntropy::new(seed))
}

fn add(key: StaticKey, shares: &[SecretBytes]) -> Operation {
    let shares = shares.iter().map(SecretBytes::duplicate).collect();
    let outer = None;
    Operation::SealAdd { key, shares, outer }
}

fn seals(reply: Result<Reply, Failure>) -> Vec<SealInfo> {
    match reply {
        Ok(Reply::Seals(seals)) => seals,
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    }
}

/// Another node of the same store, as it is after a start: it has the rows and no key.
pub(crate) fn restarted(bed: &Bed) -> Arc<Node> {
    restarted_with(bed, Arc::default())
}

/// The same, with what its disk has of hashes.
pub(crate) fn restarted_with(bed: &Bed, hashes: Arc<MemoryHashes>) -> Arc<Node> {
    let outside = Outside {
        sign_node: Box::new(|_, _, _, _, _| Ok(String::new())),
        ask_peer: Box::new(|_| Box::pin(async { None })),
        room: Box::new(|| Room::Ample),
        ask_web: aumbry_node::no_web(),
        ask_directory: aumbry_node::no_directory(),
        audit_hashes: Box::new(Shared(hashes)),
        cluster: ClusterId::from_bytes([7; 16]),
        region: String::new(),
    };
    let seam: Arc<dyn Consensus> = Arc::<Gate>::clone(&bed.consensus);
    Node::new(
        seam,
        Arc::<SimulatedClock>::clone(&bed.clock),
        Arc::<SimulatedEntropy>::clone(&bed.entropy),
        outside,
    )
}

#[tokio::test]
async fn a_key_opens_a_restarted_node_and_its_removal_ends_that() {
    let (bed, shares) = open().await;
    let id = key(1).id();
    assert_eq!(
        restarted(&bed).unseal_with_key(&key(1)),
        Err(KeyUnsealError::Unknown(id))
    );
    assert_eq!(bed.node.seal_status().seals, ["shares"]);
    let added = seals(bed.call(add(key(1), &shares[..3])).await);
    assert_eq!((added[0].kind.as_str(), &added[0].key_id), ("static", &id.to_string()));
    assert_eq!(bed.node.seal_status().seals, ["shares", "static"]);
    let listed = seals(bed.call(Operation::SealList).await);
    assert_eq!((listed[0].kind.as_str(), listed[0].shares), ("shares", (3, 5)));
    assert_eq!(
        (listed.len(), &listed[1].key_id, listed[1].current),
        (2, &id.to_string(), true)
    );

    let node = restarted(&bed);
    assert_eq!(node.unseal_with_key(&key(2)), Err(KeyUnsealError::Unknown(key(2).id())));
    // Shares that were shown before are wiped when it opens.
    node.unseal(shares[4].expose()).expect("is a good share");
    assert_eq!(node.unseal_with_key(&key(1)), Ok(()));
    let status = node.seal_status();
    assert_eq!((status.sealed, status.progress), (false, 0));
    assert_eq!(node.unseal_with_key(&key(1)), Ok(()), "it is open already");

    assert_eq!(reason(bed.call(Operation::SealRemove(id)).await), "OK");
    assert_eq!(reason(bed.call(Operation::SealRemove(id)).await), "NO_SUCH_SEAL");
    assert_eq!(
        restarted(&bed).unseal_with_key(&key(1)),
        Err(KeyUnsealError::Unknown(id))
    );
    assert_eq!(seals(bed.call(Operation::SealList).await).len(), 1);
}

/// Abuse cases: 62.
#[tokio::test]
async fn a_key_that_was_wrapped_outside_is_added_for_this_store_and_root_key() {
    let (bed, shares) = open().await;
    let bound = bed.node.key_seals().expect("is initialised");
    assert!(bound.seals.is_empty());
    let add = |seed, storage_id, root_epoch, key_id| Operation::SealAdd {
        key: key(seed),
        shares: shares.iter().map(SecretBytes::duplicate).collect(),
        outer: Some((
            OuterKey::new("token key".to_owned(), vec![7; 100]).expect("is one"),
            OuterBinding {
                kind: KeyKind::Pkcs11,
                storage_id,
                root_epoch,
                key_id,
            },
        )),
    };
    let (storage_id, epoch, id) = (bound.storage_id, bound.root_epoch, key(1).id());
    for wrong in [
        add(1, StorageId::from_bytes([9; 16]), epoch, id),
        add(1, storage_id, epoch + 1, id),
        add(1, storage_id, epoch, key(2).id()),
    ] {
        assert_eq!(reason(bed.call(wrong).await), "SEAL_BINDING");
    }
    assert!(matches!(bed.node.test_key(&key(1)), Err(KeyUnsealError::Unknown(_))));
    let added = seals(bed.call(add(1, storage_id, epoch, id)).await);
    assert_eq!(
        (added[0].kind.as_str(), added[0].name.as_str()),
        ("pkcs11", "token key")
    );
    assert_eq!(reason(bed.call(add(1, storage_id, epoch, id)).await), "SEAL_EXISTS");
    let kept = bed.node.key_seals().expect("is initialised").seals;
    let outer = kept[0].outer.as_ref().expect("was wrapped outside");
    assert_eq!(
        (kept.len(), outer.name(), outer.wrapped()),
        (1, "token key", &[7; 100][..])
    );
    assert_eq!(bed.node.test_key(&key(1)), Ok(()));
    let node = restarted(&bed);
    assert_eq!(node.test_key(&key(1)), Ok(()), "a test is the same on a sealed node");
    assert!(node.seal_status().sealed, "and opens nothing");
    assert_eq!(node.unseal_with_key(&key(1)), Ok(()));
    assert_eq!(reason(bed.call(Operation::SealRemove(id)).await), "OK");
    assert!(matches!(bed.node.test_key(&key(1)), Err(KeyUnsealError::Unknown(_))));
}

#[tokio::test]
async fn what_was_sealed_is_opened_by_shares_alone() {
    let (bed, shares) = open().await;
    seals(bed.call(add(key(1), &shares[2..])).await);
    bed.node.seal();
    for _ in 0..2 {
        assert_eq!(bed.node.unseal_with_key(&key(1)), Err(KeyUnsealError::Closed));
        assert!(bed.node.seal_status().sealed);
        for share in &shares[..3] {
            bed.node.unseal(share.expose()).expect("is a good share");
        }
        assert!(!bed.node.seal_status().sealed);
        bed.node.seal();
    }
}

#[tokio::test]
async fn a_seal_is_added_with_the_shares_of_this_store() {
    let (bed, shares) = open().await;
    let (_, foreign) = open_foreign().await;
    let repeated = [shares[0].duplicate(), shares[0].duplicate()];
    for (shown, expect) in [
        (&shares[..0], "TOO_FEW_SHARES"),
        (&shares[..2], "TOO_FEW_SHARES"),
        (&foreign[..3], "INVALID_SHARE"),
        (&repeated[..], "INVALID_SHARE"),
    ] {
        assert_eq!(reason(bed.call(add(key(1), shown)).await), expect);
    }
    assert_eq!(seals(bed.call(Operation::SealList).await).len(), 1);
    assert_eq!(reason(bed.call(add(key(1), &shares)).await), "OK");
    assert_eq!(reason(bed.call(add(key(1), &shares)).await), "SEAL_EXISTS");
    // A retry of the same request is no second one.
    let root = bed.root.duplicate();
    for _ in 0..2 {
        let answer = bed.call_with(&root, add(key(2), &shares), "k").await;
        assert_eq!(seals(answer.map(|answer| answer.reply)).len(), 1);
    }
    for seed in 3..=32 {
        assert_eq!(reason(bed.call(add(key(seed), &shares)).await), "OK");
    }
    assert_eq!(reason(bed.call(add(key(99), &shares)).await), "TOO_MANY_SEALS");
    assert_eq!(reason(bed.call(Operation::SealRemove(key(7).id())).await), "OK");
    assert_eq!(reason(bed.call(add(key(99), &shares)).await), "OK");
    assert_eq!(seals(bed.call(Operation::SealList).await).len(), 33);
}

/// The same, of another store.
async fn open_foreign() -> (Bed, Vec<SecretBytes>) {
    let bed = Bed::sealed();
    bed.initialise().await.expect("initialises");
    // The entropy of both beds is the same; a repeated initialisation is of another store.
    let initialised = bed.initialise().await.expect("can be repeated");
    (bed, initialised.shares)
}

/// Abuse cases: 49.
#[tokio::test]
async fn seals_are_changed_with_sudo_only() {
    let (bed, shares) = open().await;
    let policy = |text: &str| Operation::PolicyWrite(Name::parse("p").expect("is a name"), text.to_owned());
    let token = bed.token(Create {
        policies: vec!["p".to_owned()],
        ttl_s: 60,
        ..Create::default()
    });
    let token = token.await;
    for (text, expect) in [
        (
            r#"path "sys/seals" { capabilities = ["read", "update"] } path "sys/seals/*" { capabilities = ["delete"] }"#,
            ["PERMISSION_DENIED", "OK", "PERMISSION_DENIED"],
        ),
        (
            r#"path "sys/seals" { capabilities = ["update", "sudo"] } path "sys/seals/*" { capabilities = ["delete", "sudo"] }"#,
            ["OK", "PERMISSION_DENIED", "OK"],
        ),
    ] {
        assert_eq!(reason(bed.call(policy(text)).await), "OK");
        let operations = [
            add(key(1), &shares),
            Operation::SealList,
            Operation::SealRemove(key(1).id()),
        ];
        for (operation, expect) in operations.into_iter().zip(expect) {
            let name = operation.name();
            assert_eq!(reason(bed.call_as(&token, operation).await), expect, "{name}: {text}");
        }
    }
    let nobody = KeyId::from_bytes([0; 16]);
    assert_eq!(reason(bed.call(Operation::SealRemove(nobody)).await), "NO_SUCH_SEAL");
}
