//! What is done to an export is named, with the line.

use serde_json::json;

use crate::support::{Desk, Log, export, note};

#[test]
fn an_export_is_verified_and_says_what_that_covers() {
    let desk = Desk::new();
    let log = Log::new("main");
    desk.put("all", export("main", 9, &[3, 9]).concat());
    desk.put("key", log.key());
    for pin in [["--fingerprint", &log.fingerprint()], ["--key", "key"]] {
        let (code, verdict) = desk.run(&["export", "all", pin[0], pin[1]]);
        assert_eq!(code, 0, "{verdict}");
        let facts = ["verified", "records", "first_seq", "last_seq", "checkpoints", "size"];
        assert_eq!(
            facts.map(|fact| verdict[fact].clone()),
            [json!(true), json!(9), json!(0), json!(8), json!(2), json!(9)]
        );
        assert_eq!(verdict["root"].as_str().map(str::len), Some(64));
    }
    let shown = desk.output(&["export", "all", "--key", "key"]).stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.starts_with("VERIFIED\n") && shown.contains("  last seq: 8\n"),
        "{shown}"
    );
}

#[test]
fn what_was_done_to_a_record_is_named() {
    let whole = export("main", 9, &[3, 9]);
    // Line 1 is the header and line 5 the checkpoint of 3 records: record 5 stands at line 8.
    let at = 7;
    assert!(whole[at].starts_with("{\"seq\":5,"));
    let edited = |edit: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        edit(&mut lines);
        lines.concat()
    };
    let cases: [(&str, u64, Option<u64>, String); 10] = [
        ("removed", 8, Some(5), edited(&|lines| drop(lines.remove(at)))),
        (
            "altered",
            8,
            Some(5),
            edited(&|lines| lines[at] = lines[at].replace("kv/main", "kv/mine")),
        ),
        (
            "altered",
            8,
            Some(5),
            edited(&|lines| lines[at] = lines[at].replace("\"ok\"", "\"ko\"")),
        ),
        ("reordered", 8, Some(5), edited(&|lines| lines.swap(at, at + 1))),
        (
            "reordered",
            8,
            Some(5),
            edited(&|lines| {
                let line = lines.remove(at);
                lines.push(line);
            }),
        ),
        (
            "duplicated",
            9,
            Some(5),
            edited(&|lines| lines.insert(at + 1, lines[at].clone())),
        ),
        ("truncated", 8, None, edited(&|lines| lines.truncate(at))),
        ("truncated", 12, None, whole.concat().trim_end().to_owned()),
        // Consistent in itself: another outcome is another leaf, which only the next signed root shows.
        (
            "altered",
            12,
            None,
            edited(&|lines| lines[at] = lines[at].replace("\"ok\"", "\"conflict\"")),
        ),
        ("not-an-export", 1, None, "hello\n".to_owned()),
    ];
    let desk = Desk::new();
    let fingerprint = Log::new("main").fingerprint();
    for (fault, line, record, text) in cases {
        desk.put("bad", &text);
        let (code, verdict) = desk.run(&["export", "bad", "--fingerprint", &fingerprint]);
        assert_eq!(code, 1, "{fault}: {verdict}");
        assert_eq!(
            (
                &verdict["verified"],
                &verdict["fault"],
                &verdict["line"],
                &verdict["record"]
            ),
            (&json!(false), &json!(fault), &json!(line), &json!(record)),
            "{verdict}"
        );
        let shown = desk.output(&["export", "bad", "--fingerprint", &fingerprint]).stdout;
        let first = format!("NOT VERIFIED: {fault}\n");
        assert!(String::from_utf8(shown).unwrap().starts_with(&first));
    }
}

#[test]
fn a_fork_is_named_with_both_notes() {
    let desk = Desk::new();
    let fingerprint = Log::new("main").fingerprint();
    let main = export("main", 9, &[9]);
    let fork = export("fork", 9, &[9]);

    // Two checkpoints of one size in one file.
    desk.put("both", [&main[..], &fork[fork.len() - 1..]].concat().concat());
    let (code, verdict) = desk.run(&["export", "both", "--fingerprint", &fingerprint]);
    assert_eq!((code, &verdict["fault"]), (1, &json!("forked")), "{verdict}");
    assert_eq!(verdict["evidence"], json!([note("main", 9), note("fork", 9)]));

    // A whole and right export of another history than the one of the kept checkpoint, of its size and of a larger one.
    desk.put("fork", fork.concat());
    desk.put("key", Log::new("main").key());
    for size in [9, 6] {
        desk.put("kept", note("main", size));
        let (code, verdict) = desk.run(&["export", "fork", "--key", "key", "--kept", "kept"]);
        assert_eq!((code, &verdict["fault"]), (1, &json!("forked")), "{verdict}");
        assert_eq!(verdict["evidence"], json!([note("main", size), note("fork", 9)]));
        desk.put("kept", note("fork", size));
        let (code, verdict) = desk.run(&["export", "fork", "--key", "key", "--kept", "kept"]);
        assert_eq!((code, &verdict["kept_compared"]), (0, &json!([size])), "{verdict}");
    }
    // The histories part at record 4.
    desk.put("kept", note("main", 4));
    assert_eq!(desk.run(&["export", "fork", "--key", "key", "--kept", "kept"]).0, 0);

    // Records that were altered under a right checkpoint are no fork: nobody signed them.
    let altered = [&fork[..fork.len() - 1], &main[main.len() - 1..]].concat().concat();
    desk.put("altered", altered);
    desk.put("kept", note("main", 6));
    let (_, verdict) = desk.run(&["export", "altered", "--key", "key", "--kept", "kept"]);
    assert_eq!(verdict["fault"], json!("altered"), "{verdict}");
}

#[test]
fn a_shorter_export_is_truncated_for_whoever_kept_a_checkpoint() {
    let desk = Desk::new();
    let fingerprint = Log::new("main").fingerprint();
    desk.put("monday", export("main", 9, &[9]).concat());
    let pin = ["--fingerprint", fingerprint.as_str()];
    let save = ["export", "monday", "--save-checkpoint", "kept"];
    assert_eq!(desk.run(&[&save[..], &pin].concat()).0, 0);
    assert!(desk.has("kept"));
    assert_eq!(
        desk.run(&[&save[..], &pin].concat()).0,
        2,
        "a kept checkpoint is never written over"
    );

    desk.put("cut", export("main", 5, &[5]).concat());
    assert_eq!(
        desk.run(&[&["export", "cut"][..], &pin].concat()).0,
        0,
        "alone it is whole"
    );
    let (code, verdict) = desk.run(&[&["export", "cut", "--kept", "kept"][..], &pin].concat());
    assert_eq!(
        (code, &verdict["fault"], &verdict["record"]),
        (1, &json!("truncated"), &json!(5))
    );
}

#[test]
fn another_key_and_wrong_use_are_told_apart() {
    let desk = Desk::new();
    desk.put("all", export("main", 3, &[3]).concat());
    let other = Log::signed_by(8, "main");
    let (code, verdict) = desk.run(&["export", "all", "--fingerprint", &other.fingerprint()]);
    assert_eq!((code, &verdict["fault"]), (1, &json!("another-key")));
    desk.put("nokey", "hello");
    for wrong in [
        &["export", "all"][..],
        &["export", "all", "--fingerprint", "ab"],
        &["export", "all", "--key", "nokey"],
        &["export", "all", "--key", "nowhere"],
        &["export", "nowhere", "--fingerprint", &other.fingerprint()],
        &["nothing"],
        &[],
    ] {
        let output = desk.output(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
    assert_eq!(desk.output(&["--help"]).status.code(), Some(0));
}
