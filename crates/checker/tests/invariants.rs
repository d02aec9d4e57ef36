//! Each invariant holds on a good run, and is broken by its own kind of wrong alone.

mod support;

use aumbry_checker::invariants::{
    Acceptance, Answer, AuditHead, Breach, Commit, Crossing, Effect, Ended, Heal, Judged, Leader, Limits, Observed,
    Progress, Recorded, Remnant, Sealed, StateAt, all,
};
use aumbry_checker::{Budget, Event, Operation, Reply};
use support::*;

const LIMITS: Limits = Limits {
    budget: Budget::standard(),
    end: 50,
    token_bound: 5,
    heal_bound: 100,
};

/// A short run without faults of Aumbry's.
fn good() -> (Vec<Event>, Observed) {
    let requests = [
        told(1, 2, put("a", 1), written(1)),
        told(3, 4, put("a", 2), written(2)),
        told(5, 6, destroy("a", &[1]), Reply::Done),
        told(7, 8, cas("a", 1, 3), mismatch(2)),
        told(10, 11, token("t", 0), Reply::Done),
        told(12, 13, use_token("t"), Reply::Done),
        told(14, 15, revoke("t"), Reply::Done),
        told(16, 17, use_token("t"), Reply::Refused),
        told(50, 51, get("a"), item(2, 2)),
    ];
    let effects = [
        Effect::Changed,
        Effect::Changed,
        Effect::Changed,
        Effect::Refused,
        Effect::Changed,
        Effect::Read,
        Effect::Changed,
        Effect::Refused,
        Effect::Read,
    ];
    let named = requests.into_iter().zip(1..).map(|(event, seq)| {
        let request = Some(format!("r{seq}"));
        at_seq(seq, Event { request, ..event })
    });
    let events: Vec<Event> = named.collect();
    let nodes = || [1, 2, 3].into_iter();
    let records = nodes().flat_map(|node| {
        let records = effects.iter().zip(1..).map(move |(effect, seq)| Recorded {
            node,
            seq,
            leaf: format!("leaf {seq}"),
            request: Some(format!("r{seq}")),
            effect: *effect,
        });
        // An attempt that found the state moved comes before the one that counted.
        records.chain([
            Recorded {
                node,
                seq: 10,
                leaf: "leaf 10".to_owned(),
                request: Some("r11".to_owned()),
                effect: Effect::Conflict,
            },
            Recorded {
                node,
                seq: 11,
                leaf: "leaf 11".to_owned(),
                request: Some("r11".to_owned()),
                effect: Effect::Changed,
            },
        ])
    });
    let head = |node, index, leaves| AuditHead {
        node,
        index,
        leaves,
        root: format!("root {leaves}"),
    };
    let state = |node, index| StateAt {
        node,
        index,
        digest: format!("state {index}"),
    };
    let observed = Observed {
        states: nodes().flat_map(|node| [state(node, 5), state(node, 9)]).collect(),
        heads: nodes()
            .flat_map(|node| [head(node, 5, 4), head(node, 6, 4), head(node, 9, 11)])
            .collect(),
        records: records.collect(),
        commits: vec![Commit {
            index: 6,
            term: 2,
            voters: vec![vec![1, 2, 3], vec![3, 4]],
            holders: vec![1, 3, 4],
        }],
        leaders: vec![
            Leader { term: 1, node: 1 },
            Leader { term: 2, node: 3 },
            Leader { term: 2, node: 3 },
        ],
        sealed: vec![
            Sealed {
                node: 2,
                from: 10,
                until: Some(20),
            },
            Sealed {
                node: 3,
                from: 40,
                until: None,
            },
        ],
        answers: vec![
            Answer {
                node: 2,
                asked: 9,
                answered: 11,
            },
            Answer {
                node: 2,
                asked: 19,
                answered: 21,
            },
            Answer {
                node: 1,
                asked: 11,
                answered: 12,
            },
        ],
        ended: Ended::in_history(&history(&events)),
        acceptances: Acceptance::in_history(&history(&events)),
        heals: vec![Heal {
            at: 20,
            served: Progress::At(60),
            converged: Progress::At(120),
        }],
        crossings: vec![
            crossing("red/low", "red", false),
            crossing("red", "", false),
            crossing("red", "blue", false),
            // From above it is no crossing.
            crossing("", "red", true),
            crossing("red", "red/low", true),
        ],
        remnants: vec![
            remnant(Some(20), 21, false),
            remnant(Some(20), 19, true),
            remnant(None, 30, true),
        ],
    };
    (events, observed)
}

fn crossing(of: &str, shown_in: &str, is_told: bool) -> Crossing {
    Crossing {
        of: of.to_owned(),
        shown_in: shown_in.to_owned(),
        what: "a secret".to_owned(),
        is_told,
    }
}

fn remnant(deleted_at: Option<u64>, asked_at: u64, is_told: bool) -> Remnant {
    Remnant {
        namespace: "passing#1".to_owned(),
        deleted_at,
        asked_at,
        what: "a secret".to_owned(),
        is_told,
    }
}

fn judged(events: &[Event], observed: &Observed) -> Vec<Judged> {
    all(&history(events), observed, LIMITS)
}

/// Changes the good run; just these properties are broken then, or not shown.
fn check(name: &str, broken: &[&str], change: impl FnOnce(&mut Vec<Event>, &mut Observed)) {
    let (mut events, mut observed) = good();
    change(&mut events, &mut observed);
    let judged = judged(&events, &observed);
    let failing: Vec<&str> = judged
        .iter()
        .filter(|judged| !judged.holds())
        .map(|judged| judged.name)
        .collect();
    let text: Vec<String> = judged.iter().map(ToString::to_string).collect();
    assert_eq!(failing, broken, "{name}:\n{}", text.join("\n"));
}

#[test]
fn a_good_run_holds_and_tries_everything() {
    let (events, observed) = good();
    for judged in judged(&events, &observed) {
        assert!(judged.holds(), "{judged}");
        assert!(judged.facts > 0, "{judged}");
    }
}

#[test]
fn the_observed_survive_their_file() {
    let (_, observed) = good();
    let text = serde_json::to_string(&observed).expect("is plain data");
    assert_eq!(serde_json::from_str::<Observed>(&text).expect("is the same"), observed);
}

#[test]
fn clients_views() {
    check(
        "stale read",
        &[
            "linearizable_per_key",
            "no_acknowledged_write_lost",
            "destroyed_versions_unreadable",
        ],
        |events, _| {
            let last = events.len() - 1;
            events[last] = Event {
                request: events[last].request.clone(),
                ..at_seq(9, told(50, 51, get("a"), item(1, 1)))
            };
        },
    );
    check("not read at the end", &["no_acknowledged_write_lost"], |events, _| {
        let last = events.len() - 1;
        events[last].call = 49;
    });
    check(
        "destroyed version read",
        &["linearizable_per_key", "destroyed_versions_unreadable"],
        |events, _| {
            let last = events.len() - 1;
            let read = at_seq(9, told(48, 49, get_version("a", 1), item(1, 1)));
            let request = events[last].request.clone();
            events.insert(last, Event { request, ..read });
            events[last + 1].call = 52;
            // The parts of a batch have one record.
        },
    );
    check(
        "applied twice by a client's view",
        &["linearizable_per_key", "none_applied_twice"],
        |events, _| {
            let last = events.len() - 1;
            let read = at_seq(9, told(50, 51, get("a"), item(3, 2)));
            events[last] = Event {
                request: events[last].request.clone(),
                ..read
            };
        },
    );
    check(
        "revoked token accepted",
        &["linearizable_per_key", "every_answer_recorded", "ended_tokens_refused"],
        |events, observed| {
            let request = events[7].request.clone();
            events[7] = Event {
                request,
                ..at_seq(8, told(26, 27, use_token("t"), Reply::Done))
            };
            observed.acceptances = Acceptance::in_history(&history(events));
        },
    );
}

#[test]
fn records() {
    check(
        "a request applied twice",
        &["none_applied_twice", "every_answer_recorded"],
        |_, observed| {
            for record in observed.records.iter_mut().filter(|record| record.seq == 2) {
                record.request = Some("r1".to_owned());
            }
        },
    );
    check("a gap", &["audit_chain_gapless"], |_, observed| {
        observed.records.retain(|record| (record.node, record.seq) != (2, 10));
    });
    check("a record twice", &["audit_chain_gapless"], |_, observed| {
        let again = observed.records[9].clone();
        observed.records.push(again);
    });
    check("another leaf", &["audit_equal_at_equal_index"], |_, observed| {
        observed.records[0].leaf.push('x')
    });
    check("another root", &["audit_equal_at_equal_index"], |_, observed| {
        observed.heads[0].root.push('x')
    });
    check("more records", &["audit_equal_at_equal_index"], |_, observed| {
        observed.heads[0].leaves += 1;
    });
    check("a log that shrinks", &["audit_equal_at_equal_index"], |_, observed| {
        observed.heads.push(AuditHead {
            node: 1,
            index: 12,
            leaves: 10,
            root: "root 10".to_owned(),
        });
    });
    check(
        "a secret released without a record",
        &["every_answer_recorded"],
        |_, observed| {
            for record in observed.records.iter_mut().filter(|record| record.seq == 9) {
                record.request = None;
            }
        },
    );
    check(
        "a refusal without a record",
        &["every_answer_recorded"],
        |_, observed| {
            for record in observed.records.iter_mut().filter(|record| record.seq == 8) {
                record.effect = Effect::Conflict;
            }
        },
    );
    check(
        "an answer that is not told which request it is",
        &["every_answer_recorded"],
        |events, _| events[0].request = None,
    );
    check(
        "records end before the last answer",
        &["every_answer_recorded"],
        |_, observed| {
            observed.records.retain(|record| record.node != 3 || record.seq < 9);
        },
    );
    check("records that begin late are no fault", &[], |_, observed| {
        observed.records.retain(|record| record.node != 3 || record.seq > 2);
    });
}

#[test]
fn nodes() {
    check("another state", &["state_equal_at_equal_index"], |_, observed| {
        observed.states[3].digest.push('x')
    });
    check("committed without a quorum", &["committed_on_quorum"], |_, observed| {
        observed.commits[0].holders = vec![1, 3];
    });
    check("two leaders", &["one_leader_per_term"], |_, observed| {
        observed.leaders.push(Leader { term: 1, node: 2 })
    });
    check(
        "answered while sealed",
        &["sealed_node_answers_nothing"],
        |_, observed| {
            observed.answers.push(Answer {
                node: 2,
                asked: 11,
                answered: 19,
            });
        },
    );
    check(
        "answered while sealed for ever",
        &["sealed_node_answers_nothing"],
        |_, observed| {
            observed.answers.push(Answer {
                node: 3,
                asked: 41,
                answered: 99,
            });
        },
    );
    check("accepted within the bound", &[], |_, observed| {
        observed.acceptances.push(Acceptance {
            token: "t".to_owned(),
            node: 2,
            asked: 20,
        });
    });
    check("accepted after the bound", &["ended_tokens_refused"], |_, observed| {
        observed.acceptances.push(Acceptance {
            token: "t".to_owned(),
            node: 2,
            asked: 21,
        });
    });
    check("served late", &["progress_after_heal"], |_, observed| {
        observed.heals[0].served = Progress::At(121)
    });
    check("never agreed", &["progress_after_heal"], |_, observed| {
        observed.heals[0].converged = Progress::NotUntil(300)
    });
}

#[test]
fn namespaces() {
    for (of, above) in [("red/low", "red"), ("red/low", ""), ("red", "")] {
        check(
            "a child reaches its parent",
            &["child_reaches_no_parent"],
            |_, observed| {
                observed.crossings.push(crossing(of, above, true));
            },
        );
    }
    for (of, beside) in [
        ("red", "blue"),
        ("red", "redder"),
        ("redder", "red"),
        ("blue", "red/low"),
    ] {
        check("a sibling is told", &["sibling_sees_no_rows"], |_, observed| {
            observed.crossings.push(crossing(of, beside, true));
        });
    }
    check("a remnant", &["deleted_namespace_is_gone"], |_, observed| {
        observed.remnants.push(remnant(Some(20), 21, true));
    });
}

#[test]
fn rows_of_a_sibling() {
    let seen = |name: &str, events: &[Event]| {
        let all = all(&history(events), &Observed::default(), LIMITS);
        let judged = all.into_iter().find(|judged| judged.name == "sibling_sees_no_rows");
        let judged = judged.expect("it is one of them");
        assert!(judged.facts > 0, "{name}");
        judged.breaches.len()
    };
    let list = |directory: &str| Operation::List {
        directory: directory.to_owned(),
    };
    let names = || Reply::Names(vec!["k".to_owned()]);
    let (red, blue) = (
        told(1, 2, put("red/k", 1), written(1)),
        told(3, 4, put("blue/j", 2), written(1)),
    );
    let own = [
        red.clone(),
        blue.clone(),
        told(5, 6, get("red/k"), item(1, 1)),
        told(7, 8, list("red/"), names()),
    ];
    assert_eq!(seen("its own", &own), 0);
    let value = [red.clone(), blue.clone(), told(5, 6, get("blue/k"), item(1, 1))];
    assert_eq!(seen("a value of a sibling", &value), 1);
    assert_eq!(
        seen("a name of a sibling", &[red, blue, told(5, 6, list("blue/"), names())]),
        1
    );
}

#[test]
fn what_was_not_waited_for_is_not_shown() {
    let (events, mut observed) = good();
    observed.heals[0].converged = Progress::NotUntil(100);
    let judged = judged(&events, &observed);
    let last = judged.last().expect("there are some");
    assert!(matches!(last.breaches[..], [Breach::NotShown(_)]), "{last}");
}

#[test]
fn revocation_is_that_of_those_below() {
    let events = [
        told(1, 2, token("p", 0), Reply::Done),
        told(3, 4, child("c", "p", 0), Reply::Done),
        told(5, 6, child("g", "c", 0), Reply::Done),
        told(7, 8, revoke("c"), Reply::Done),
        told(9, 10, revoke("p"), Reply::Done),
    ];
    let ended: Vec<(String, u64)> = Ended::in_history(&history(&events))
        .into_iter()
        .map(|end| (end.token, end.at))
        .collect();
    let expected = [("p", 10), ("c", 8), ("g", 8)].map(|(token, at)| (token.to_owned(), at));
    assert_eq!(ended, expected);
}
