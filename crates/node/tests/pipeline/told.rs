//! What is told to whom, and what a record tells.

use aumbry_audit::export::{Content, Header, Unverified, checkpoint_line, header_line, leaf_line, verify};
use aumbry_audit::{Checkpoint, Frontier, Leaf, Record};
use aumbry_crypto::signature::VerifyingKey;

use crate::bed::*;

async fn audit(bed: &Bed, from: u64) -> Vec<AuditRow> {
    let read = Operation::AuditRead {
        from,
        limit: 1_000,
        wait_size: 0,
    };
    match bed.call(read).await {
        Ok(Reply::Audit(rows)) => rows,
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    }
}

async fn with_policy(bed: &Bed, name: &str, text: &str) -> SecretBytes {
    let write = Operation::PolicyWrite(Name::parse(name).expect("is a name"), text.to_owned());
    assert_eq!(reason(bed.call(write).await), "OK");
    bed.token(Create {
        policies: vec![name.to_owned()],
        ttl_s: 600,
        ..Create::default()
    })
    .await
}

/// The values of this name in a record, which must not be shortened.
fn values(row: &AuditRow, name: &str) -> Vec<String> {
    assert!(!row.event.contains('\u{2026}'), "{}", row.event);
    let record = Record::decode(&row.record).expect("decodes");
    let value = |field: &aumbry_audit::Field| match field {
        aumbry_audit::Field::Clear(text) => text.clone(),
        aumbry_audit::Field::Hmac(_) => "hmac".to_owned(),
    };
    let fields = record.fields.iter().filter(|(known, _)| known == name);
    fields.map(|(_, field)| value(field)).collect()
}

#[tokio::test]
async fn the_largest_request_of_each_kind_is_in_its_record_whole() {
    let bed = Bed::open().await;
    assert_eq!(reason(bed.call(put("secret/x", "{}", None)).await), "OK");
    let at = || path("secret/x");
    let versions = |count: u64| (0..count).map(|n| u64::MAX - n).collect::<Vec<_>>();
    let make: [fn(SecretPath, Vec<u64>) -> kv::Request; 3] = [
        |path, versions| kv::Request::Delete { path, versions },
        |path, versions| kv::Request::Undelete { path, versions },
        |path, versions| kv::Request::Destroy { path, versions },
    ];
    for make in make {
        let before = bed.consensus.status().audit_size;
        let told = bed.call(Operation::Kv(make(at(), versions(1_000)))).await;
        assert_eq!(reason(told), "NOT_FOUND");
        let recorded = values(&audit(&bed, before).await[0], "versions").join(",");
        let mut recorded: Vec<u64> = recorded.split(',').map(|n| n.parse().expect("is whole")).collect();
        recorded.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(recorded, versions(1_000));
        let told = bed.call(Operation::Kv(make(at(), versions(1_001)))).await;
        assert_eq!(reason(told), "INVALID_REQUEST");
    }
    // What was hidden once: the version that was destroyed, after many that do not exist.
    let before = bed.consensus.status().audit_size;
    let hiding = [versions(999), vec![1]].concat();
    assert_eq!(reason(bed.call(Operation::Kv(make[2](at(), hiding))).await), "OK");
    let recorded = values(&audit(&bed, before).await[0], "versions").join(",");
    assert!(recorded.split(',').any(|version| version == "1"));

    let names = |count: usize| (0..count).map(|n| format!("{n:0128}")).collect::<Vec<_>>();
    let create = |policies: usize, pairs: usize| {
        Operation::TokenCreate(Create {
            policies: names(policies),
            metadata: (0..pairs).map(|n| (format!("{n:0128}"), "v".repeat(512))).collect(),
            display_name: "d".repeat(128),
            ttl_s: 60,
            ..Create::default()
        })
    };
    let before = bed.consensus.status().audit_size;
    let new = match bed.call(create(63, 32)).await {
        Ok(Reply::NewToken(new)) => new.token,
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    };
    let rows = audit(&bed, before).await;
    let recorded = values(&rows[0], "policies").join(",");
    let mut recorded: Vec<&str> = recorded.split(',').collect();
    recorded.sort_unstable();
    assert_eq!(recorded, names(63));
    assert_eq!(values(&rows[0], "metadata").len(), 32);
    for single in ["orphan", "renewable", "display_name", "no_default_policy", "ttl_s"] {
        assert_eq!(values(&rows[0], single).len(), 1);
    }
    for refused in [create(64, 0), create(0, 33)] {
        assert_eq!(reason(bed.call(refused).await), "INVALID_REQUEST");
    }
    let before = bed.consensus.status().audit_size;
    assert_eq!(reason(bed.call_as(&new, get("secret/x")).await), "PERMISSION_DENIED");
    let rows = audit(&bed, before).await;
    assert!(!rows[0].event.contains('\u{2026}'));
    let principal = Record::decode(&rows[0].record).and_then(|record| record.principal);
    assert_eq!(principal.expect("is known").policies.len(), 64);

    let settings = |pairs: usize| {
        let change = kv::MetadataChange {
            max_versions: Some(1_000),
            cas_required: Some(true),
            delete_version_after_s: Some(1),
            custom: Some((0..pairs).map(|n| (format!("{n:0128}"), "v".repeat(512))).collect()),
            ..kv::MetadataChange::default()
        };
        Operation::Kv(kv::Request::WriteMetadata { path: at(), change })
    };
    let before = bed.consensus.status().audit_size;
    assert_eq!(reason(bed.call(settings(60)).await), "OK");
    let rows = audit(&bed, before).await;
    assert_eq!(values(&rows[0], "custom_metadata").len(), 60);
    assert_eq!(values(&rows[0], "cas_required"), ["true"]);
    assert_eq!(reason(bed.call(settings(61)).await), "INVALID_REQUEST");
}

#[tokio::test]
async fn whether_a_mount_exists_is_told_to_those_who_may_see_the_mounts() {
    let bed = Bed::open().await;
    let mount = Operation::MountEnable {
        table: aumbry_node::MountTable::Secrets,
        options: aumbry_node::MountOptions {
            version: 2,
            ..aumbry_node::MountOptions::default()
        },
        path: aumbry_types::MountPath::parse("other").expect("is a path"),
        kind: "kv".to_owned(),
        description: String::new(),
    };
    assert_eq!(reason(bed.call(mount).await), "OK");
    let nobody = with_policy(&bed, "nobody", "").await;
    let some = with_policy(&bed, "some", r#"path "secret/*" { capabilities = ["read"] }"#).await;
    let seer = with_policy(&bed, "seer", r#"path "sys/mounts" { capabilities = ["read"] }"#).await;
    let batch = |paths: &[&str]| {
        Operation::Kv(kv::Request::BatchGet {
            paths: paths.iter().map(|text| path(text)).collect(),
        })
    };
    let requests: [(&dyn Fn() -> Operation, &str); 9] = [
        (&|| get("secret"), "INVALID_REQUEST"),
        (&|| put("secret", "{}", None), "INVALID_REQUEST"),
        (&|| batch(&["secret"]), "INVALID_REQUEST"),
        (&|| batch(&["secret/a", "other/a"]), "INVALID_REQUEST"),
        (&|| batch(&["secret/a", "none/a"]), "NOT_FOUND"),
        (&|| get("none"), "NOT_FOUND"),
        (&|| get("none/a"), "NOT_FOUND"),
        (&|| put("none/a", "{}", None), "NOT_FOUND"),
        (&|| list("none", "", 10), "NOT_FOUND"),
    ];
    for (number, (request, expect)) in requests.into_iter().enumerate() {
        for (token, expect) in [(&bed.root, expect), (&seer, expect), (&nobody, ""), (&some, "")] {
            let failure = bed.call_as(token, request()).await.err().expect("is refused");
            match expect {
                "" => {
                    let denied = Failure::denied().at(failure.position);
                    assert_eq!(failure, denied, "request {number}");
                }
                _ => assert_eq!(failure.reason, expect, "request {number}"),
            }
            if expect == "NOT_FOUND" {
                assert!(failure.message.contains("aumbry secrets list"), "{failure}");
            }
        }
    }
    // Seeing the mounts is not seeing what is in them.
    assert_eq!(reason(bed.call_as(&seer, get("secret/a")).await), "PERMISSION_DENIED");
    assert_eq!(reason(bed.call_as(&some, get("secret/a")).await), "NOT_FOUND");
}

#[tokio::test]
async fn a_token_that_is_not_there_cannot_be_revoked_looked_up_or_renewed() {
    let bed = Bed::open().await;
    let info = match bed.call(Operation::TokenCreate(Create::default())).await {
        Ok(Reply::NewToken(new)) => new.info,
        _ => panic!("no token"),
    };
    let known = || TokenName::Accessor(info.accessor.clone());
    let unknown: [&dyn Fn() -> TokenName; 4] = [
        &|| TokenName::Accessor("0".repeat(32)),
        &|| TokenName::Accessor("no accessor".to_owned()),
        &|| TokenName::Text(SecretBytes::from("aum.bad".to_owned())),
        &|| TokenName::Text(SecretBytes::default()),
    ];
    for name in unknown {
        let operations = [
            Operation::TokenRevoke(name()),
            Operation::TokenLookup(name()),
            Operation::TokenRenew(name(), 60),
        ];
        for operation in operations {
            let failure = bed.call(operation).await.err().expect("fails");
            assert_eq!((failure.class, failure.reason), (Class::NotFound, "NOT_FOUND"));
            assert_eq!(failure.message, "no such token");
        }
    }
    for _ in 0..2 {
        let revoked = bed.call_with(&bed.root, Operation::TokenRevoke(known()), "key").await;
        assert_eq!(reason(revoked), "OK", "a retry has the stored reply");
    }
    let again = bed.call_with(&bed.root, Operation::TokenRevoke(known()), "other").await;
    assert_eq!(reason(again), "NOT_FOUND");
}

/// As `aumbry audit export` does it.
#[tokio::test]
async fn an_export_verifies_after_a_repeated_initialisation() {
    let bed = Bed::open().await;
    assert_eq!(reason(bed.call(put("secret/x", "{}", None)).await), "OK");
    let rows = audit(&bed, 0).await;
    let Ok(Reply::Checkpoint {
        note,
        size,
        storage_id,
        verifying_key,
    }) = bed.call(Operation::AuditCheckpoint).await
    else {
        panic!("no checkpoint");
    };
    let mut rows = rows;
    rows.extend(audit(&bed, rows.len() as u64).await);
    rows.truncate(usize::try_from(size).expect("fits"));
    assert_eq!(rows.iter().filter(|row| row.withheld).count(), 1);
    let storage_id = storage_id.parse().expect("is an id");
    let mut text = header_line(&Header {
        storage_id,
        origin: Checkpoint::origin_of(&storage_id),
        start: Frontier::default(),
    });
    for row in rows {
        let leaf = Leaf {
            seq: row.seq,
            index: row.index,
            k: row.k,
            log_time: row.log_time,
            outcome: row.outcome().expect("is known"),
            commitment: row.commitment,
        };
        let content = if row.withheld {
            assert!(row.record.is_empty() && row.clear.is_empty() && row.salt == [0; 16]);
            Content::Withheld
        } else if row.record.is_empty() {
            Content::Clear(row.clear)
        } else {
            let (record, salt) = (row.record, row.salt);
            Content::Record { record, salt }
        };
        let unverified = Unverified {
            term: row.term,
            wall_time: row.wall_time,
        };
        text += &leaf_line(&leaf, &content, unverified).expect("can be read");
    }
    let key = VerifyingKey::from_bytes(verifying_key);
    text += &checkpoint_line(&note, &key);
    let verified = verify(text.as_bytes(), Some(key.fingerprint())).expect("is intact");
    assert_eq!((verified.records, verified.withheld), (size, 1));
}
