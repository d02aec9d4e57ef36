//! What is asked again: by a retry, or of a store that was restored.

use aumbry_node::{Consistency, NewIdentity, RestoredFrom};
use aumbry_types::ClusterId;

use crate::bed::*;

impl Bed {
    async fn policy(&self, name: &str, text: &str) {
        let name = Name::parse(name).expect("is a name");
        let write = Operation::PolicyWrite(name, text.to_owned());
        assert_eq!(reason(self.call(write).await), "OK");
    }

    async fn holder(&self, policy: &str) -> SecretBytes {
        self.token(Create {
            policies: vec![policy.to_owned()],
            ttl_s: 60,
            ..Create::default()
        })
        .await
    }
}

#[tokio::test]
async fn a_replay_is_authorised_as_of_now() {
    let bed = Bed::open().await;
    bed.policy("maker", r#"path "auth/token/create" { capabilities = ["update"] }"#)
        .await;
    let maker = bed.holder("maker").await;
    let create = || {
        Operation::TokenCreate(Create {
            ttl_s: 60,
            ..Create::default()
        })
    };
    assert_eq!(reason(bed.call_with(&maker, create(), "k").await), "OK");
    assert_eq!(
        reason(bed.call_with(&maker, create(), "k").await),
        "OK",
        "a retry is answered"
    );
    let name = Name::parse("maker").expect("is a name");
    assert_eq!(reason(bed.call(Operation::PolicyDelete(name)).await), "OK");
    assert_eq!(
        reason(bed.call_with(&maker, create(), "k").await),
        "PERMISSION_DENIED",
        "the stored reply holds a token"
    );
}

#[tokio::test]
async fn who_may_only_create_can_retry() {
    let bed = Bed::open().await;
    bed.policy("creator", r#"path "secret/data/*" { capabilities = ["create"] }"#)
        .await;
    let creator = bed.holder("creator").await;
    for _ in 0..2 {
        let put = put("secret/x", "{}", None);
        assert_eq!(reason(bed.call_with(&creator, put, "k").await), "OK");
    }
    let other = put("secret/x", "{}", None);
    assert_eq!(
        reason(bed.call_with(&creator, other, "another").await),
        "PERMISSION_DENIED"
    );
}

#[tokio::test]
async fn a_change_of_members_that_failed_fails_again() {
    let bed = Bed::open().await;
    let root = bed.root.duplicate();
    for _ in 0..2 {
        let remove = Operation::Remove(NodeId(99));
        let failed = reason(bed.call_with(&root, remove, "k").await);
        assert!(!matches!(failed, "OK"), "{failed}");
    }
}

#[tokio::test]
async fn an_index_of_another_history_is_refused() {
    let bed = Bed::open().await;
    let index = bed.consensus.status().applied.0;
    for (min_index, expected) in [(index, "OK"), (index + 1_000_000, "INDEX_AHEAD")] {
        let request = Request {
            consistency: Consistency::AtIndex,
            min_index,
            ..bed.request(&bed.root, Operation::MountList, "")
        };
        let before = bed.consensus.status().audit_size;
        assert_eq!(reason(bed.node.serve(&request).await), expected);
        assert!(bed.consensus.status().audit_size > before, "it is on record");
    }
    let stranger = SecretBytes::from("stranger".to_owned());
    let request = Request {
        consistency: Consistency::AtIndex,
        min_index: u64::MAX,
        ..bed.request(&stranger, Operation::MountList, "")
    };
    assert_eq!(
        reason(bed.node.serve(&request).await),
        "TOKEN_INVALID",
        "who nobody knows learns nothing"
    );
}

#[tokio::test]
async fn what_the_state_adds_up_to_is_put_on_record() {
    let bed = Bed::open().await;
    assert_eq!(reason(bed.call(put("secret/x", "{}", None)).await), "OK");
    let recorded = async || {
        let read = Operation::AuditRead {
            from: 0,
            limit: 1_000,
            wait_size: 0,
        };
        let Ok(Reply::Audit(rows)) = bed.call(read).await else {
            return 0;
        };
        rows.iter().filter(|row| row.event.contains("sys.checkpoint")).count()
    };
    assert_eq!(recorded().await, 0);
    tokio::time::sleep(Duration::from_millis(200)).await;
    bed.clock.advance_ms(600_000);
    let mut found = 0;
    for _ in 0..50 {
        found = recorded().await;
        if found > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(found, 1);
}

/// The store of another cluster, as a restore leaves it: it is adopted on record, serves root alone, and is released.
///
/// Abuse cases: 70.
#[tokio::test]
async fn a_restored_store_is_adopted_and_released() {
    let other = ClusterId::from_bytes([8; 16]);
    let mut bed = Bed::sealed_in(other);
    let initialised = bed.initialise().await.expect("initialises");
    bed.unseal(&initialised);
    bed.run_duties();
    assert!(!bed.node.is_adopted());
    assert_eq!(reason(bed.call(Operation::MountList).await), "RESTORING");
    let from = RestoredFrom {
        cluster_id: ClusterId::from_bytes([7; 16]),
        index: 40,
        audit_size: 41,
        audit_root: [5; 32],
        released: false,
    };
    for _ in 0..2 {
        let identity = NewIdentity {
            authority: "new authority".to_owned(),
            authority_key: SecretBytes::from("new key".to_owned()),
        };
        bed.node
            .adopt(from.clone(), identity)
            .await
            .expect("is adopted, or was");
    }
    assert!(bed.node.is_adopted());
    let token = bed.holder("default").await;
    let lookup = || Operation::TokenLookup(TokenName::Own);
    assert_eq!(reason(bed.call_with(&token, lookup(), "").await), "QUARANTINED");
    assert_eq!(reason(bed.call(Operation::SnapshotRelease).await), "OK");
    assert_eq!(reason(bed.call(Operation::SnapshotRelease).await), "NOT_IN_QUARANTINE");
    assert_eq!(reason(bed.call_with(&token, lookup(), "").await), "OK");
}
