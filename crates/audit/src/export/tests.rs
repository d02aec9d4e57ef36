use aumbry_crypto::signature::SigningKey;
use aumbry_types::{SecretKey, SimulatedEntropy};

use super::*;
use crate::record::tests::sample;
use crate::{Body, Checkpoint, Outcome, Record, blob, clear_commitment, commitment, hex};

mod withheld;

/// Which history an export tells. A fork differs in record 4 alone.
#[derive(Clone, Copy, PartialEq)]
enum History {
    Main,
    Fork,
}

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_seed(&SecretKey::take(&mut [seed; 32]))
}

fn fingerprint(seed: u8) -> [u8; 32] {
    signer(seed).verifying_key().fingerprint()
}

fn store(n: u8) -> StorageId {
    StorageId::from_bytes([n; 16])
}

/// Seven leaves: 0 by consensus, 1 and 2 of one entry, 3 of a malformed entry, 4 to 6 of one entry.
fn bodies(storage_id: &StorageId, history: History) -> Vec<Body> {
    let entries: [(u64, &[(u32, Outcome)]); 4] = [
        (1, &[(0, Outcome::Clear)]),
        (2, &[(0, Outcome::Ok), (1, Outcome::Conflict)]),
        (4, &[(0, Outcome::Rejected)]),
        (5, &[(0, Outcome::Ok), (1, Outcome::Exhausted), (3, Outcome::Expired)]),
    ];
    let mut first_seq = 0;
    let mut bodies = Vec::new();
    for (index, commands) in entries {
        let is_clear = matches!(commands[0].1, Outcome::Clear | Outcome::Rejected);
        let clear = if is_clear {
            format!("entry {index}").into_bytes()
        } else {
            Vec::new()
        };
        let records: Vec<_> = (first_seq..)
            .zip(commands)
            .map(|(seq, _)| (record(seq, history).encode(), [seq as u8; 16]))
            .collect();
        let commitments: Vec<_> = records
            .iter()
            .map(|(record, salt)| {
                if is_clear {
                    clear_commitment(&clear)
                } else {
                    commitment(storage_id, salt, record)
                }
            })
            .collect();
        let blob = if is_clear {
            Vec::new()
        } else {
            blob::seal(
                &audit_key(),
                1,
                storage_id,
                &commitments,
                &records,
                &SimulatedEntropy::new(index),
            )
        };
        let leaves = commands
            .iter()
            .zip(&commitments)
            .map(|(&(k, outcome), c)| (k, outcome, *c))
            .collect();
        let log_time = 1_700_000_000_000 + index;
        bodies.push(Body {
            index,
            term: 1,
            first_seq,
            log_time,
            wall_time: log_time + 7,
            leaves,
            clear,
            blob,
        });
        first_seq += commands.len() as u64;
    }
    bodies
}

fn record(seq: u64, history: History) -> Record {
    let path = if history == History::Fork && seq == 4 {
        "kv/forked".into()
    } else {
        format!("kv/{seq}\u{202e}")
    };
    Record { path, ..sample() }
}

fn audit_key() -> SecretKey {
    SecretKey::take(&mut [3; 32])
}

/// The export from `start` on, with checkpoints at sizes 3 and 7.
fn export(storage_id: &StorageId, history: History, start: Frontier) -> String {
    let header = Header {
        storage_id: *storage_id,
        origin: Checkpoint::origin_of(storage_id),
        start,
    };
    let first_seq = header.start.size();
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    for body in bodies(storage_id, history) {
        if body.first_seq + body.leaves.len() as u64 <= first_seq {
            continue;
        }
        writer
            .body(&body, &body.open(&audit_key(), storage_id).unwrap())
            .unwrap();
        if [3, 7].contains(&writer.tree().size()) {
            let note = Checkpoint::new(storage_id, writer.tree()).sign(&signer(7)).unwrap();
            writer.checkpoint(&note, signer(7).verifying_key()).unwrap();
        }
    }
    String::from_utf8(writer.finish().unwrap()).unwrap()
}

fn main_export() -> String {
    export(&store(1), History::Main, Frontier::new())
}

fn lines() -> Vec<String> {
    main_export().split_inclusive('\n').map(str::to_owned).collect()
}

fn run(lines: &[String]) -> Result<Verified, VerifyError> {
    verify(lines.concat().as_bytes(), Some(fingerprint(7)))
}

/// Checks that the lines fail to verify at this line and record for the reason whose name begins so.
fn check(what: &str, lines: &[String], line: u64, seq: Option<u64>, reason: &str) {
    let error = run(lines).expect_err(what);
    assert_eq!((error.line, error.seq), (line, seq), "{what}: {error:?}");
    assert!(format!("{:?}", error.reason).starts_with(reason), "{what}: {error:?}");
}

/// The line of each leaf, counted from 0: line 0 is the header, lines 4 and 9 are checkpoints.
const LEAF_LINES: [usize; 7] = [1, 2, 3, 5, 6, 7, 8];

#[test]
fn an_export_verifies() {
    let verified = run(&lines()).unwrap();
    assert_eq!((verified.first_seq, verified.records, verified.size), (0, 7, 7));
    assert_eq!(verified.storage_id, store(1));
    assert_eq!(verified.key_fingerprint, fingerprint(7));
    assert_eq!(verified.log_times, Some((1_700_000_000_001, 1_700_000_000_005)));
    assert_eq!(verify(main_export().as_bytes(), None).unwrap(), verified);

    // Every partial export leads to the same root, also one that starts inside an entry.
    let mut start = Frontier::new();
    for leaf in bodies(&store(1), History::Main).iter().flat_map(Body::leaves) {
        start.push(leaf.hash());
        let partial = export(&store(1), History::Main, start.clone());
        if start.size() < 7 {
            let partial = verify(partial.as_bytes(), None).unwrap();
            assert_eq!((partial.first_seq, partial.records), (start.size(), 7 - start.size()));
            assert_eq!(partial.root, verified.root);
        }
    }
}

#[test]
fn frozen_export() {
    // One line of each kind to read, and the digest of the whole file.
    let frozen = [
        (
            0,
            r#"{"format":"aumbry-audit-export/1","storage_id":"01010101010101010101010101010101","origin":"aumbry/audit/01010101010101010101010101010101","first_seq":0}"#,
        ),
        (
            1,
            r#"{"seq":0,"index":1,"k":0,"log_time":1700000000001,"outcome":"clear","commitment":"05d1a79a8e5c8395d160854dbbc281435c8917113d868f5901d7e628d0a01746","clear":"ZW50cnkgMQ==","event":{"consensus":"entry 1"},"unverified":{"term":1,"wall_time":1700000000008}}"#,
        ),
        (
            2,
            r#"{"seq":1,"index":2,"k":0,"log_time":1700000000002,"outcome":"ok","commitment":"b39a681561940129a997b85c502c9dbdccd2369ea41007f361e9dee1fc6833ed","salt":"01010101010101010101010101010101","record":"Aaurq6urq6urq6urq6urq6sBBmt2LnB1dAdrdi8x4oCuAQRhY2MxAmNpAgNhcHAHZGVmYXVsdAEAAAAAAAAAAAAAAAAAAAAJAAABA2FwcAhrdi9hcHAvKg4xMC4wLjAuNzo1MTAwMAACAQJldQIDY2FzAAEzCHBhc3N3b3JkAc3Nzc3Nzc3Nzc3Nzc3Nzc0B7+/v7+/v7+/v7+/v7+/v7wE=","event":{"request_id":"abababababababababababababababab","attempt":1,"operation":"kv.put","path":"kv/1\u202e","principal":{"accessor":"acc1","display_name":"ci","policies":["app","default"],"entity":"00000000000000000000000000000009"},"decision":"allowed","reason":"","deciding_policies":["app"],"rule":"kv/app/*","client":"10.0.0.7:51000","tls_identity":"","node":2,"leader":1,"region":"eu","fields":{"cas":"3","password":"hmac:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"},"response":"hmac:efefefefefefefefefefefefefefefef","count":1},"unverified":{"term":1,"wall_time":1700000000009}}"#,
        ),
        (
            4,
            r#"{"checkpoint":"aumbry/audit/01010101010101010101010101010101\n3\n5ym0HJFLoRGJvT8/nQYqkCwXjiAyOaSODpd/mpjolFM=\n\n— aumbry/audit/01010101010101010101010101010101 SRf7mUn6C+mpQEF7c6CP4SjO/WWPSFSNTUF6b28s7oIWGsS8hbo/9tCo3eL8o1q+FpOlLY6AZKOzzluhaaG9LdW9owg=\n","key":"ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"}"#,
        ),
    ];
    for (at, line) in frozen {
        assert_eq!(lines()[at].trim_end(), line);
    }
    let digest = hex::encode(&aumbry_crypto::sha256(&[main_export().as_bytes()]));
    assert_eq!(
        digest,
        "6fe4a7e033efa5c847c8f09cfa52b2ad92adbf61e4e0418c20e2ec7e7bad4ac9"
    );
}

/// Abuse cases: 87.
#[test]
fn a_record_deleted_repeated_or_moved_is_named() {
    for (seq, at) in (0..).zip(LEAF_LINES) {
        let number = at as u64 + 1;
        let is_last_before_checkpoint = [3, 8].contains(&at);

        let mut deleted = lines();
        deleted.remove(at);
        let reason = if is_last_before_checkpoint { "Size" } else { "Missing" };
        check("delete", &deleted, number, Some(seq), reason);

        let mut repeated = lines();
        repeated.insert(at, repeated[at].clone());
        check("repeat", &repeated, number + 1, Some(seq), "Repeated");

        let mut moved = lines();
        moved.swap(at, at + 1);
        check("swap with the next line", &moved, number, Some(seq), "Moved");

        let mut spliced = lines();
        let other: Vec<String> = export(&store(2), History::Main, Frontier::new())
            .split_inclusive('\n')
            .map(str::to_owned)
            .collect();
        spliced[at].clone_from(&other[at]);
        if !spliced[at].contains("\"clear\":") {
            check("splice from another store", &spliced, number, Some(seq), "Commitment");
        }
    }
}

/// Abuse cases: 87.
#[test]
fn an_edit_of_each_part_of_a_line_is_named() {
    // What is done to the line, which line, the record named, the reason.
    #[rustfmt::skip]
    #[expect(clippy::type_complexity, reason = "the columns of a table of cases")]
    let cases: [(&str, usize, &dyn Fn(&str) -> String, Option<u64>, &str); 24] = [
        ("format", 0, &|l| l.replace("export/1", "export/2"), None, "Malformed"),
        ("first record", 0, &|l| l.replace("\"first_seq\":0", "\"first_seq\":1"), None, "Malformed"),
        ("a space in the header", 0, &|l| l.replace("\":\"", "\": \""), None, "Rewritten"),
        ("sequence", 6, &|l| l.replace("\"seq\":4", "\"seq\":9"), Some(4), "Missing"),
        ("log index, backwards", 6, &|l| l.replace("\"index\":5", "\"index\":3"), Some(4), "Order"),
        ("command, as the one before", 7, &|l| l.replace("\"k\":1", "\"k\":0"), Some(5), "Order"),
        ("time, backwards", 6, &|l| l.replace("\"log_time\":17", "\"log_time\":16"), Some(4), "Time"),
        ("time within an entry", 7, &|l| l.replace("\"log_time\":17", "\"log_time\":18"), Some(5), "Time"),
        ("commitment", 6, &|l| set(l, "commitment", &"0".repeat(64)), Some(4), "Commitment"),
        ("salt", 6, &|l| set(l, "salt", &"0".repeat(32)), Some(4), "Commitment"),
        ("record", 6, &|l| set(l, "record", "AQID"), Some(4), "Commitment"),
        ("record left out", 6, &|l| l.replace("\"record\"", "\"clear\""), Some(4), "Malformed"),
        ("content of consensus", 1, &|l| set(l, "clear", "AQID"), Some(0), "Commitment"),
        ("event of consensus", 1, &|l| l.replace("entry 1", "entry 2"), Some(0), "Event"),
        ("event", 6, &|l| l.replace("\"path\":\"kv/4", "\"path\":\"kv/5"), Some(4), "Event"),
        ("event, decision", 6, &|l| l.replace("allowed", "denied"), Some(4), "Event"),
        ("event, second key", 6, &|l| l.replace("{\"request_id\"", "{\"path\":\"x\",\"request_id\""), Some(4), "Rewritten"),
        ("event, unescaped", 6, &|l| l.replace("\\u202e", "\u{202e}"), Some(4), "Rewritten"),
        ("unknown key", 6, &|l| l.replace("\"k\":0", "\"k\":0,\"note\":1"), Some(4), "Malformed"),
        ("not text of a line", 6, &|_| "hello\n".into(), Some(4), "Malformed"),
        ("an empty line", 6, &|_| "\n".into(), Some(4), "Malformed"),
        ("signed size", 9, &|l| l.replace("\\n7\\n", "\\n8\\n"), None, "Checkpoint(Signature)"),
        ("signature left out", 9, &|l| l.replace("\u{2014}", "-"), None, "Checkpoint(Malformed)"),
        ("a space in the checkpoint", 9, &|l| l.replace("\",\"", "\", \""), None, "Rewritten"),
    ];
    for (what, at, edit, seq, reason) in cases {
        let mut edited = lines();
        edited[at] = edit(&edited[at]);
        assert_ne!(edited[at], lines()[at], "{what} does nothing");
        check(what, &edited, at as u64 + 1, seq, reason);
    }

    // Edits that keep their line consistent are seen at the next checkpoint, with the range that it covers.
    let whole = |at: usize, content: Content, outcome: Outcome| {
        let leaf = bodies(&store(1), History::Main)
            .iter()
            .flat_map(Body::leaves)
            .nth(4)
            .unwrap();
        let commitment = match &content {
            Content::Record { record, salt } => commitment(&store(1), salt, record),
            Content::Clear(bytes) => clear_commitment(bytes),
            Content::Withheld => leaf.commitment,
        };
        let mut edited = lines();
        let unverified = Unverified { term: 1, wall_time: 0 };
        edited[at] = leaf_line(
            &crate::Leaf {
                outcome,
                commitment,
                ..leaf
            },
            &content,
            unverified,
        )
        .unwrap();
        edited
    };
    let honest = Content::Record {
        record: record(4, History::Main).encode(),
        salt: [4; 16],
    };
    let reason = "Root { first: 3, last: 6 }";
    check("outcome", &whole(6, honest, Outcome::Conflict), 10, None, reason);
    let lie = Content::Record {
        record: sample().encode(),
        salt: [4; 16],
    };
    check("another record", &whole(6, lie, Outcome::Ok), 10, None, reason);
    check(
        "made clear",
        &whole(6, Content::Clear(b"x".to_vec()), Outcome::Clear),
        10,
        None,
        reason,
    );
    check(
        "not an allowed outcome",
        &whole(6, Content::Clear(b"x".to_vec()), Outcome::Ok),
        7,
        Some(4),
        "Malformed",
    );
}

/// Abuse cases: 87.
#[test]
fn a_cut_or_spliced_file_is_refused() {
    let all = lines();
    check("nothing", &[], 1, None, "Malformed");
    check("header alone", &all[..1], 2, None, "NoCheckpoint");
    check("no header", &all[1..], 1, None, "Malformed");
    check("two headers", &[&all[..1], &all[..]].concat(), 2, Some(0), "Malformed");
    check("checkpoint left out at the end", &all[..9], 10, None, "NoCheckpoint");
    check(
        "cut before the last checkpoint",
        &[&all[..8], &all[9..]].concat(),
        9,
        Some(6),
        "Size",
    );
    check(
        "cut after the first checkpoint and a record",
        &all[..6],
        7,
        None,
        "NoCheckpoint",
    );
    check(
        "checkpoint too early",
        &[&all[..3], &all[4..]].concat(),
        4,
        Some(2),
        "Size",
    );
    let mut unended = all.clone();
    unended[9].pop();
    check("the last newline", &unended, 10, None, "CutOff");

    // A file that ends after a checkpoint is a shorter export, and says so.
    assert_eq!(run(&all[..5]).unwrap().size, 3);

    let fork: Vec<String> = export(&store(1), History::Fork, Frontier::new())
        .split_inclusive('\n')
        .map(str::to_owned)
        .collect();
    assert_ne!(run(&fork).unwrap().root, run(&all).unwrap().root);
    check(
        "a record of a fork",
        &[&all[..6], &fork[6..7], &all[7..]].concat(),
        10,
        None,
        "Root { first: 3, last: 6 }",
    );
    check(
        "a checkpoint of a fork",
        &[&all[..9], &fork[9..]].concat(),
        10,
        None,
        "Root",
    );

    check(
        "the checkpoint of a fork after the right one",
        &[&all[..], &fork[9..]].concat(),
        11,
        None,
        "Forked { size: 7",
    );

    let other: Vec<String> = export(&store(2), History::Main, Frontier::new())
        .split_inclusive('\n')
        .map(str::to_owned)
        .collect();
    check(
        "another header",
        &[&other[..1], &all[1..]].concat(),
        3,
        Some(1),
        "Commitment",
    );
    check(
        "a checkpoint of another store",
        &[&all[..9], &other[9..]].concat(),
        10,
        None,
        "Origin",
    );
}

#[test]
fn another_key_or_another_start_is_refused() {
    let mut resigned = lines();
    let mut tree = Frontier::new();
    bodies(&store(1), History::Main)
        .iter()
        .flat_map(Body::leaves)
        .for_each(|leaf| tree.push(leaf.hash()));
    let note = Checkpoint::new(&store(1), &tree).sign(&signer(8)).unwrap();
    resigned[9] = checkpoint_line(&note, signer(8).verifying_key());
    check("another key", &resigned, 10, None, "Key");
    let unpinned = verify(resigned.concat().as_bytes(), None).unwrap_err();
    assert!(matches!(unpinned.reason, Reason::Key { .. }), "one export has one key");
    resigned[9] = checkpoint_line(&note, signer(7).verifying_key());
    check(
        "another key under the name of the first",
        &resigned,
        10,
        None,
        "Checkpoint(Unsigned)",
    );

    let mut start = Frontier::new();
    start.push([1; 32]);
    let partial: Vec<String> = export(&store(1), History::Main, start)
        .split_inclusive('\n')
        .map(str::to_owned)
        .collect();
    let error = verify(
        [&partial[..partial.len() - 1], &lines()[9..]]
            .concat()
            .concat()
            .as_bytes(),
        None,
    )
    .unwrap_err();
    assert!(
        matches!(
            error.reason,
            Reason::Root { first: 3, last: 6 } | Reason::Root { first: 1, .. }
        ),
        "{error:?}"
    );
}

#[test]
fn no_byte_can_change_unseen() {
    let text = main_export();
    let mut unverified = false;
    for (at, byte) in text.bytes().enumerate() {
        // The object that no leaf commits to, which every line of a leaf ends with.
        if text.as_bytes()[at..].starts_with(b"\"unverified\":") {
            unverified = true;
        }
        unverified &= byte != b'\n';
        if unverified || at % BYTE_STEP != 0 {
            continue;
        }
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        assert!(verify(&changed[..], Some(fingerprint(7))).is_err(), "byte {at}");
    }
}

#[test]
fn a_writer_refuses_what_would_not_verify() {
    let header = || Header {
        storage_id: store(1),
        origin: Checkpoint::origin_of(&store(1)),
        start: Frontier::new(),
    };
    let bodies = bodies(&store(1), History::Main);
    let opened = bodies[1].open(&audit_key(), &store(1)).unwrap();
    let mut writer = Writer::new(Vec::new(), header()).unwrap();
    assert!(matches!(
        writer.body(&bodies[1], &opened),
        Err(WriteError::Gap { expected: 0, found: 1 })
    ));
    writer.body(&bodies[0], &[]).unwrap();
    assert!(matches!(
        writer.body(&bodies[0], &[]),
        Err(WriteError::Gap { expected: 1, found: 0 })
    ));
    assert!(matches!(
        writer.body(&bodies[1], &opened[..1]),
        Err(WriteError::Records { index: 2 })
    ));

    let mut writer = Writer::new(Vec::new(), header()).unwrap();
    let note = Checkpoint {
        size: 1,
        ..Checkpoint::new(&store(1), writer.tree())
    }
    .sign(&signer(7))
    .unwrap();
    assert!(matches!(
        writer.checkpoint(&note, signer(7).verifying_key()),
        Err(WriteError::Uncovered { size: 0 })
    ));
    let leaf = bodies[1].leaves().next().unwrap();
    let junk = Content::Record {
        record: b"junk".to_vec(),
        salt: [0; 16],
    };
    assert_eq!(leaf_line(&leaf, &junk, Unverified { term: 1, wall_time: 0 }), None);
}

fn set(line: &str, key: &str, value: &str) -> String {
    let start = line.find(&format!("\"{key}\":\"")).unwrap() + key.len() + 4;
    let end = start + line[start..].find('"').unwrap();
    format!("{}{value}{}", &line[..start], &line[end..])
}

/// Enough to meet every part of every line, and few enough to run with every build.
const BYTE_STEP: usize = 3;
