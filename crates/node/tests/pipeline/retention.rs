//! Pruning the audit log: what is refused, what goes on, and what a node makes of a floor that does not fit.

use std::sync::Arc;

use aumbry_audit::export::verify;
use aumbry_audit::proof::{Consistency, Inclusion, Proof, root_of};
use aumbry_audit::{Body, Checkpoint, Filter, Floor, Frontier, Grown};
use aumbry_auth::token::Create;
use aumbry_crypto::signature::{SigningKey, VerifyingKey};
use aumbry_node::look::{Guard, Look, What};
use aumbry_node::{
    ARCHIVE_RECORDS, AuditPrune, AuditQuery, Before, Failure, HashStore as _, MemoryHashes, Moment, Node, Operation,
    ProofAsk, Reply,
};
use aumbry_state::{Consensus, audit_floor};
use aumbry_types::{Capability, SecretKey, StorageId};
use serde_json::Value;

use crate::bed::{Bed, get, reason};

/// A log of some tiles, and the leaves of its records.
async fn grown() -> (Bed, Vec<[u8; 32]>) {
    let bed = Bed::open().await;
    while bed.consensus.status().audit_size < 1_100 {
        assert_eq!(reason(bed.call(get("secret/none")).await), "NOT_FOUND");
    }
    let leaves = leaves(&bed);
    (bed, leaves)
}

/// The leaves of all that the node has bodies of.
fn leaves(bed: &Bed) -> Vec<[u8; 32]> {
    let bodies = bed.consensus.audit_bodies(0, usize::MAX);
    let bodies: Vec<Body> = bodies
        .iter()
        .map(|bytes| Body::decode(bytes).expect("decodes"))
        .collect();
    bodies.iter().flat_map(Body::leaves).map(|leaf| leaf.hash()).collect()
}

fn prune(seq: u64) -> AuditPrune {
    AuditPrune {
        before: Before::Seq(seq),
        without_archive: true,
        dry_run: false,
    }
}

async fn told(bed: &Bed, operation: Operation) -> Result<Value, Failure> {
    match bed.call(operation).await? {
        Reply::Json { data, .. } => Ok(serde_json::from_slice(data.expose()).expect("is JSON")),
        _ => panic!("another reply"),
    }
}

async fn pruned(bed: &Bed, ask: AuditPrune) -> Value {
    let told = told(bed, Operation::AuditPrune(ask)).await;
    told.unwrap_or_else(|failure| panic!("{failure}"))
}

fn read(from: u64) -> Operation {
    Operation::AuditRead {
        from,
        limit: 10,
        wait_size: 0,
    }
}

#[tokio::test]
async fn what_is_refused_changes_nothing() {
    let (bed, _) = grown().await;
    let size = bed.consensus.status().audit_size;
    let without = AuditPrune {
        without_archive: false,
        ..prune(600)
    };
    for (ask, expected) in [
        (without, "NOT_ARCHIVED"),
        (prune(u64::MAX), "INVALID_REQUEST"),
        (prune(size + 100), "INVALID_REQUEST"),
        (prune(255), "NOTHING_TO_PRUNE"),
        (prune(0), "NOTHING_TO_PRUNE"),
    ] {
        let refused = bed.call(Operation::AuditPrune(ask)).await;
        assert_eq!(reason(refused), expected, "{ask:?}");
    }
    let dry = AuditPrune {
        dry_run: true,
        ..without
    };
    let would = pruned(&bed, dry).await;
    assert_eq!(
        (&would["pruned"], &would["floor"], &would["records"]),
        (&false.into(), &512.into(), &512.into())
    );
    let nobody = bed
        .token(Create {
            policies: vec!["default".to_owned()],
            ..Create::default()
        })
        .await;
    for operation in [Operation::AuditPrune(prune(600)), Operation::AuditFloor] {
        assert_eq!(reason(bed.call_as(&nobody, operation).await), "PERMISSION_DENIED");
    }
    assert_eq!(told(&bed, Operation::AuditFloor).await.expect("is told")["floor"], 0);
    assert_eq!(bed.node.audit_floor(), 0);
    assert!(bed.node.audit_rows(0, 1, 1).is_ok());
}

#[tokio::test]
async fn the_chain_goes_on_above_the_floor() {
    let (bed, _) = grown().await;
    let ask = |from| Operation::AuditProof(ProofAsk::Consistency { from, to: 0 });
    assert_eq!(reason(bed.call(ask(300)).await), "OK");
    let done = pruned(&bed, prune(800)).await;
    assert_eq!(
        (&done["pruned"], &done["floor"], &done["first"]),
        (&true.into(), &768.into(), &0.into())
    );
    // Every leaf that ever was, though nobody is given those below any more.
    let leaves = leaves(&bed);
    assert_eq!(reason(bed.call(read(767)).await), "AUDIT_PRUNED");
    let refused = bed.call(read(5)).await.err().expect("is pruned");
    assert!(refused.message.contains("begins with record 768"), "{refused}");
    assert_eq!(reason(bed.call(read(768)).await), "OK");
    bed.node.obey_audit_floor();
    let first = bed.consensus.audit_bodies(0, 1);
    let first = Body::decode(&first[0]).expect("decodes");
    assert!((768 - 10..=768).contains(&first.first_seq), "{}", first.first_seq);

    // Once more, and less, is nothing.
    for seq in [800, 768, 300] {
        assert_eq!(
            reason(bed.call(Operation::AuditPrune(prune(seq))).await),
            "NOTHING_TO_PRUNE"
        );
    }
    let floor = told(&bed, Operation::AuditFloor).await.expect("is told");
    let tree = aumbry_types::hex::decode_all(floor["frontier"].as_str().expect("is text")).expect("is hexadecimal");
    let tree = Frontier::decode(&tree).expect("is a tree");
    assert_eq!(
        (floor["floor"].as_u64(), tree.root()),
        (Some(768), root_of(&leaves[..768]))
    );

    // What is left leads to the root of all, and every proof is that of all leaves: with the hashes that were kept, and without.
    let size = leaves.len();
    for kept in [true, false] {
        for seq in (768..size as u64).step_by(31) {
            let found = bed
                .call(Operation::AuditProof(ProofAsk::Inclusion { seq, size: size as u64 }))
                .await;
            let Ok(Reply::AuditProof(found)) = found else {
                panic!("{seq}: {}", reason(found));
            };
            let Some(Proof::Inclusion { proof, .. }) = Proof::decode(found.proof.as_bytes()) else {
                panic!("no proof of inclusion: {}", found.proof);
            };
            assert_eq!(Some(proof), Inclusion::prove(&leaves, seq), "{seq}");
        }
        for from in [768, 769, 900, size as u64] {
            let to = size as u64;
            let found = bed
                .call(Operation::AuditProof(ProofAsk::Consistency { from, to }))
                .await;
            let Ok(Reply::AuditProof(found)) = found else {
                panic!("{from}: {}", reason(found));
            };
            let Some(Proof::Consistency { proof, .. }) = Proof::decode(found.proof.as_bytes()) else {
                panic!("no proof of consistency: {}", found.proof);
            };
            assert_eq!(Some(proof), Consistency::prove(&leaves, from), "{from}");
            let key = VerifyingKey::from_bytes(found.verifying_key);
            let old = Checkpoint::verify(&found.old_note, &key).expect("is signed");
            assert_eq!(old.root, root_of(&leaves[..usize::try_from(from).expect("is small")]));
        }
        let below = Operation::AuditProof(ProofAsk::Inclusion { seq: 767, size: 0 });
        assert_eq!(reason(bed.call(below).await), "AUDIT_PRUNED");
        // Whole tiles are known as long as the hashes are, and always those that the floor is made of.
        assert_eq!(reason(bed.call(ask(512)).await), "OK");
        assert_eq!(
            reason(bed.call(ask(256)).await),
            if kept { "OK" } else { "AUDIT_PRUNED" }
        );
        assert_eq!(reason(bed.call(ask(300)).await), "AUDIT_PRUNED");
        bed.hashes.clear().expect("is in memory");
    }

    // The prune is on record, above its own floor.
    let rows = bed.node.audit_rows(1_100, 200, 200).expect("is unsealed");
    let row = rows
        .iter()
        .find(|row| row.event.contains("audit.prune") && row.event.contains("768"));
    assert!(row.is_some_and(|row| row.event.contains("without_archive")));
}

#[tokio::test]
async fn queries_begin_at_the_floor_and_say_so() {
    let (bed, _) = grown().await;
    drop(pruned(&bed, prune(600)).await);
    bed.node.obey_audit_floor();
    let query = |from_seq| {
        Operation::Look(Look {
            what: What::AuditQuery(Box::new(AuditQuery {
                filter: Filter::default(),
                since: Moment::Unsaid,
                until: Moment::Unsaid,
                from_seq,
                to_seq: None,
                is_oldest_first: true,
                limit: 3,
                page: None,
            })),
            path: "sys/audit-log/query".to_owned(),
            capability: Capability::Read,
            guard: Guard::Sudo,
            said: Vec::new(),
        })
    };
    let all = told(&bed, query(0)).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(
        (&all["floor"], &all["records"][0]["seq"]),
        (&512.into(), &512.into()),
        "{all}"
    );
    let late = told(&bed, query(700))
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(
        (&late["floor"], &late["records"][0]["seq"]),
        (&Value::Null, &700.into())
    );
}

#[tokio::test]
async fn by_age_goes_what_is_older_and_nothing_else() {
    let bed = Bed::open().await;
    while bed.consensus.status().audit_size < 400 {
        assert_eq!(reason(bed.call(get("secret/none")).await), "NOT_FOUND");
    }
    bed.clock.advance_ms(3_600_000);
    while bed.consensus.status().audit_size < 900 {
        assert_eq!(reason(bed.call(get("secret/none")).await), "NOT_FOUND");
    }
    let by_age = |seconds| AuditPrune {
        before: Before::Time(Moment::Ago(seconds)),
        ..prune(0)
    };
    let none = bed.call(Operation::AuditPrune(by_age(7_200))).await;
    assert_eq!(reason(none), "NOTHING_TO_PRUNE");
    let done = pruned(&bed, by_age(1_800)).await;
    assert_eq!(done["floor"], 256, "the hour began after record 400");
}

/// Of two at once each is decided on what the other left.
#[tokio::test]
async fn two_prunes_at_once_are_one() {
    let (bed, _) = grown().await;
    let (one, two) = futures::join!(
        bed.call(Operation::AuditPrune(prune(600))),
        bed.call(Operation::AuditPrune(prune(600)))
    );
    let mut reasons = [reason(one), reason(two)];
    reasons.sort_unstable();
    assert_eq!(reasons, ["NOTHING_TO_PRUNE", "OK"]);
    assert_eq!(bed.node.audit_floor(), 512);
}

/// A node without keys obeys too, once it has hashed what goes. One whose tree says something else keeps everything.
#[tokio::test]
async fn a_sealed_node_obeys_and_a_floor_that_lies_is_not_obeyed() {
    let (bed, leaves) = grown().await;
    drop(pruned(&bed, prune(600)).await);
    let floor = audit_floor(&*bed.consensus.view()).expect("is there");
    let mut whole = Grown::after(floor.tree().clone());
    for bytes in bed.consensus.audit_bodies(0, usize::MAX) {
        whole.add(&Body::decode(&bytes).expect("decodes")).expect("goes on");
    }
    assert_eq!(whole.tree().root(), bed.consensus.status().audit_root);

    let restarted =
        |hashes: &Arc<MemoryHashes>| -> Arc<Node> { crate::seals::restarted_with(&bed, Arc::clone(hashes)) };
    let first = || {
        Body::decode(&bed.consensus.audit_bodies(0, 1)[0])
            .expect("decodes")
            .first_seq
    };
    let hashes = Arc::new(MemoryHashes::default());
    let sealed = restarted(&hashes);
    sealed.obey_audit_floor();
    assert_eq!(first(), 0, "nothing goes before it is hashed");
    for wrong in [[1; 32], [2; 32]] {
        hashes.append(1, &wrong).expect("is in memory");
    }
    sealed.obey_audit_floor();
    assert_eq!(
        (first(), hashes.count(1)),
        (0, 0),
        "the hashes may be at fault, and are made anew"
    );
    assert!(sealed.follow_audit_tree(9).expect("needs no key"));
    for wrong in [[1; 32], [2; 32]] {
        // As they would be of another log.
        let other = Arc::new(MemoryHashes::default());
        let node = restarted(&other);
        for _ in 0..2 {
            other.clear().expect("is in memory");
            other.append(1, &wrong).expect("is in memory");
            other.append(1, &wrong).expect("is in memory");
            node.obey_audit_floor();
        }
        assert_eq!(first(), 0);
        node.obey_audit_floor();
        assert_eq!(first(), 0, "it was told once, and nothing goes");
    }
    sealed.obey_audit_floor();
    assert!((502..=512).contains(&first()), "{}", first());

    // One that never had what went passes over it.
    let late = Arc::new(MemoryHashes::default());
    let node = restarted(&late);
    assert!(node.follow_audit_tree(9).expect("needs no key"));
    assert_eq!(
        late.read(1, 2, 2).expect("is in memory"),
        [root_of(&leaves[512..768]), root_of(&leaves[768..1_024])]
    );
    node.obey_audit_floor();
}

#[tokio::test]
async fn what_the_archive_has_goes_without_a_word() {
    let (bed, _) = grown().await;
    let ask = |seq| {
        Operation::AuditPrune(AuditPrune {
            without_archive: false,
            ..prune(seq)
        })
    };
    bed.node.note_archived(600);
    let refused = bed.call(ask(800)).await.err().expect("the archive has less");
    assert!(
        refused.reason == "NOT_ARCHIVED" && refused.message.contains("before 600"),
        "{refused}"
    );
    assert_eq!(reason(bed.call(ask(600)).await), "OK");
    assert_eq!(bed.node.audit_floor(), 512);
}

/// Pieces are verified as exports, are the same whenever they are written, and begin at the floor if the log does.
#[tokio::test]
async fn pieces_of_an_archive_hold_each_other() {
    let bed = Bed::open().await;
    while bed.consensus.status().audit_size < 2 * ARCHIVE_RECORDS + 10 {
        assert_eq!(reason(bed.call(get("secret/none")).await), "NOT_FOUND");
    }
    let piece = |first| {
        let mut text = Vec::new();
        let key = bed
            .node
            .write_archive(first, &mut text)
            .unwrap_or_else(|failure| panic!("{failure}"));
        key.map(|key| (text, key))
    };
    assert!(piece(2 * ARCHIVE_RECORDS).is_none(), "the log does not go that far");
    let (first, key) = piece(0).expect("is whole");
    let (second, _) = piece(ARCHIVE_RECORDS).expect("is whole");
    assert_eq!(piece(0).expect("is whole").0, first);
    let firsts = verify(&first[..], Some(key)).unwrap_or_else(|error| panic!("{error}"));
    let seconds = verify(&second[..], Some(key)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (firsts.first_seq, firsts.size, firsts.checkpoints),
        (0, ARCHIVE_RECORDS, 1)
    );
    assert_eq!(
        (seconds.first_seq, seconds.size, seconds.checkpoints),
        (ARCHIVE_RECORDS, 2 * ARCHIVE_RECORDS, 2)
    );
    let last = first.rsplit(|byte| *byte == b'\n').nth(1).expect("is the checkpoint");
    let edge = second.split(|byte| *byte == b'\n').nth(1).expect("is the checkpoint");
    assert_eq!(last, edge, "the second begins with what the first ends with");

    drop(pruned(&bed, prune(600)).await);
    bed.node.obey_audit_floor();
    assert_eq!(piece(ARCHIVE_RECORDS).expect("is whole").0, second);
    let refused = bed.node.write_archive(0, std::io::sink()).expect_err("is pruned");
    assert_eq!(refused.reason, "AUDIT_PRUNED");
    let (rest, _) = piece(512).expect("is whole");
    let rest = verify(&rest[..], Some(key)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (rest.first_seq, rest.size, rest.root),
        (512, ARCHIVE_RECORDS, firsts.root)
    );
    bed.node.seal();
    assert!(piece(ARCHIVE_RECORDS).is_none(), "a sealed node gives nothing");
}

/// A row that says what nobody signed is no floor.
#[test]
fn a_forged_row_is_no_floor() {
    let key = SigningKey::from_seed(&SecretKey::take(&mut [7; 32]));
    let mut tree = Frontier::new();
    (0..256).for_each(|_| tree.push([1; 32]));
    let note = Checkpoint::new(&StorageId::from_bytes([1; 16]), &tree);
    let note = note.sign(&key).expect("signs");
    assert!(Floor::new(tree.clone(), note.clone(), *key.verifying_key()).is_some());
    let other = SigningKey::from_seed(&SecretKey::take(&mut [8; 32]));
    assert!(Floor::new(tree.clone(), note.clone(), *other.verifying_key()).is_none());
    tree.push([1; 32]);
    assert!(Floor::new(tree, note, *key.verifying_key()).is_none());
}
