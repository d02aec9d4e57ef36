//! Sealing the whole cluster: every node obeys, whenever it hears of it, and keys stay held back until they are released.

use aumbry_crypto::seal::StaticKey;
use aumbry_node::KeyUnsealError;
use aumbry_types::SimulatedEntropy;

use crate::bed::*;
use crate::seals::restarted;

/// A node whose shares are known, with a seal that a key opens.
async fn open() -> (Bed, Vec<SecretBytes>) {
    let mut bed = Bed::sealed();
    let initialised = bed.initialise().await.expect("initialises");
    bed.unseal(&initialised);
    bed.run_duties();
    let shares = initialised.shares.iter().map(SecretBytes::duplicate).collect();
    let added = bed
        .call(Operation::SealAdd {
            key: key(),
            shares,
            outer: None,
        })
        .await;
    assert_eq!(reason(added), "OK");
    (bed, initialised.shares)
}

fn key() -> StaticKey {
    StaticKey::make(&SimulatedEntropy::new(7))
}

fn unseal(node: &Node, shares: &[SecretBytes]) {
    for share in &shares[..3] {
        node.unseal(share.expose()).expect("is a good share");
    }
    assert!(node.is_unsealed());
}

/// Another node was cut off while the cluster was sealed, opened and released again: before it makes its first plan as a leader it has wiped its keys.
///
/// Abuse cases: 60.
#[tokio::test]
async fn a_node_that_heard_of_nothing_obeys_before_it_serves() {
    let (bed, shares) = open().await;
    assert_eq!(reason(bed.call(put("secret/a", r#"{"a":1}"#, None)).await), "OK");
    let (first, second) = (restarted(&bed), restarted(&bed));
    for node in [&first, &second] {
        unseal(node, &shares);
    }
    let ask = |node: Arc<Node>| {
        let request = bed.request(&bed.root, get("secret/a"), "");
        async move { reason(node.serve(&request).await) }
    };
    // The control: it would serve.
    let third = restarted(&bed);
    unseal(&third, &shares);
    let stop = watch::Sender::new(false);
    tokio::spawn(run_duties(Arc::clone(&third), stop.subscribe()));
    assert_eq!(ask(Arc::clone(&third)).await, "OK");

    assert_eq!(reason(bed.call(Operation::SealCluster).await), "OK");
    assert!(!bed.node.is_unsealed(), "the leader that was asked has wiped its keys");
    assert_eq!(reason(bed.call(get("secret/a")).await), "SEALED");
    assert_eq!(ask(Arc::clone(&first)).await, "SEALED");
    assert!(!first.is_unsealed());

    // It is opened again, and what it said before counts for who comes later.
    unseal(&bed.node, &shares);
    assert_eq!(reason(bed.call(Operation::SealRelease).await), "OK");
    assert_eq!(reason(bed.call(get("secret/a")).await), "OK");
    assert!(second.is_unsealed(), "it has not heard of it yet");
    assert_eq!(ask(Arc::clone(&second)).await, "SEALED");
    assert!(!second.is_unsealed());
    unseal(&second, &shares);
    tokio::spawn(run_duties(Arc::clone(&second), stop.subscribe()));
    assert_eq!(ask(second).await, "OK");
}

/// A node that follows obeys by itself.
#[tokio::test]
async fn a_node_that_is_asked_nothing_obeys_too() {
    let (bed, shares) = open().await;
    let follower = restarted(&bed);
    unseal(&follower, &shares);
    let stop = watch::Sender::new(false);
    assert_eq!(reason(bed.call(Operation::SealCluster).await), "OK");
    tokio::spawn(run_duties(Arc::clone(&follower), stop.subscribe()));
    let obeyed = async {
        while follower.is_unsealed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), obeyed)
        .await
        .expect("it obeys");
}

/// Nobody who waits for the entry, or stands behind it, gets an answer of the store.
#[tokio::test]
async fn nothing_is_answered_behind_the_seal() {
    let (bed, _) = open().await;
    assert_eq!(reason(bed.call(put("secret/a", r#"{"a":1}"#, None)).await), "OK");
    bed.consensus.open.send_replace(false);
    let bed = Arc::new(bed);
    let ask = |operation: Operation| {
        let bed = Arc::clone(&bed);
        tokio::spawn(async move { reason(bed.call(operation).await) })
    };
    let before = ask(get("secret/a"));
    bed.consensus.holds_one().await;
    let sealing = ask(Operation::SealCluster);
    let behind = ask(get("secret/a"));
    // All of them have planned once each has run as far as it can.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    bed.consensus.open.send_replace(true);
    assert_eq!(before.await.expect("no panic"), "OK", "it stands in an entry before");
    assert_eq!(sealing.await.expect("no panic"), "OK");
    assert_eq!(behind.await.expect("no panic"), "SEALED");
}

/// Keys open nothing until an operator releases them, not even after a restart and after shares opened a node; shares always do.
///
/// Abuse cases: 60.
#[tokio::test]
async fn keys_are_held_back_until_they_are_released() {
    let (bed, shares) = open().await;
    assert_eq!(reason(bed.call(Operation::SealRelease).await), "NOT_HELD_BACK");
    assert_eq!(restarted(&bed).unseal_with_key(&key()), Ok(()));
    // Shares that were shown before the seal do not count after it.
    let halfway = restarted(&bed);
    for share in &shares[..2] {
        halfway.unseal(share.expose()).expect("is a good share");
    }
    assert_eq!(reason(bed.call(Operation::SealCluster).await), "OK");
    let status = halfway.unseal(shares[2].expose()).expect("is a good share");
    assert_eq!((status.sealed, status.progress, status.keys_held_back), (true, 1, true));

    for node in [&bed.node, &restarted(&bed)] {
        assert_eq!(node.unseal_with_key(&key()), Err(KeyUnsealError::HeldBack));
        assert!(node.seal_status().sealed);
    }
    unseal(&bed.node, &shares);
    let late = restarted(&bed);
    assert_eq!(late.unseal_with_key(&key()), Err(KeyUnsealError::HeldBack));
    assert_eq!(reason(bed.call(Operation::SealRelease).await), "OK");
    assert_eq!(late.unseal_with_key(&key()), Ok(()));
    assert!(!late.seal_status().keys_held_back);
    assert_eq!(reason(bed.call(Operation::SealRelease).await), "NOT_HELD_BACK");
    // A second time is another one.
    assert_eq!(reason(bed.call(Operation::SealCluster).await), "OK");
    assert!(!bed.node.is_unsealed());
    assert_eq!(bed.node.unseal_with_key(&key()), Err(KeyUnsealError::HeldBack));
}

/// The right to seal one node is no right to seal all, nor to let keys open them again.
///
/// Abuse cases: 49.
#[tokio::test]
async fn the_cluster_is_sealed_with_sudo_only() {
    let (bed, shares) = open().await;
    let policy = |text: &str| Operation::PolicyWrite(Name::parse("p").expect("is a name"), text.to_owned());
    let create = Create {
        policies: vec!["p".to_owned()],
        ttl_s: 60,
        ..Create::default()
    };
    let token = bed.token(create).await;
    for text in [
        r#"path "sys/seal" { capabilities = ["update", "sudo"] }"#,
        r#"path "sys/seal/cluster" { capabilities = ["update", "delete"] }"#,
    ] {
        assert_eq!(reason(bed.call(policy(text)).await), "OK");
        for operation in [Operation::SealCluster, Operation::SealRelease] {
            assert_eq!(
                reason(bed.call_as(&token, operation).await),
                "PERMISSION_DENIED",
                "{text}"
            );
        }
    }
    assert!(bed.node.is_unsealed());
    let text = r#"path "sys/seal/cluster" { capabilities = ["update", "delete", "sudo"] }"#;
    assert_eq!(reason(bed.call(policy(text)).await), "OK");
    assert_eq!(reason(bed.call_as(&token, Operation::SealCluster).await), "OK");
    unseal(&bed.node, &shares);
    assert_eq!(reason(bed.call_as(&token, Operation::SealRelease).await), "OK");
}
