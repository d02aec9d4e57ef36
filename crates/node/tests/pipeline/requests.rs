//! What requests do.

use crate::bed::*;

#[tokio::test]
async fn writes_reads_lists_and_deletes() {
    let bed = Bed::open().await;
    assert_eq!(
        version(bed.call(put("secret/a/b/c", r#"{"k":"v1"}"#, Some(0))).await),
        1
    );
    assert_eq!(version(bed.call(put("secret/a/b/c", r#"{"k":"v2"}"#, None)).await), 2);
    assert_eq!(
        reason(bed.call(put("secret/a/b/c", "{}", Some(1))).await),
        "CAS_MISMATCH"
    );
    assert_eq!(data(bed.call(get("secret/a/b/c")).await), r#"{"k":"v2"}"#);
    assert_eq!(names(bed.call(list("secret", "", 10)).await), ["a/"]);
    assert_eq!(names(bed.call(list("secret/a", "", 10)).await), ["b/"]);
    assert_eq!(names(bed.call(list("secret/a/b", "", 10)).await), ["c"]);
    assert_eq!(reason(bed.call(get("secret/none")).await), "NOT_FOUND");
    let delete = Operation::Kv(kv::Request::DeleteMetadata {
        path: path("secret/a/b/c"),
    });
    assert_eq!(reason(bed.call(delete).await), "OK");
    assert_eq!(
        names(bed.call(list("secret", "", 10)).await),
        Vec::<String>::new(),
        "emptied directories vanish"
    );
    assert_eq!(reason(bed.call(list("secret/a", "", 10)).await), "NOT_FOUND");
}

#[tokio::test]
async fn one_of_many_creates_wins_and_counters_are_exact() {
    let bed = Bed::open().await;
    let creates = (0..64).map(|_| bed.call(put("secret/once", "{}", Some(0))));
    let won = futures::future::join_all(creates)
        .await
        .into_iter()
        .filter(Result::is_ok)
        .count();
    assert_eq!(won, 1);

    let counted = bed
        .token(Create {
            policies: vec!["root".to_owned()],
            num_uses: 10,
            ttl_s: 60,
            ..Create::default()
        })
        .await;
    let uses = (0..64).map(|_| bed.call_as(&counted, get("secret/once")));
    let used = futures::future::join_all(uses)
        .await
        .into_iter()
        .filter(Result::is_ok)
        .count();
    assert_eq!(used, 10);
}

#[tokio::test]
async fn policies_decide_and_change_at_once() {
    let bed = Bed::open().await;
    let write = |text: &str| Operation::PolicyWrite(Name::parse("app").expect("is a name"), text.to_owned());
    let all = r#"path "secret/data/app/*" { capabilities = ["create", "read", "update"] }"#;
    assert_eq!(reason(bed.call(write(all)).await), "OK");
    let app = bed
        .token(Create {
            policies: vec!["app".to_owned()],
            ttl_s: 60,
            ..Create::default()
        })
        .await;
    assert_eq!(reason(bed.call_as(&app, put("secret/app/x", "{}", None)).await), "OK");
    assert_eq!(reason(bed.call_as(&app, get("secret/app/x")).await), "OK");
    assert_eq!(
        reason(bed.call_as(&app, get("secret/other")).await),
        "PERMISSION_DENIED"
    );
    assert_eq!(reason(bed.call_as(&app, get("nomount/x")).await), "PERMISSION_DENIED");
    let narrow = r#"path "secret/data/app/*" { capabilities = ["read"] }"#;
    assert_eq!(reason(bed.call(write(narrow)).await), "OK");
    assert_eq!(
        reason(bed.call_as(&app, put("secret/app/x", "{}", None)).await),
        "PERMISSION_DENIED"
    );
    assert_eq!(
        reason(
            bed.call_as(&SecretBytes::from("aum.bad".to_owned()), get("secret/app/x"))
                .await
        ),
        "TOKEN_INVALID"
    );
}

#[tokio::test]
async fn revoking_takes_the_tree_and_expiry_needs_no_traffic() {
    let bed = Bed::open().await;
    let root = || vec!["root".to_owned()];
    let parent = bed
        .token(Create {
            policies: root(),
            ttl_s: 600,
            ..Create::default()
        })
        .await;
    let child = match bed
        .call_as(
            &parent,
            Operation::TokenCreate(Create {
                ttl_s: 600,
                ..Create::default()
            }),
        )
        .await
    {
        Ok(Answer {
            reply: Reply::NewToken(new),
            ..
        }) => new.token,
        _ => panic!("no token"),
    };
    assert_eq!(reason(bed.call_as(&child, put("secret/x", "{}", None)).await), "OK");
    assert_eq!(
        reason(
            bed.call(Operation::TokenRevoke(TokenName::Text(parent.duplicate())))
                .await
        ),
        "OK"
    );
    assert_eq!(reason(bed.call_as(&child, get("secret/x")).await), "TOKEN_INVALID");
    assert_eq!(reason(bed.call_as(&parent, get("secret/x")).await), "TOKEN_INVALID");

    let short = bed
        .token(Create {
            policies: root(),
            ttl_s: 5,
            ..Create::default()
        })
        .await;
    assert_eq!(reason(bed.call_as(&short, get("secret/x")).await), "OK");
    bed.clock.advance_ms(5_000);
    assert_eq!(reason(bed.call_as(&short, get("secret/x")).await), "TOKEN_INVALID");
}

#[tokio::test]
async fn a_retry_with_its_key_is_applied_once_across_leaderships() {
    let bed = Bed::open().await;
    let first = bed
        .call_with(&bed.root, put("secret/x", r#"{"a":1}"#, None), "key-1")
        .await
        .map(|answer| answer.reply);
    assert_eq!(version(first), 1);
    bed.consensus.local.depose();
    let again = bed
        .call_with(&bed.root, put("secret/x", r#"{"a":1}"#, None), "key-1")
        .await
        .map(|answer| answer.reply);
    assert_eq!(version(again), 1);
    let other = bed
        .call_with(&bed.root, put("secret/x", r#"{"a":2}"#, None), "key-1")
        .await;
    assert_eq!(reason(other), "INVALID_REQUEST");
    assert_eq!(version(bed.call(put("secret/x", "{}", None)).await), 2);
}

#[tokio::test]
async fn every_request_leaves_a_record_and_sealing_ends_everything() {
    let bed = Bed::open().await;
    let before = bed.consensus.status().audit_size;
    assert_eq!(
        reason(bed.call(put("secret/x", r#"{"canary":"sesame"}"#, None)).await),
        "OK"
    );
    assert_eq!(reason(bed.call(get("secret/x")).await), "OK");
    assert_eq!(reason(bed.call(get("secret/none")).await), "NOT_FOUND");
    let Ok(Reply::Audit(rows)) = bed
        .call(Operation::AuditRead {
            from: before,
            limit: 100,
            wait_size: 0,
        })
        .await
    else {
        panic!("no page");
    };
    let events: Vec<&str> = rows.iter().map(|row| row.event.as_str()).collect();
    let count = |word: &str| events.iter().filter(|event| event.contains(word)).count();
    assert_eq!(
        (count("kv.put"), count("kv.get"), count("audit.read")),
        (1, 2, 1),
        "{events:?}"
    );
    assert_eq!(count("NOT_FOUND"), 1);
    assert_eq!(count("sesame"), 0);
    assert!(matches!(
        bed.call(Operation::AuditCheckpoint).await,
        Ok(Reply::Checkpoint { .. })
    ));

    bed.node.seal();
    let failure = bed.call(get("secret/x")).await.err().expect("is sealed");
    assert_eq!(
        (failure.reason, failure.class, failure.outcome),
        ("SEALED", Class::Unavailable, OutcomeClass::NotApplied)
    );
}

/// Entries of a busy leader have many records each: a page reads no more of them than it shows, but for a few.
#[tokio::test]
async fn a_page_of_the_audit_log_reads_no_more_than_it_needs() {
    const PAGE: usize = 300;
    /// Two entries each.
    const ROUNDS: usize = 80;
    /// Those of a step that are not needed, and one that two pages share.
    const SPARE: usize = 33;
    let bed = Bed::open().await;
    for _ in 0..ROUNDS {
        // What comes while an entry is on its way becomes the next one.
        bed.consensus.open.send_replace(false);
        let one = async { reason(bed.call(get("secret/none")).await) };
        let more = async {
            bed.consensus.holds_one().await;
            let mut calls: Vec<_> = (0..30).map(|_| Box::pin(bed.call(get("secret/none")))).collect();
            // Each is planned when it is looked at first.
            for call in &mut calls {
                assert!(futures::poll!(call).is_pending());
            }
            bed.consensus.open.send_replace(true);
            futures::future::join_all(calls).await
        };
        let (one, more) = futures::join!(one, more);
        assert!(one == "NOT_FOUND" && more.into_iter().all(|answer| reason(answer) == "NOT_FOUND"));
    }
    let size = bed.consensus.status().audit_size;
    let mut next = 0;
    let mut needed = 0;
    while next < size {
        let before = bed.consensus.bodies_given.load(Ordering::Relaxed);
        let rows = bed.node.audit_rows(next, PAGE, PAGE).expect("is unsealed");
        let given = bed.consensus.bodies_given.load(Ordering::Relaxed) - before;
        let seqs: Vec<u64> = rows.iter().map(|row| row.seq).collect();
        let end = size.min(next + PAGE as u64);
        assert_eq!(seqs, (next..end).collect::<Vec<_>>(), "a page has no hole and is full");
        let entries = rows.chunk_by(|one, other| one.index == other.index).count();
        assert!(given <= entries + SPARE, "{given} entries were read for {entries}");
        (next, needed) = (end, needed + entries);
    }
    // The control: there are more entries than a page needs, so that to read as many as it may show would have been more.
    assert!(
        needed >= 2 * ROUNDS && size > 10 * needed as u64,
        "{needed} entries for {size} records"
    );
    // A single entry, and nothing beyond the end.
    assert_eq!(
        bed.node
            .audit_rows(0, PAGE, 1)
            .expect("is unsealed")
            .first()
            .map(|row| row.seq),
        Some(0)
    );
    assert!(bed.node.audit_rows(size, PAGE, PAGE).expect("is unsealed").is_empty());
}
