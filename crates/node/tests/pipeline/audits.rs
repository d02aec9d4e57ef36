//! Queries of the audit log: what they find, how much they read, and for whom.

use std::time::Instant;

use aumbry_audit::{Filter, PathFilter, Place, Record};
use aumbry_auth::namespace;
use aumbry_logical::{Body, Verb};
use aumbry_node::look::{Guard, Look, What};
use aumbry_node::method::{Asked, MethodAsk};
use aumbry_node::{AuditQuery, Moment};
use aumbry_types::Capability;
use serde_json::Value;

use crate::bed::*;

fn query(filter: Filter) -> AuditQuery {
    AuditQuery {
        filter,
        since: Moment::Unsaid,
        until: Moment::Unsaid,
        from_seq: 0,
        to_seq: None,
        is_oldest_first: false,
        limit: 1_000,
        page: None,
    }
}

fn asked(query: AuditQuery) -> Operation {
    Operation::Look(Look {
        what: What::AuditQuery(Box::new(query)),
        path: "sys/audit-log/query".to_owned(),
        capability: Capability::Read,
        guard: Guard::Sudo,
        said: Vec::new(),
    })
}

fn page(reply: Result<Reply, Failure>) -> Value {
    match reply {
        Ok(Reply::Json { data, .. }) => serde_json::from_slice(data.expose()).expect("is JSON"),
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    }
}

fn seqs(page: &Value) -> Vec<u64> {
    let records = page["records"].as_array().expect("are there");
    records
        .iter()
        .map(|record| record["seq"].as_u64().expect("has one"))
        .collect()
}

impl Bed {
    async fn told(&self, namespace: &str, query: AuditQuery) -> Result<Reply, Failure> {
        let mut request = self.request(&self.root, asked(query), "");
        request.namespace = NamespacePath::parse(namespace).expect("is one");
        self.node.serve(&request).await.map(|answer| answer.reply)
    }

    /// The sequence numbers of all pages.
    async fn all(&self, query: &AuditQuery) -> Vec<u64> {
        let (mut found, mut next) = (Vec::new(), query.page);
        loop {
            let page = page(
                self.told(
                    "",
                    AuditQuery {
                        page: next,
                        ..query.clone()
                    },
                )
                .await,
            );
            found.extend(seqs(&page));
            assert!(seqs(&page).len() <= query.limit);
            next = page["next"].as_u64();
            if next.is_none() {
                return found;
            }
        }
    }

    /// The same by looking at every record up to one.
    fn looked_up(&self, query: &AuditQuery, size: u64) -> Vec<u64> {
        let rows = self.node.audit_rows(0, 100_000, 100_000).expect("is unsealed");
        let until = |moment| match moment {
            Moment::At(ms) => Some(ms),
            _ => None,
        };
        let filter = Filter {
            since_ms: until(query.since).unwrap_or_default(),
            until_ms: until(query.until),
            ..query.filter.clone()
        };
        let is_one = |row: &&AuditRow| {
            let place = Place {
                seq: row.seq,
                index: row.index,
                term: row.term,
                log_time: row.log_time,
                outcome: row.outcome,
            };
            let is_taken = match Record::decode(&row.record) {
                Some(record) => filter.takes(&record, &place),
                None => {
                    let event: Value = serde_json::from_str(&row.event).expect("is JSON");
                    filter.takes_clear(event["operation"].as_str().expect("has one"), &place)
                }
            };
            is_taken && row.seq >= query.from_seq && row.seq < size && query.to_seq.is_none_or(|to| row.seq <= to)
        };
        let mut found: Vec<u64> = rows.iter().filter(is_one).map(|row| row.seq).collect();
        if !query.is_oldest_first {
            found.reverse();
        }
        found
    }

    /// Several pieces of records, of six people, over some minutes.
    async fn with_history(records: u32) -> Self {
        let bed = Self::sealed();
        let initialised = bed.initialise().await.expect("initialises");
        let mut bed = bed;
        bed.unseal(&initialised);
        bed.run_duties();
        let mut people = Vec::new();
        for name in ["ann", "ben", "cat", "dan", "eve", "fay"] {
            let create = Create {
                policies: vec!["root".to_owned()],
                display_name: name.to_owned(),
                ..Create::default()
            };
            people.push(bed.token(create).await);
        }
        for at in 0..records {
            let who = &people[if at < records / 2 { at as usize % 5 } else { 5 }];
            let path = format!("secret/team{}/{}", at % 3, at / 100);
            let operation = if at % 4 == 0 {
                put(&path, "{}", None)
            } else {
                get(&path)
            };
            let _ = bed.call_as(who, operation).await;
            if at % 50 == 0 {
                bed.clock.advance_ms(1_000);
            }
        }
        bed
    }
}

fn queries() -> Vec<AuditQuery> {
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let by = |name: &str| Filter {
        identities: texts(&[&format!("token-{name}"), name]),
        ..Filter::default()
    };
    let about = |path: PathFilter| Filter {
        path,
        ..Filter::default()
    };
    let start = 1_700_000_000_000;
    let mut queries: Vec<AuditQuery> = [
        Filter::default(),
        by("ann"),
        by("fay"),
        by("nobody"),
        about(PathFilter::Exact("secret/team1/3".to_owned())),
        about(PathFilter::Below("secret/team2".to_owned())),
        about(PathFilter::Exact("secret/none".to_owned())),
        Filter {
            operations: texts(&["kv.put", "token.create"]),
            outcomes: texts(&["allowed"]),
            ..by("ben")
        },
        Filter {
            operations: texts(&["kv.*"]),
            outcomes: texts(&["failed"]),
            ..Filter::default()
        },
        Filter {
            outcomes: texts(&["clear"]),
            ..Filter::default()
        },
        Filter {
            operations: texts(&["raft.leader"]),
            ..Filter::default()
        },
        Filter {
            from_index: 300,
            to_index: Some(500),
            ..Filter::default()
        },
        Filter {
            addresses: texts(&["127.0.0.2"]),
            ..Filter::default()
        },
    ]
    .map(query)
    .into();
    queries.push(AuditQuery {
        since: Moment::At(start + 5_000),
        until: Moment::At(start + 9_500),
        ..query(Filter::default())
    });
    queries.push(AuditQuery {
        since: Moment::At(start + 3_600_000),
        ..query(Filter::default())
    });
    queries.push(AuditQuery {
        from_seq: 255,
        to_seq: Some(513),
        ..query(about(PathFilter::Below("secret".to_owned())))
    });
    queries
}

/// The property of queries: with an index or without one, from either end, in pages of any size, they tell what looking at every record tells.
#[tokio::test]
async fn pages_tell_what_all_records_tell() {
    let bed = Bed::with_history(900).await;
    for limit in [7, 300, 1_000] {
        for is_oldest_first in [false, true] {
            for one in queries() {
                let size = bed.consensus.status().audit_size;
                // What is asked is on record too, so it is about what was there before.
                let one = AuditQuery {
                    limit,
                    is_oldest_first,
                    to_seq: Some(one.to_seq.unwrap_or(size - 1)),
                    ..one
                };
                let expected = bed.looked_up(&one, size);
                let found = bed.all(&one).await;
                assert_eq!(found, expected, "{limit} {is_oldest_first} {:?}", one.filter.path);
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_there_is_not_read_twice() {
    let bed = Bed::with_history(1_600).await;
    let one = query(Filter {
        path: PathFilter::Exact("secret/team0/none".to_owned()),
        ..Filter::default()
    });
    let given = || bed.consensus.bodies_given.load(Ordering::Relaxed);
    let size = bed.consensus.status().audit_size;
    let before = given();
    assert_eq!(bed.all(&one).await, [0; 0]);
    let read = given() - before;
    assert!(read as u64 + 300 > size, "nothing was known: {read} of {size} are read");
    let before = given();
    assert_eq!(bed.all(&one).await, [0; 0]);
    let again = given() - before;
    assert!(again < 400, "the last piece alone is read, and {again} were");
    // Sealed and opened again, the node knows nothing.
    bed.node.seal();
    assert_eq!(reason(bed.told("", one).await), "SEALED");
}

#[tokio::test]
async fn one_page_reads_a_bounded_part_of_the_log() {
    let bed = Bed::with_history(9_000).await;
    let one = query(Filter {
        operations: vec!["none*".to_owned()],
        ..Filter::default()
    });
    let given = || bed.consensus.bodies_given.load(Ordering::Relaxed);
    // Meanwhile the index is made in the background: one piece a tenth of a second, read to the end of its last entry.
    let beside = |since: Instant| (since.elapsed().as_millis() / 100 + 2) as usize * (256 + 32);
    for is_oldest_first in [false, true] {
        let (before, since) = (given(), Instant::now());
        let first = page(
            bed.told(
                "",
                AuditQuery {
                    is_oldest_first,
                    ..one.clone()
                },
            )
            .await,
        );
        assert_eq!((seqs(&first).len(), first["looked_at"].as_u64()), (0, Some(8_192)));
        assert!(first["next"].is_u64(), "there is more");
        // An entry of the log has one record here; some are read beyond the end of a piece.
        let read = given() - before;
        assert!(read <= 8_192 + 32 * 32 + beside(since), "{read}");
    }
    // A time is found by halving.
    let (before, since) = (given(), Instant::now());
    let recent = AuditQuery {
        since: Moment::Ago(1),
        ..query(Filter::default())
    };
    assert!(!bed.all(&recent).await.is_empty());
    let read = given() - before;
    assert!(read < 600 + beside(since), "{read}");
    for limit in [0, 1_001] {
        let one = AuditQuery { limit, ..one.clone() };
        assert_eq!(reason(bed.told("", one).await), "INVALID_REQUEST");
    }
}

fn about_namespace(verb: Verb, name: &str) -> Operation {
    let request = namespace::Request::parse(verb, Some(name), Body::default());
    Operation::Method(MethodAsk {
        path: format!("sys/namespaces/{name}"),
        verb,
        asked: Asked::Namespace(request.expect("is one")),
        said: Vec::new(),
    })
}

#[tokio::test]
async fn tenants_are_told_of_what_was_done_in_their_own_namespace() {
    let bed = Bed::open().await;
    for name in ["team", "other"] {
        assert_eq!(reason(bed.call(about_namespace(Verb::Write, name)).await), "OK");
    }
    let in_namespace = async |namespace: &str, operation: Operation| {
        let mut request = bed.request(&bed.root, operation, "");
        request.namespace = NamespacePath::parse(namespace).expect("is one");
        bed.node.serve(&request).await.map(|answer| answer.reply)
    };
    assert_eq!(
        reason(in_namespace("team", about_namespace(Verb::Write, "app")).await),
        "OK"
    );
    for namespace in ["team", "team/app", "other"] {
        assert_eq!(reason(in_namespace(namespace, Operation::PolicyList).await), "OK");
    }
    let told = async |namespace: &str, is_with_below| {
        let filter = Filter {
            is_with_below,
            operations: vec!["policy.list".to_owned()],
            ..Filter::default()
        };
        let page = page(bed.told(namespace, query(filter)).await);
        let records = page["records"].as_array().expect("are there");
        let named = |record: &Value| record["fields"]["namespace"].as_str().unwrap_or_default().to_owned();
        records.iter().map(named).collect::<Vec<_>>()
    };
    for (namespace, alone, with_below) in [
        ("", &[][..], &["other", "team/app", "team"][..]),
        ("team", &["team"], &["team/app", "team"]),
        ("team/app", &["team/app"], &["team/app"]),
        ("other", &["other"], &["other"]),
    ] {
        assert_eq!(told(namespace, false).await, alone, "{namespace}");
        assert_eq!(told(namespace, true).await, with_below, "{namespace}");
    }
    // What a namespace of this name did before this one was made is not its to know.
    bed.clock.advance_ms(10);
    assert_eq!(reason(bed.call(about_namespace(Verb::Delete, "other")).await), "OK");
    bed.clock.advance_ms(10);
    assert_eq!(reason(bed.call(about_namespace(Verb::Write, "other")).await), "OK");
    assert_eq!(told("other", true).await, [""; 0]);
}

#[tokio::test]
async fn who_may_not_is_refused_and_both_are_on_record() {
    let bed = Bed::open().await;
    let text = r#"path "sys/audit-log/query" { capabilities = ["read"] }"#;
    let name = Name::parse("looker").expect("is a name");
    assert_eq!(
        reason(bed.call(Operation::PolicyWrite(name, text.to_owned())).await),
        "OK"
    );
    for policies in [vec!["none".to_owned()], vec!["looker".to_owned()]] {
        let create = Create {
            policies,
            ..Create::default()
        };
        let token = bed.token(create).await;
        let refused = bed.call_as(&token, asked(query(Filter::default()))).await;
        assert_eq!(reason(refused), "PERMISSION_DENIED", "`sudo` is needed too");
    }
    let own = query(Filter {
        operations: vec!["audit.query".to_owned()],
        ..Filter::default()
    });
    let page = page(bed.call(asked(own)).await);
    let records = page["records"].as_array().expect("are there");
    let decisions: Vec<&str> = records
        .iter()
        .filter_map(|record| record["decision"].as_str())
        .collect();
    assert_eq!(decisions, ["allowed", "denied", "denied"]);
    assert_eq!(records[0]["path"], "sys/audit-log/query");
}

/// What a secret's reader was given is on record by the number of its version.
#[tokio::test]
async fn records_tell_which_versions_were_given() {
    let bed = Bed::open().await;
    for _ in 0..2 {
        version(bed.call(put("secret/a", "{}", None)).await);
    }
    assert_eq!(reason(bed.call(get("secret/a")).await), "OK");
    let paths = vec![path("secret/a"), path("secret/none")];
    assert_eq!(
        reason(bed.call(Operation::Kv(kv::Request::BatchGet { paths })).await),
        "OK"
    );
    let one = query(Filter {
        path: PathFilter::Exact("secret/a".to_owned()),
        ..Filter::default()
    });
    let page = page(
        bed.call(asked(AuditQuery {
            is_oldest_first: true,
            ..one
        }))
        .await,
    );
    let records = page["records"].as_array().expect("are there");
    let given: Vec<&str> = records
        .iter()
        .filter_map(|record| record["fields"]["given"].as_str())
        .collect();
    assert_eq!(given, ["1", "2", "2", "2,0"]);
}

/// While there is nothing else to do the index is made, from the newest piece back, and a query reads little from the first.
#[tokio::test]
async fn the_index_is_made_in_the_background() {
    let bed = Bed::with_history(1_600).await;
    let given = || bed.consensus.bodies_given.load(Ordering::Relaxed);
    let size = bed.consensus.status().audit_size as usize;
    for _ in 0..200 {
        if given() >= size / 256 * 256 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The piece that was read last is noted in the next turn of its task.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let before = given();
    let one = query(Filter {
        path: PathFilter::Exact("secret/team0/none".to_owned()),
        ..Filter::default()
    });
    assert_eq!(bed.all(&one).await, [0; 0]);
    assert!(given() - before < 400, "{} of {size}", given() - before);
}
