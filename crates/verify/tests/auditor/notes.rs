//! A chain of signed checkpoints.

use serde_json::json;

use crate::support::{Desk, Log, export, note};

#[test]
fn a_chain_is_verified_from_notes_and_from_exports() {
    let desk = Desk::new();
    let log = Log::new("main");
    desk.put("key", log.key());
    desk.put("three", note("main", 3));
    desk.put("export", export("main", 9, &[5, 9]).concat());
    let (code, verdict) = desk.run(&["checkpoints", "three", "export", "export", "--key", "key"]);
    assert_eq!(code, 1, "the second time it begins with 5 again: {verdict}");
    assert_eq!(verdict["fault"], json!("reordered"));
    let (code, verdict) = desk.run(&["checkpoints", "three", "export", "--key", "key"]);
    assert_eq!(code, 0, "{verdict}");
    assert_eq!(
        ["checkpoints", "from_size", "to_size"].map(|fact| verdict[fact].clone()),
        [3, 3, 9]
    );
    // The key stands beside the notes of an export, so its fingerprint is enough.
    assert_eq!(
        desk.run(&["checkpoints", "export", "--fingerprint", &log.fingerprint()])
            .0,
        0
    );
    assert_eq!(
        desk.run(&["checkpoints", "three", "--fingerprint", &log.fingerprint()])
            .0,
        2
    );
}

#[test]
fn what_is_wrong_with_a_chain_is_named() {
    let desk = Desk::new();
    let log = Log::new("main");
    desk.put("key", log.key());
    desk.put("old", note("main", 3));
    desk.put("five", note("main", 5));
    desk.put("fork", note("fork", 5));
    desk.put("new", note("main", 9));
    desk.put("altered", note("main", 9).replace("\n9\n", "\n8\n"));
    desk.put("other-key", Log::signed_by(8, "main").note());
    let mut other_log = Log::new("main");
    other_log.storage_id = aumbry_types::StorageId::from_bytes([2; 16]);
    desk.put("other-log", other_log.note());
    desk.put("nothing", "hello\n");
    for (files, fault) in [
        (&["old", "five", "fork"][..], "forked"),
        // Found even if another checkpoint stands between, and the order is wrong too.
        (&["five", "new", "fork"], "forked"),
        (&["new", "old"], "reordered"),
        (&["old", "altered"], "altered"),
        (&["old", "other-key"], "another-key"),
        (&["old", "other-log"], "another-log"),
        (&["old", "nothing"], "altered"),
    ] {
        let (code, verdict) = desk.run(&[&["checkpoints"], files, &["--key", "key"]].concat());
        assert_eq!((code, &verdict["fault"]), (1, &json!(fault)), "{files:?}: {verdict}");
        if fault == "forked" {
            assert_eq!(verdict["evidence"], json!([note("main", 5), note("fork", 5)]));
            let shown = desk
                .output(&[&["checkpoints"], files, &["--key", "key"]].concat())
                .stdout;
            let shown = String::from_utf8(shown).unwrap();
            assert_eq!(shown.matches("  evidence:\n    aumbry/audit/").count(), 2, "{shown}");
        }
    }
}
