//! Records that nobody can open any more, and records that somebody would rather not show.

use super::*;

/// The export of a store whose first records, 1 and 2, were of an initialisation that was repeated.
fn superseded() -> Vec<String> {
    let header = Header {
        storage_id: store(1),
        origin: Checkpoint::origin_of(&store(1)),
        start: Frontier::new(),
    };
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    for body in bodies(&store(1), History::Main) {
        if body.index == 2 {
            writer.withheld(&body).unwrap();
        } else {
            let records = body.open(&audit_key(), &store(1)).unwrap();
            writer.body(&body, &records).unwrap();
        }
        if [3, 7].contains(&writer.tree().size()) {
            let note = Checkpoint::new(&store(1), writer.tree()).sign(&signer(7)).unwrap();
            writer.checkpoint(&note, signer(7).verifying_key()).unwrap();
        }
    }
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    text.split_inclusive('\n').map(str::to_owned).collect()
}

#[test]
fn what_nobody_can_open_is_in_the_tree_and_counted() {
    let whole = run(&lines()).unwrap();
    assert_eq!(whole.withheld, 0);
    let verified = run(&superseded()).unwrap();
    assert_eq!((verified.withheld, verified.records), (2, 7));
    assert_eq!(verified, Verified { withheld: 2, ..whole });
    let frozen = r#"{"seq":1,"index":2,"k":0,"log_time":1700000000002,"outcome":"ok","commitment":"b39a681561940129a997b85c502c9dbdccd2369ea41007f361e9dee1fc6833ed","withheld":true,"unverified":{"term":1,"wall_time":1700000000009}}"#;
    assert_eq!(superseded()[2].trim_end(), frozen);
}

#[test]
fn an_edit_of_a_withheld_line_is_named() {
    #[expect(clippy::type_complexity, reason = "the columns of a table of cases")]
    let cases: [(&str, &dyn Fn(&str) -> String, u64, Option<u64>, &str); 8] = [
        ("not withheld", &|l| l.replace("true", "false"), 3, Some(1), "Malformed"),
        ("as text", &|l| l.replace("true", "\"true\""), 3, Some(1), "Malformed"),
        (
            "left out",
            &|l| l.replace("\"withheld\":true,", ""),
            3,
            Some(1),
            "Malformed",
        ),
        (
            "twice",
            &|l| l.replace("true", "true,\"withheld\":true"),
            3,
            Some(1),
            "Malformed",
        ),
        (
            "a salt",
            &|l| l.replace("\"withheld\"", "\"salt\":\"00\",\"withheld\""),
            3,
            Some(1),
            "Malformed",
        ),
        (
            "an event",
            &|l| l.replace("true", "true,\"event\":{}"),
            3,
            Some(1),
            "Event",
        ),
        (
            "no event",
            &|l| l.replace("true", "true,\"event\":null"),
            3,
            Some(1),
            "Rewritten",
        ),
        (
            "commitment",
            &|l| set(l, "commitment", &"0".repeat(64)),
            5,
            None,
            "Root { first: 0, last: 2 }",
        ),
    ];
    for (what, edit, line, seq, reason) in cases {
        let mut edited = superseded();
        edited[2] = edit(&edited[2]);
        assert_ne!(edited[2], superseded()[2], "{what} does nothing");
        check(what, &edited, line, seq, reason);
    }
}

#[test]
fn no_record_is_withheld_after_one_that_is_shown() {
    let unverified = Unverified { term: 1, wall_time: 0 };
    let leaves: Vec<_> = bodies(&store(1), History::Main).iter().flat_map(Body::leaves).collect();
    for (seq, at) in (0..).zip(LEAF_LINES) {
        let mut edited = lines();
        edited[at] = leaf_line(&leaves[seq], &Content::Withheld, unverified).unwrap();
        // The first record is 1. The one of consensus before it has no content that could be lost.
        if seq == 1 {
            assert_eq!(run(&edited).unwrap().withheld, 1);
        } else {
            check("taken out", &edited, at as u64 + 1, Some(seq as u64), "Withheld");
        }
    }

    let header = Header {
        storage_id: store(1),
        origin: Checkpoint::origin_of(&store(1)),
        start: Frontier::new(),
    };
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    let bodies = bodies(&store(1), History::Main);
    for body in &bodies[..3] {
        writer.body(body, &body.open(&audit_key(), &store(1)).unwrap()).unwrap();
    }
    assert!(matches!(
        writer.withheld(&bodies[3]),
        Err(WriteError::Withheld { seq: 4 })
    ));
}
