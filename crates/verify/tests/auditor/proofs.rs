//! Proofs, made from an export and verified against checkpoints.

use proptest::prelude::*;
use serde_json::json;

use crate::support::{Desk, Log, export, note};

#[test]
fn one_read_is_proved_with_three_small_files() {
    let desk = Desk::new();
    let pin = Log::new("main").fingerprint();
    desk.put("all", export("main", 9, &[3, 9]).concat());
    let (code, made) = desk.run(&["prove", "inclusion", "all", "--seq", "5", "--out", "five"]);
    assert_eq!((code, &made["size"]), (0, &json!(9)), "{made}");
    assert!(made.get("verified").is_none(), "no key was pinned: {made}");
    let asked = ["five/record.json", "five/proof.json", "five/checkpoint.json"];
    let run = |files: [&str; 3]| desk.run(&["inclusion", files[0], files[1], files[2], "--fingerprint", &pin]);
    let (code, verdict) = run(asked);
    assert_eq!(code, 0, "{verdict}");
    assert_eq!(
        (&verdict["seq"], &verdict["event"]["path"]),
        (&json!(5), &json!("kv/main/5"))
    );

    // Another record, another proof, an altered one, another checkpoint.
    assert_eq!(
        desk.run(&["prove", "inclusion", "all", "--seq", "6", "--out", "six"]).0,
        0
    );
    let edit = |name: &str, from: &str, to: &str| {
        let text = desk.read(name);
        assert!(text.contains(from), "{text}");
        desk.put("edited", text.replacen(from, to, 1));
    };
    let fault = |files| run(files).1["fault"].clone();
    assert_eq!(fault(["six/record.json", asked[1], asked[2]]), "another-proof");
    edit(asked[0], "kv/main/5", "kv/main/6");
    assert_eq!(fault(["edited", asked[1], asked[2]]), "altered");
    edit(asked[0], "\"ok\"", "\"conflict\"");
    assert_eq!(fault(["edited", asked[1], asked[2]]), "not-proved");
    edit(asked[1], "\"seq\":5", "\"seq\":4");
    assert_eq!(fault([asked[0], "edited", asked[2]]), "another-proof");
    edit(asked[1], "[", "[\"");
    assert_eq!(fault([asked[0], "edited", asked[2]]), "altered");
    desk.put("fork", export("fork", 9, &[9]).concat());
    assert_eq!(fault([asked[0], asked[1], "fork"]), "not-proved");
    assert_eq!(
        desk.run(&["prove", "inclusion", "all", "--seq", "9", "--out", "nine"])
            .0,
        2
    );
    assert_eq!(
        desk.run(&["prove", "inclusion", "all", "--seq", "5", "--out", "five"])
            .0,
        2
    );
}

#[test]
fn growth_is_proved_and_a_fork_is_not() {
    let desk = Desk::new();
    desk.put("key", Log::new("main").key());
    desk.put("all", export("main", 9, &[9]).concat());
    desk.put("old", note("main", 6));
    desk.put("new", note("main", 9));
    let make = [
        "prove",
        "consistency",
        "all",
        "--from",
        "6",
        "--to",
        "9",
        "--out",
        "grown",
    ];
    assert_eq!(desk.run(&make).0, 0);
    let run = |old: &str, new: &str| desk.run(&["consistency", old, new, "grown/proof.json", "--key", "key"]);
    let (code, verdict) = run("old", "new");
    assert_eq!(
        (code, &verdict["old_size"], &verdict["new_size"]),
        (0, &json!(6), &json!(9)),
        "{verdict}"
    );
    desk.put("forked-old", note("fork", 6));
    desk.put("forked-new", note("fork", 9));
    desk.put("earlier", note("main", 5));
    for (old, new, fault) in [
        ("forked-old", "new", "not-proved"),
        ("old", "forked-new", "not-proved"),
        ("earlier", "new", "another-proof"),
        ("new", "forked-new", "forked"),
    ] {
        let (code, verdict) = run(old, new);
        assert_eq!((code, &verdict["fault"]), (1, &json!(fault)), "{old} {new}: {verdict}");
    }
    let inclusion = ["inclusion", "old", "grown/proof.json", "new", "--key", "key"];
    assert_eq!(desk.run(&inclusion).0, 2, "a proof of the other kind");
    let backwards = [
        "prove",
        "consistency",
        "all",
        "--from",
        "9",
        "--to",
        "6",
        "--out",
        "back",
    ];
    assert_eq!(desk.run(&backwards).0, 2);
}

proptest! {
    // Each case runs the program four times.
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_record_of_any_size_is_proved(size in 1_u64..70, seq in 0_u64..70, from in 0_u64..70) {
        let (seq, from) = (seq % size, from % (size + 1));
        let desk = Desk::new();
        let (seq, from) = (seq.to_string(), from.to_string());
        desk.put("key", Log::new("main").key());
        desk.put("all", export("main", size, &[size]).concat());
        desk.put("old", note("main", from.parse().unwrap()));
        prop_assert_eq!(desk.run(&["prove", "inclusion", "all", "--seq", &seq, "--out", "a"]).0, 0);
        let inclusion = ["inclusion", "a/record.json", "a/proof.json", "all", "--key", "key"];
        prop_assert_eq!(desk.run(&inclusion).0, 0);
        prop_assert_eq!(desk.run(&["prove", "consistency", "all", "--from", &from, "--out", "b"]).0, 0);
        let consistency = ["consistency", "old", "all", "b/proof.json", "--key", "key"];
        prop_assert_eq!(desk.run(&consistency).0, 0);
    }
}
