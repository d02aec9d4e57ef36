//! Histories of secrets made by hand: the good ones pass, the bad ones are caught with the right explanation, by the search and by the oracles.

mod support;

use aumbry_checker::oracle::{self, Rule};
use aumbry_checker::{Budget, Event, Fate, Reply, Verdict, check};
use support::*;

#[test]
fn good_secrets() {
    good("nothing", &[]);
    good(
        "one after the other",
        &[
            told(1, 2, get("a"), Reply::NotFound),
            told(3, 4, put("a", 1), written(1)),
            told(5, 6, get("a"), item(1, 1)),
            told(7, 8, cas("a", 1, 2), written(2)),
            told(9, 10, cas("a", 1, 3), mismatch(2)),
            told(11, 12, cas("a", 0, 4), Reply::CasMismatch { current: None }),
            told(13, 14, get_version("a", 1), item(1, 1)),
            told(15, 16, get_version("a", 3), Reply::NotFound),
            told(17, 18, patch("a", 5), written(3)),
        ],
    );
    good(
        "a read beside a write sees either",
        &[
            told(1, 10, put("a", 1), written(1)),
            told(2, 3, get("a"), Reply::NotFound),
            told(4, 5, get("a"), item(1, 1)),
        ],
    );
    good(
        "times that touch overlap",
        &[
            told(1, 5, put("a", 1), written(1)),
            told(5, 6, get("a"), Reply::NotFound),
        ],
    );
    good(
        "an open write took effect late",
        &[
            open(1, put("a", 1)),
            told(2, 3, get("a"), Reply::NotFound),
            told(4, 5, put("a", 2), written(1)),
            told(6, 7, get("a"), item(1, 2)),
            told(8, 9, get("a"), item(2, 1)),
        ],
    );
    good(
        "an open write never took effect",
        &[
            open(1, put("a", 1)),
            told(2, 3, put("a", 2), written(1)),
            told(4, 5, get("a"), item(1, 2)),
        ],
    );
    good(
        "a failed write did nothing",
        &[failed(1, 2, put("a", 1)), told(3, 4, get("a"), Reply::NotFound)],
    );
    good(
        "ten versions are kept",
        &(1..=12)
            .map(|n| told(2 * n, 2 * n + 1, put("a", n), written(n)))
            .chain([
                told(30, 31, get_version("a", 2), Reply::NotFound),
                told(32, 33, get_version("a", 3), item(3, 3)),
            ])
            .collect::<Vec<_>>(),
    );
    good(
        "settings",
        &[
            told(1, 2, settings("a", Some(1), Some(true)), Reply::Done),
            told(3, 4, get("a"), Reply::NotFound),
            told(5, 6, put("a", 1), Reply::CasRequired),
            told(7, 8, delete("a", &[]), Reply::NotFound),
            told(9, 10, cas("a", 0, 2), written(1)),
            told(11, 12, cas("a", 1, 3), written(2)),
            told(13, 14, metadata("a"), versions(2, &[(2, Fate::Live)])),
        ],
    );
}

#[test]
fn good_fates() {
    good(
        "delete, restore, destroy",
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, delete("a", &[]), Reply::Done),
            told(5, 6, get("a"), deleted(1)),
            told(7, 8, get("a"), gone(1)),
            told(9, 10, patch("a", 2), Reply::NotFound),
            told(11, 12, undelete("a", &[1]), Reply::Done),
            told(13, 14, get("a"), item(1, 1)),
            told(15, 16, destroy("a", &[1, 7]), Reply::Done),
            told(17, 18, get("a"), destroyed(1)),
            told(19, 20, undelete("a", &[1]), Reply::Unchanged),
            told(21, 22, delete("a", &[1]), Reply::Done),
            told(23, 24, destroy("a", &[7]), Reply::Unchanged),
            // What is deleted or destroyed still counts: the next is 2, and only that can be named.
            told(25, 26, cas("a", 0, 3), mismatch(1)),
            told(27, 28, cas("a", 1, 4), written(2)),
            told(
                29,
                30,
                metadata("a"),
                versions(2, &[(1, Fate::Destroyed), (2, Fate::Live)]),
            ),
        ],
    );
    good(
        "removed and made again",
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, put("a", 2), written(2)),
            told(5, 6, destroy("a", &[1]), Reply::Done),
            told(7, 8, remove("a"), Reply::Done),
            told(9, 10, remove("a"), Reply::NotFound),
            told(11, 12, list(""), Reply::NotFound),
            told(13, 14, cas("a", 0, 3), written(1)),
            told(15, 16, get("a"), item(1, 3)),
            told(17, 18, list(""), names(&["a"])),
        ],
    );
}

#[test]
fn bad_secrets() {
    bad(
        "stale read",
        "secret \"a\"",
        6,
        &[Rule::NothingLost],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, put("a", 2), written(2)),
            told(5, 6, get("a"), item(1, 1)),
            told(7, 8, get("a"), item(2, 2)),
            told(9, 10, get("b"), Reply::NotFound),
        ],
    );
    bad(
        "a read goes back behind another read of an open write",
        "secret \"a\"",
        6,
        &[Rule::NothingLost],
        &[
            told(1, 2, put("a", 1), written(1)),
            open(1, put("a", 2)),
            told(3, 4, get("a"), item(2, 2)),
            told(5, 6, get("a"), item(1, 1)),
        ],
    );
    bad(
        "lost write",
        "secret \"a\"",
        4,
        &[Rule::NothingLost],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, get("a"), Reply::NotFound),
        ],
    );
    bad(
        "lost update: two writes got one version",
        "secret \"a\"",
        6,
        &[Rule::OneValueAVersion],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 5, put("a", 2), written(2)),
            told(4, 6, put("a", 3), written(2)),
        ],
    );
    bad(
        "two check-and-sets from one version",
        "secret \"a\"",
        6,
        &[Rule::OneValueAVersion],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 5, cas("a", 1, 2), written(2)),
            told(4, 6, cas("a", 1, 3), written(2)),
        ],
    );
    bad(
        "a check-and-set was told a version that cannot follow",
        "secret \"a\"",
        6,
        &[Rule::CasMakesTheNext, Rule::AppliedOnce],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(5, 6, cas("a", 1, 3), written(3)),
        ],
    );
    bad(
        "a check-and-set of nothing succeeded twice",
        "secret \"a\"",
        4,
        &[Rule::OneValueAVersion, Rule::VersionsRise],
        &[
            told(1, 2, cas("a", 0, 1), written(1)),
            told(3, 4, cas("a", 0, 2), written(1)),
        ],
    );
    bad(
        "a check-and-set was refused for a version that nobody had made",
        "secret \"a\"",
        4,
        &[Rule::AppliedOnce],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, cas("a", 1, 2), mismatch(2)),
        ],
    );
    bad(
        "a value that was never written",
        "secret \"a\"",
        4,
        &[Rule::ReadWasWritten, Rule::OneValueAVersion],
        &[told(1, 2, put("a", 1), written(1)), told(3, 4, get("a"), item(1, 9))],
    );
    bad(
        "a value of another secret",
        "secret \"b\"",
        6,
        &[Rule::ReadWasWritten, Rule::OneValueAVersion],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, put("b", 2), written(1)),
            told(5, 6, get("b"), item(1, 1)),
        ],
    );
    bad(
        "a value before its write",
        "secret \"a\"",
        2,
        &[Rule::ReadWasWritten, Rule::VersionsRise, Rule::AppliedOnce],
        &[told(1, 2, get("a"), item(1, 1)), told(3, 4, put("a", 1), written(1))],
    );
    bad(
        "a value whose write had failed",
        "secret \"a\"",
        4,
        &[Rule::ReadWasWritten, Rule::AppliedOnce],
        &[failed(1, 2, put("a", 1)), told(3, 4, get("a"), item(1, 1))],
    );
    bad(
        "an open write was applied twice",
        "secret \"a\"",
        6,
        &[Rule::OneValueAVersion, Rule::AppliedOnce],
        &[
            open(1, put("a", 1)),
            told(2, 4, get("a"), item(1, 1)),
            told(5, 6, get("a"), item(2, 1)),
        ],
    );
    bad(
        "more versions than kept",
        "secret \"a\"",
        10,
        &[],
        &[
            told(1, 2, settings("a", Some(1), None), Reply::Done),
            told(3, 4, put("a", 1), written(1)),
            told(5, 6, put("a", 2), written(2)),
            told(9, 10, get_version("a", 1), item(1, 1)),
        ],
    );
}

#[test]
fn bad_fates() {
    bad(
        "a deleted version came back by itself",
        "secret \"a\"",
        6,
        &[],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, delete("a", &[1]), Reply::Done),
            told(5, 6, get("a"), item(1, 1)),
        ],
    );
    bad(
        "a destroyed version was read",
        "secret \"a\"",
        6,
        &[Rule::DestroyedIsGone],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, destroy("a", &[1]), Reply::Done),
            told(5, 6, get_version("a", 1), item(1, 1)),
        ],
    );
    bad(
        "a destroyed version was restored",
        "secret \"a\"",
        6,
        &[],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, destroy("a", &[1]), Reply::Done),
            told(5, 6, undelete("a", &[1]), Reply::Done),
        ],
    );
    bad(
        "a secret that was removed is there",
        "secret \"a\"",
        6,
        &[],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, remove("a"), Reply::Done),
            told(5, 6, get("a"), item(1, 1)),
        ],
    );
    bad(
        "a version was lost from the middle",
        "secret \"a\"",
        6,
        &[],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, put("a", 2), written(2)),
            told(5, 6, metadata("a"), versions(2, &[(2, Fate::Live)])),
        ],
    );
}

#[test]
fn lists() {
    good(
        "directories",
        &[
            told(1, 2, put("d/a", 1), written(1)),
            told(3, 4, put("d/e/b", 2), written(1)),
            told(5, 6, list("d/"), names(&["a", "e/"])),
            told(7, 8, list(""), names(&["d/"])),
            told(9, 10, remove("d/a"), Reply::Done),
            told(11, 12, list(""), names(&["d/"])),
            told(13, 14, list("d/"), names(&["e/"])),
            told(15, 16, put("dx", 3), written(1)),
            told(17, 18, list("d/"), names(&["e/"])),
        ],
    );
    good(
        "a list beside writes",
        &[
            told(1, 10, put("a", 1), written(1)),
            told(1, 10, put("b", 2), written(1)),
            told(2, 3, list(""), names(&["b"])),
            told(4, 5, list(""), names(&["a", "b"])),
        ],
    );
    bad(
        "a list lacks an acknowledged name",
        "secret \"b\"",
        6,
        &[Rule::ListsAreMoments],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, put("b", 2), written(1)),
            told(5, 6, list(""), names(&["a"])),
        ],
    );
    bad(
        "a list shows what was removed",
        "secret \"a\"",
        6,
        &[Rule::ListsAreMoments],
        &[
            told(1, 2, put("a", 1), written(1)),
            told(3, 4, remove("a"), Reply::Done),
            told(5, 6, list(""), names(&["a"])),
        ],
    );
    bad(
        "a list shows what nobody wrote",
        "secret \"d/c\"",
        6,
        &[Rule::ListsAreMoments],
        &[
            told(1, 2, put("d/a", 1), written(1)),
            told(5, 6, list("d/"), names(&["a", "c"])),
        ],
    );
    // Each name alone could be so at some moment of the list; both cannot be at one.
    let torn = history(&[
        told(1, 20, list(""), names(&["b"])),
        told(2, 3, put("a", 1), written(1)),
        told(4, 5, put("b", 2), written(1)),
    ]);
    let findings = oracle::lists::check(&torn);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(
        (findings[0].rule, &findings[0].positions[..]),
        (Rule::ListsAreMoments, &[0][..])
    );
}

#[test]
fn the_log_follows_time() {
    let events = |first, second| {
        vec![
            at_seq(first, told(1, 2, put("a", 1), written(1))),
            at_seq(second, told(3, 4, get("a"), item(1, 1))),
        ]
    };
    good("in order", &events(4, 7));
    for (first, second) in [(7, 4), (4, 4)] {
        let findings = oracle::all(&history(&events(first, second)));
        assert!(findings.iter().all(|finding| finding.rule == Rule::LogFollowsTime));
        assert!(!findings.is_empty(), "{first} {second}");
    }
    let beside = [
        at_seq(7, told(1, 4, put("a", 1), written(1))),
        at_seq(4, told(3, 6, get("b"), Reply::NotFound)),
    ];
    good("beside each other", &beside);
}

#[test]
fn harness_errors_are_told() {
    let twice = history(&[told(1, 2, put("a", 1), written(1)), told(3, 4, put("b", 1), written(1))]);
    assert_eq!(oracle::all(&twice)[0].rule, Rule::ValuesAreUnique);
    let unread = [told(1, 2, put("a", 1), written(1)), told(3, 4, get("a"), item(1, 1))];
    assert_eq!(oracle::read_at_the_end(&history(&unread), 3), []);
    assert_eq!(
        oracle::read_at_the_end(&history(&unread), 4)[0].rule,
        Rule::ReadAtTheEnd
    );
}

#[test]
fn a_budget_that_runs_out_is_no_pass() {
    // Open writes that nobody saw: any subset of them may have been applied before each other one.
    let mut events: Vec<Event> = (0..40).map(|n| open(n, put("a", n))).collect();
    events.push(told(50, 51, get("a"), item(41, 77)));
    events.push(told(52, 53, put("b", 100), written(1)));
    let tiny = Budget {
        steps: 10_000,
        bytes: 1 << 20,
    };
    let verdict = check(&history(&events), tiny);
    assert_eq!(
        verdict,
        Verdict::Unknown {
            parts: vec!["secret \"a\"".to_owned()]
        }
    );
    // A violation elsewhere is told all the same.
    events.push(told(54, 55, get("b"), Reply::NotFound));
    let verdict = check(&history(&events), tiny);
    assert_eq!(verdict.violation().expect("is told").part, "secret \"b\"");
}

#[test]
fn the_explanation_is_for_people() {
    let history = history(&[
        told(1, 2, put("a", 1), written(1)),
        told(3, 4, put("a", 2), written(2)),
        told(5, 6, get("a"), item(1, 1)),
        told(7, 8, get("a"), item(2, 2)),
    ]);
    let text = check(&history, Budget::standard()).to_string();
    let expected = "\
no order explains the first 3 answers about secret \"a\"
  the last of them: #2 Get { key: \"a\", version: None }, called 5, until 6, told Item { version: 1, content: Value(1) }
  the longest order ends with:
    #0 Put { key: \"a\", value: 1, cas: None }, called 1, until 2, told Written { version: 1 }
    #1 Put { key: \"a\", value: 2, cas: None }, called 3, until 4, told Written { version: 2 }
  after which: Some(Secret { current: 2, max_versions: 0, cas_required: false, versions: [(1, 1, Live), (2, 2, Live)] })
  one of these had to come next:
    #2 Get { key: \"a\", version: None }, called 5, until 6, told Item { version: 1, content: Value(1) }; would be told Item { version: 2, content: Value(2) }
";
    assert_eq!(text, expected);
}
