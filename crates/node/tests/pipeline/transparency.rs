//! Proofs and receipts by the node, against what is made from all records.

use std::sync::Arc;

use aumbry_audit::proof::{Consistency, Inclusion, Proof, root_of};
use aumbry_audit::{Checkpoint, Leaf, Receipt};
use aumbry_auth::token::Create;
use aumbry_crypto::signature::VerifyingKey;
use aumbry_node::{AuditProof, Failure, HashStore as _, MemoryHashes, Node, Operation, ProofAsk, Reply};
use aumbry_state::Consensus;
use aumbry_types::Name;

use crate::bed::{Bed, get, reason};

/// A log of more than two tiles, and the leaves of its records.
async fn grown() -> (Bed, Vec<[u8; 32]>) {
    let bed = Bed::open().await;
    while bed.consensus.status().audit_size < 530 {
        assert_eq!(reason(bed.call(get("secret/none")).await), "NOT_FOUND");
    }
    let leaves = leaves(&bed.node);
    (bed, leaves)
}

fn leaves(node: &Node) -> Vec<[u8; 32]> {
    let size = usize::try_from(node.consensus().status().audit_size).expect("is small");
    let rows = node.audit_rows(0, size, size).expect("is unsealed");
    let leaf = |row: &aumbry_node::AuditRow| {
        let leaf = Leaf {
            seq: row.seq,
            index: row.index,
            k: row.k,
            log_time: row.log_time,
            outcome: row.outcome().expect("is known"),
            commitment: row.commitment,
        };
        leaf.hash()
    };
    rows.iter().map(leaf).collect()
}

async fn prove(bed: &Bed, ask: ProofAsk) -> Result<AuditProof, Failure> {
    match bed.call(Operation::AuditProof(ask)).await? {
        Reply::AuditProof(found) => Ok(found),
        _ => panic!("another reply"),
    }
}

/// The proof of inclusion, and the checkpoint that it leads to, whose signature is right.
fn inclusion(found: &AuditProof) -> (Inclusion, Checkpoint) {
    let Some(Proof::Inclusion { origin, proof }) = Proof::decode(found.proof.as_bytes()) else {
        panic!("no proof of inclusion: {}", found.proof);
    };
    let key = VerifyingKey::from_bytes(found.verifying_key);
    let checkpoint = Checkpoint::verify(&found.note, &key).expect("is signed");
    assert_eq!((&origin, found.size), (&checkpoint.origin, checkpoint.size));
    (proof, checkpoint)
}

#[tokio::test]
async fn every_record_is_proved_as_from_an_export() {
    let (bed, leaves) = grown().await;
    let size = leaves.len();
    for seq in 0..size as u64 {
        let found = prove(&bed, ProofAsk::Inclusion { seq, size: size as u64 }).await;
        let found = found.unwrap_or_else(|failure| panic!("{seq}: {failure}"));
        let (proof, checkpoint) = inclusion(&found);
        assert_eq!(Some(proof), Inclusion::prove(&leaves, seq), "{seq}");
        assert_eq!(checkpoint.root, root_of(&leaves));
        assert_eq!(found.leaf_hash, Some(leaves[usize::try_from(seq).expect("is small")]));
    }
    for part in [1, 2, 255, 256, 257, 511, 512, 513] {
        let seq = part as u64 - 1;
        let found = prove(&bed, ProofAsk::Inclusion { seq, size: part as u64 }).await;
        let (proof, checkpoint) = inclusion(&found.unwrap_or_else(|failure| panic!("{failure}")));
        assert_eq!(Some(&proof), Inclusion::prove(&leaves[..part], seq).as_ref(), "{part}");
        assert!(proof.verify(&leaves[part - 1], &checkpoint.root), "{part}");

        let (from, to) = (part as u64, size as u64);
        let grown = prove(&bed, ProofAsk::Consistency { from, to }).await;
        let grown = grown.unwrap_or_else(|failure| panic!("{failure}"));
        let Some(Proof::Consistency { proof, .. }) = Proof::decode(grown.proof.as_bytes()) else {
            panic!("no proof of consistency: {}", grown.proof);
        };
        assert_eq!(Some(&proof), Consistency::prove(&leaves, from).as_ref(), "{part}");
        let key = VerifyingKey::from_bytes(grown.verifying_key);
        let [old, new] = [&grown.old_note, &grown.note].map(|note| Checkpoint::verify(note, &key).expect("is signed"));
        assert_eq!((old.size, old.root), (from, root_of(&leaves[..part])));
        assert!(proof.verify(&old.root, &new.root));
    }
    // The whole tree has the record of the very request that asks.
    let found = prove(&bed, ProofAsk::Inclusion { seq: 5, size: 0 }).await;
    let (proof, checkpoint) = inclusion(&found.unwrap_or_else(|failure| panic!("{failure}")));
    assert!(checkpoint.size > size as u64 && proof.verify(&leaves[5], &checkpoint.root));
    for wrong in [
        ProofAsk::Inclusion { seq: 9, size: 9 },
        ProofAsk::Inclusion { seq: 9, size: u64::MAX },
        ProofAsk::Inclusion { seq: u64::MAX, size: 0 },
        ProofAsk::Consistency { from: 9, to: 8 },
        ProofAsk::Consistency { from: u64::MAX, to: 0 },
    ] {
        let refused = prove(&bed, wrong).await.err().expect("is refused");
        assert_eq!(refused.reason, "INVALID_REQUEST", "{wrong:?}");
    }
}

/// Hashes that are lost are made again; those that are wrong are found out before anybody is given a proof from them.
#[tokio::test]
async fn a_lost_or_spoilt_cache_gives_the_same_proofs() {
    let (bed, leaves) = grown().await;
    let ask = ProofAsk::Inclusion {
        seq: 300,
        size: leaves.len() as u64,
    };
    let first = prove(&bed, ask).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(bed.hashes.count(1), 2);
    bed.hashes.clear().expect("is in memory");
    let again = prove(&bed, ask).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((&first.proof, bed.hashes.count(1)), (&again.proof, 2));

    bed.hashes.clear().expect("is in memory");
    for wrong in [[1; 32], [2; 32]] {
        bed.hashes.append(1, &wrong).expect("is in memory");
    }
    let refused = prove(&bed, ask).await.err().expect("is found out");
    assert_eq!(refused.reason, "TREE_BEHIND");
    let again = prove(&bed, ask).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(first.proof, again.proof);
    assert_ne!(bed.hashes.read(1, 0, 1).expect("is in memory"), [[1; 32]]);
}

/// A node without keys keeps them too, a piece at a time.
#[tokio::test]
async fn a_sealed_node_follows_in_pieces() {
    let (bed, leaves) = grown().await;
    bed.node.seal();
    let hashes = Arc::new(MemoryHashes::default());
    let sealed = crate::seals::restarted_with(&bed, Arc::clone(&hashes));
    assert!(!sealed.follow_audit_tree(1).expect("needs no key"));
    assert_eq!(hashes.count(1), 1);
    assert!(sealed.follow_audit_tree(9).expect("needs no key"));
    let expected: Vec<[u8; 32]> = leaves.chunks_exact(256).map(root_of).collect();
    assert_eq!(hashes.read(1, 0, 9).expect("is in memory"), expected);
}

#[tokio::test]
async fn proofs_are_asked_for_by_who_may_and_are_on_record() {
    let bed = Bed::open().await;
    let nobody = bed
        .token(Create {
            policies: vec!["default".to_owned()],
            ..Create::default()
        })
        .await;
    let asks = [
        ProofAsk::Inclusion { seq: 1, size: 0 },
        ProofAsk::Consistency { from: 1, to: 0 },
    ];
    for ask in asks {
        let refused = bed.call_as(&nobody, Operation::AuditProof(ask)).await.err();
        assert_eq!(refused.expect("may not").reason, "PERMISSION_DENIED");
    }
    let policy = r#"path "sys/audit-log/proof" { capabilities = ["read"] }"#;
    let name = Name::parse("prover").expect("is a name");
    assert_eq!(
        reason(bed.call(Operation::PolicyWrite(name, policy.to_owned())).await),
        "OK"
    );
    let prover = bed
        .token(Create {
            policies: vec!["prover".to_owned()],
            ..Create::default()
        })
        .await;
    let [proof, growth] = asks.map(Operation::AuditProof);
    let placed = bed
        .call_as(&prover, proof)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(bed.call_as(&prover, growth).await.is_err(), "it is another path");
    let seq = placed.position.audit_seq;
    let rows = bed.node.audit_rows(seq, 1, 1).expect("is unsealed");
    assert!(
        rows[0].event.contains("audit.proof") && rows[0].event.contains("\"seq\""),
        "{}",
        rows[0].event
    );
}

#[tokio::test]
async fn a_receipt_names_the_record_that_is_proved() {
    let bed = Bed::open().await;
    let request = bed.request(&bed.root, get("secret/none"), "");
    let failed = bed.node.serve(&request).await.err().expect("there is none");
    assert_eq!(failed.reason, "NOT_FOUND");
    let request = bed.request(&bed.root, Operation::PolicyList, "");
    let answer = bed
        .node
        .serve(&request)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    let text = bed.node.receipt(answer.position, request.id).expect("is unsealed");
    let (note, key) = Receipt::read(text.as_bytes()).expect("is a receipt");
    let receipt = Receipt::verify(&note, &key).expect("is signed");
    let place = answer.position;
    assert_eq!(
        (receipt.seq, receipt.index, receipt.request_id),
        (place.audit_seq, place.index, request.id)
    );
    let ask = ProofAsk::Inclusion {
        seq: receipt.seq,
        size: receipt.size,
    };
    let found = prove(&bed, ask).await.unwrap_or_else(|failure| panic!("{failure}"));
    let (proof, checkpoint) = inclusion(&found);
    assert_eq!(*key.as_bytes(), found.verifying_key);
    assert_eq!((receipt.size, receipt.root), (checkpoint.size, checkpoint.root));
    assert!(proof.verify(&receipt.leaf, &checkpoint.root));

    assert!(bed.node.receipt(aumbry_node::Position::default(), request.id).is_none());
    bed.node.seal();
    assert!(
        bed.node.receipt(place, request.id).is_none(),
        "a sealed node signs nothing"
    );
}
