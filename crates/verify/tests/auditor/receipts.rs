//! Receipts, held against the log and what it proves.

use aumbry_audit::{Checkpoint, Receipt};
use aumbry_types::RequestId;
use serde_json::json;

use crate::support::{Desk, Log, export};

/// The receipt of a record of the log, made when it had so many records.
fn receipt(tale: &'static str, seq: u64, size: u64) -> String {
    receipt_of(seq as u8, tale, seq, size)
}

/// As [`receipt`], which says that it is of this request.
fn receipt_of(request: u8, tale: &'static str, seq: u64, size: u64) -> String {
    let mut log = Log::new(tale);
    let mut leaf = [0; 32];
    while log.tree.size() < size {
        let line = log.next();
        if log.tree.size() == seq + 1 {
            let disclosed = aumbry_audit::export::disclosed(&log.storage_id, line.as_bytes());
            leaf = disclosed.expect("is a record").hash();
        }
    }
    let checkpoint = Checkpoint::new(&log.storage_id, &log.tree);
    let receipt = Receipt {
        storage_id: log.storage_id,
        seq,
        index: seq + 1,
        request_id: RequestId::from_bytes([request; 16]),
        leaf,
        size: checkpoint.size,
        root: checkpoint.root,
    };
    receipt.sign(log.signing_key())
}

#[test]
fn what_was_given_is_found_in_the_log() {
    let desk = Desk::new();
    let pin = Log::new("main").fingerprint();
    desk.put("all", export("main", 9, &[9]).concat());
    for (seq, out) in [("5", "five"), ("6", "six")] {
        assert_eq!(
            desk.run(&["prove", "inclusion", "all", "--seq", seq, "--out", out]).0,
            0
        );
    }
    desk.put("receipt", receipt("main", 5, 6));
    let run = |receipt: &str, more: &[&str]| {
        let (code, verdict) = desk.run(&[&["receipt", receipt, "--fingerprint", &pin], more].concat());
        assert_eq!(code == 0, verdict["verified"] == true, "{verdict}");
        verdict
    };
    let proof = ["--proof", "five/proof.json", "--checkpoint", "five/checkpoint.json"];
    let all = [&proof[..], &["--record", "five/record.json"]].concat();

    let verdict = run("receipt", &[]);
    assert_eq!(
        (&verdict["verified"], &verdict["seq"], &verdict["receipt_size"]),
        (&json!(true), &json!(5), &json!(6)),
        "{verdict}"
    );
    assert!(
        verdict["proved"].as_str().unwrap().contains("not looked at"),
        "{verdict}"
    );
    let verdict = run("receipt", &all);
    assert_eq!(
        (&verdict["proved"], &verdict["event"]["path"], &verdict["size"]),
        (
            &json!("the record that the receipt is of is in the log"),
            &json!("kv/main/5"),
            &json!(9)
        )
    );

    // Another record, another proof, a fork, another key, and no proof at all.
    let fault = |receipt: &str, more: &[&str]| run(receipt, more)["fault"].clone();
    assert_eq!(fault("receipt", &["--record", "six/record.json"]), "not-proved");
    desk.put("another", receipt_of(9, "main", 5, 6));
    assert_eq!(fault("another", &all), "not-proved", "the record is of another request");
    let other = ["--proof", "six/proof.json", "--checkpoint", "six/checkpoint.json"];
    assert_eq!(fault("receipt", &other), "another-proof");
    desk.put("fork", receipt("fork", 5, 6));
    assert_eq!(fault("fork", &proof), "not-proved");
    desk.put("fork", receipt("fork", 5, 9));
    assert_eq!(fault("fork", &proof), "forked");
    desk.put("key", Log::signed_by(8, "main").key());
    let (code, verdict) = desk.run(&["receipt", "receipt", "--key", "key"]);
    assert_eq!((code, &verdict["fault"]), (1, &json!("another-key")), "{verdict}");
    assert_eq!(
        desk.run(&[
            "receipt",
            "receipt",
            "--fingerprint",
            &pin,
            "--proof",
            "five/proof.json"
        ])
        .0,
        2
    );

    // Altered, wherever.
    let text = desk.read("receipt");
    for (from, to) in [
        ("seq 5", "seq 4"),
        ("index 6", "index 7"),
        ("request 05", "request 08"),
        ("checkpoint 6", "checkpoint 7"),
        ("leaf ", "leaf A"),
        ("\"receipt\"", "\"checkpoint\""),
    ] {
        assert!(text.contains(from), "{text}");
        desk.put("edited", text.replacen(from, to, 1));
        assert_eq!(fault("edited", &all), "altered", "{from}");
    }
}
