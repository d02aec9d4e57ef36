//! What must hold when something goes wrong or somebody tries something.

use crate::bed::*;

async fn audit(bed: &Bed, from: u64) -> Vec<AuditRow> {
    match bed
        .call(Operation::AuditRead {
            from,
            limit: 1_000,
            wait_size: 0,
        })
        .await
    {
        Ok(Reply::Audit(rows)) => rows,
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    }
}

#[tokio::test]
async fn the_first_entry_can_be_repeated_until_something_rests_on_it() {
    let mut bed = Bed::sealed();
    let first = bed.initialise().await.expect("initialises");
    bed.unseal(&first);
    let second = bed.initialise().await.expect("nothing was stored yet");
    assert_eq!(
        reason(bed.call(put("secret/x", "{}", None)).await),
        "SEALED",
        "the keys that the node holds are no more"
    );

    bed.node.seal();
    bed.unseal(&second);
    bed.consensus.open.send_replace(false);
    let written = bed.call(put("secret/x", "{}", None));
    let repeated = async {
        bed.run_duties();
        bed.consensus.holds_one().await;
        bed.consensus.open.send_replace(true);
    };
    let (written, ()) = tokio::join!(written, repeated);
    assert_eq!(version(written), 1);
    assert!(
        matches!(bed.initialise().await, Err(InitError::Already)),
        "what was acknowledged stays"
    );
    assert_eq!(reason(bed.call(get("secret/x")).await), "OK");

    let events: Vec<String> = audit(&bed, 0).await.into_iter().map(|row| row.event).collect();
    let superseded = events.iter().filter(|event| event.contains("superseded")).count();
    assert_eq!(superseded, 1, "its keys are gone, its place is not: {events:?}");
    let at = |word: &str| {
        events
            .iter()
            .position(|event| event.contains(word))
            .expect("is recorded")
    };
    assert!(at("sys.init.confirm") < at("kv.put"));
}

#[tokio::test]
async fn a_node_that_was_sealed_or_deposed_meanwhile_tells_nothing() {
    for is_sealed in [true, false] {
        let bed = Bed::open().await;
        assert_eq!(reason(bed.call(put("secret/x", r#"{"a":1}"#, None)).await), "OK");
        bed.consensus.open.send_replace(false);
        let interrupt = async {
            bed.consensus.holds_one().await;
            if is_sealed {
                bed.node.seal();
            } else {
                bed.consensus.local.depose();
            }
            bed.consensus.open.send_replace(true);
        };
        let (read, written, ()) = tokio::join!(
            bed.call(get("secret/x")),
            bed.call(put("secret/y", "{}", None)),
            interrupt
        );
        let (read, written) = (read.err().expect("fails"), written.err().expect("fails"));
        assert_eq!(read.outcome, OutcomeClass::NotApplied);
        if is_sealed {
            assert_eq!((read.reason, written.outcome), ("SEALED", OutcomeClass::Unknown));
        } else {
            assert_eq!((read.reason, written.reason), ("NOT_LEADER", "NOT_LEADER"));
            assert_eq!(data(bed.call(get("secret/x")).await), r#"{"a":1}"#);
            assert_eq!(reason(bed.call(get("secret/y")).await), "NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn nobody_waits_in_the_node_without_permission() {
    let bed = Bed::open().await;
    let plain = bed
        .token(Create {
            policies: vec!["default".to_owned()],
            ..Create::default()
        })
        .await;
    let wait = || Operation::AuditRead {
        from: 0,
        limit: 1,
        wait_size: u64::MAX,
    };
    for (token, expect) in [(SecretBytes::default(), "TOKEN_INVALID"), (plain, "PERMISSION_DENIED")] {
        let answered = tokio::time::timeout(Duration::from_secs(5), bed.call_as(&token, wait())).await;
        assert_eq!(reason(answered.expect("is refused at once")), expect);
    }
}

#[tokio::test]
async fn a_batch_is_recorded_with_all_its_paths() {
    let bed = Bed::open().await;
    let batch = |tail: &str| {
        let paths = (0..100).map(|n| path(&format!("secret/{n:03}{tail}"))).collect();
        Operation::Kv(kv::Request::BatchGet { paths })
    };
    let before = bed.consensus.status().audit_size;
    assert_eq!(reason(bed.call(batch(&"x".repeat(100))).await), "OK");
    let rows = audit(&bed, before).await;
    for n in 0..100 {
        let name = format!("secret/{n:03}x");
        assert!(
            rows.iter().any(|row| row.event.contains(&name)),
            "{name} is not in the record"
        );
    }
    assert_eq!(reason(bed.call(batch(&"x".repeat(240))).await), "OK");
    assert_eq!(
        reason(bed.call(batch(&format!("{0}/{0}", "x".repeat(250)))).await),
        "INVALID_REQUEST"
    );
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_request_whatever_it_changes() {
    let bed = Bed::open().await;
    let settings = |max_versions, cas_required| {
        let change = kv::MetadataChange {
            max_versions,
            cas_required,
            ..kv::MetadataChange::default()
        };
        Operation::Kv(kv::Request::WriteMetadata {
            path: path("secret/x"),
            change,
        })
    };
    let create = |renewable, name: &str| {
        Operation::TokenCreate(Create {
            renewable,
            display_name: name.to_owned(),
            ttl_s: 60,
            ..Create::default()
        })
    };
    let cases = [
        (settings(Some(5), None), settings(Some(5), None), "OK"),
        (settings(Some(5), None), settings(Some(6), None), "INVALID_REQUEST"),
        (
            settings(Some(5), None),
            settings(Some(5), Some(true)),
            "INVALID_REQUEST",
        ),
        (create(true, "a"), create(true, "a"), "OK"),
        (create(true, "a"), create(false, "a"), "INVALID_REQUEST"),
        (create(true, "a"), create(true, "b"), "INVALID_REQUEST"),
    ];
    for (number, (first, second, expect)) in cases.into_iter().enumerate() {
        let key = format!("key-{number}");
        assert_eq!(reason(bed.call_with(&bed.root, first, &key).await), "OK");
        assert_eq!(
            reason(bed.call_with(&bed.root, second, &key).await),
            expect,
            "case {number}"
        );
    }
}

/// Abuse cases: 83.
#[tokio::test]
async fn no_value_of_a_request_or_reply_stands_in_a_record() {
    let bed = Bed::open().await;
    let before = bed.consensus.status().audit_size;
    let canary = || "canary".to_owned();
    let pairs = || [(canary(), canary())].into();
    let secret = || SecretBytes::from(canary());
    let change = kv::MetadataChange {
        custom: Some(pairs()),
        ..kv::MetadataChange::default()
    };
    let create = |policies: Vec<String>| Create {
        policies,
        display_name: canary(),
        metadata: pairs(),
        ttl_s: 60,
        ..Create::default()
    };
    let new = bed.token(create(vec![])).await;
    let new_text = || String::from_utf8(new.expose().to_vec()).expect("is text");
    let operations = [
        put("secret/x", r#"{"canary":"canary"}"#, None),
        put("secret/x", "canary", None),
        Operation::Kv(kv::Request::Patch {
            path: path("secret/x"),
            data: SecretBytes::from(r#"{"canary":1}"#.to_owned()),
            cas: None,
        }),
        get("secret/x"),
        list("secret", "canary", 10),
        Operation::Kv(kv::Request::WriteMetadata {
            path: path("secret/x"),
            change,
        }),
        Operation::Kv(kv::Request::ReadMetadata { path: path("secret/x") }),
        Operation::TokenCreate(create(vec!["CANARY canary".to_owned()])),
        Operation::TokenLookup(TokenName::Text(secret())),
        Operation::TokenLookup(TokenName::Text(new.duplicate())),
        Operation::TokenLookup(TokenName::Accessor(canary())),
        Operation::TokenRenew(TokenName::Accessor(new_text()), 5),
        Operation::TokenRevoke(TokenName::Text(secret())),
        Operation::PolicyWrite(Name::parse("p").expect("is a name"), "# canary".to_owned()),
        Operation::PolicyRead(Name::parse("p").expect("is a name")),
        Operation::MountEnable {
            table: aumbry_node::MountTable::Secrets,
            options: aumbry_node::MountOptions {
                version: 2,
                ..aumbry_node::MountOptions::default()
            },
            path: aumbry_types::MountPath::parse("m").expect("is a path"),
            kind: canary(),
            description: canary(),
        },
        Operation::JoinTokenCreate(60),
    ];
    for operation in operations {
        // Refused or not, it is recorded.
        let _ = bed.call_with(&bed.root, operation, "").await;
    }
    assert_eq!(reason(bed.call_as(&secret(), get("secret/x")).await), "TOKEN_INVALID");
    let rows = audit(&bed, before).await;
    assert!(rows.len() > 18);
    let token = new_text();
    for row in rows {
        let shown = format!("{} {}", row.event, String::from_utf8_lossy(&row.record));
        for word in ["canary", "CANARY", &token, &token[8..30]] {
            assert!(!shown.contains(word), "{word} in {}", row.event);
        }
    }
}

/// Abuse cases: 82.
#[tokio::test]
async fn without_room_for_a_record_there_is_no_answer() {
    let bed = Bed::open().await;
    assert_eq!(reason(bed.call(put("secret/x", "{}", None)).await), "OK");
    let size = |bed: &Bed| bed.consensus.status().audit_size;
    for (room, status) in [(Room::Low, "OK"), (Room::Spent, "DISK_FULL")] {
        *bed.room.lock().expect("no test panics with it") = room;
        assert!(bed.node.is_disk_full());
        let before = size(&bed);
        for request in [put("secret/x", "{}", None), get("secret/x")] {
            let failure = bed.call(request).await.err().expect("it is refused");
            assert_eq!((failure.reason, failure.class), ("DISK_FULL", Class::ResourceExhausted));
            assert_eq!(failure.outcome, OutcomeClass::NotApplied);
            assert!(failure.retry_after_ms >= 1_000, "nobody is to ask again at once");
        }
        assert_eq!(size(&bed), before, "a refusal takes no room");
        assert_eq!(reason(bed.call(Operation::Status).await), status, "{room:?}");
    }
    *bed.room.lock().expect("no test panics with it") = Room::Ample;
    assert!(!bed.node.is_disk_full());
    assert_eq!(reason(bed.call(get("secret/x")).await), "OK");
}
