//! What the leader does by itself, whatever stands in its way.

use aumbry_auth::userpass;
use aumbry_barrier::Kind;
use aumbry_logical::{Body, Verb};
use aumbry_node::method::{Asked, LoginAsk, MethodAsk, Shown};
use aumbry_node::{MountOptions, MountTable};
use aumbry_state::{Command, Counters, Entry, EntryHeader, Put, Write, key};
use aumbry_types::{CommandId, MountPath, ObjectId};

use crate::bed::*;

impl Bed {
    fn has_row(&self, row_key: &[u8]) -> bool {
        self.consensus.view().get(row_key).is_some()
    }

    /// How many tokens are on the disk.
    fn tokens(&self) -> usize {
        let table = &key::object(ObjectId::well_known(0))[..1];
        let rows = self.consensus.view().scan(table, None, 1_000);
        let is_token = |row: &Bytes| aumbry_state::Row::decode(row).is_ok_and(|row| row.kind == Kind::Token as u8);
        rows.iter().filter(|(_, row)| is_token(row)).count()
    }
}

/// Duties are done every 100 ms.
async fn until(mut is_done: impl AsyncFnMut() -> bool) {
    for _ in 0..100 {
        if is_done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is not done");
}

#[tokio::test]
async fn a_damaged_token_does_not_keep_others_on_the_disk() {
    let bed = Bed::open().await;
    bed.token(Create {
        ttl_s: 5,
        ..Create::default()
    })
    .await;
    let damaged = key::object(ObjectId::from_bytes([9; 16]));
    let command = Command {
        id: CommandId::make(&*bed.entropy),
        preconditions: vec![],
        writes: vec![Write::Put(Put {
            key: damaged.clone(),
            kind: Kind::Token as u8,
            expires_at: bed.consensus.status().log_time + 1_000,
            counters: Counters::Set([0, 0]),
            key_term: 1,
            container: ObjectId::well_known(5),
            body: Bytes::from_static(b"no ciphertext"),
        })],
        commitment: [0; 32],
    };
    let header = EntryHeader {
        log_time: 0,
        wall_time: 0,
    };
    let entry = Entry {
        header,
        commands: vec![command],
        audit: Bytes::new(),
    };
    let leader = bed.consensus.leadership().expect("leads");
    bed.consensus.propose(leader, entry.encode()).await.expect("is applied");
    assert!(bed.has_row(&damaged));
    assert_eq!(bed.tokens(), 3);
    bed.clock.advance_ms(6_000);
    until(async || bed.tokens() == 1).await;
    assert!(!bed.has_row(&damaged));
    let index = bed.consensus.view().scan(&key::expiry_prefix(), None, 10);
    assert!(index.is_empty());
}

#[tokio::test]
async fn a_used_up_token_leaves_the_disk_by_itself() {
    let bed = Bed::open().await;
    let token = bed
        .token(Create {
            num_uses: 2,
            ..Create::default()
        })
        .await;
    assert_eq!(bed.tokens(), 2);
    // A request that is refused for what it asks is a use too.
    for expect in ["OK", "NOT_FOUND", "TOKEN_INVALID"] {
        let answer = match expect {
            "OK" => bed.call_as(&token, put("secret/x", "{}", None)).await,
            _ => bed.call_as(&token, get("secret/none")).await,
        };
        assert_eq!(reason(answer), expect);
    }
    until(async || bed.tokens() == 1).await;
    let waiting = bed.consensus.view().scan(&key::work_prefix(), None, 1);
    assert!(waiting.is_empty());
}

#[tokio::test]
async fn refusals_are_recorded_although_the_leadership_changes() {
    let bed = Bed::open().await;
    let nobody = SecretBytes::from("nobody".to_owned());
    for _ in 0..25 {
        assert_eq!(reason(bed.call_as(&nobody, get("secret/x")).await), "TOKEN_INVALID");
    }
    bed.consensus.open.send_replace(false);
    bed.clock.advance_ms(60_000);
    bed.consensus.holds_one().await;
    bed.consensus.local.depose();
    bed.consensus.open.send_replace(true);
    let count = async || {
        let read = Operation::AuditRead {
            from: 0,
            limit: 1_000,
            wait_size: 0,
        };
        let Ok(Reply::Audit(rows)) = bed.call(read).await else {
            // The old leadership may still be taking what is queued down with it.
            return 0;
        };
        let summed = |row: &&AuditRow| row.event.contains("kv.get") && row.event.contains("\"count\":15");
        rows.iter().filter(summed).count()
    };
    until(async || count().await > 0).await;
    assert_eq!(count().await, 1, "and once only");
}

/// A refusal that is only counted is told once it is certain that the node leads: another leader may have made the token meanwhile.
#[tokio::test]
async fn what_is_refused_without_a_record_is_refused_by_who_leads() {
    let bed = Bed::open().await;
    let gone = bed.token(Create::default()).await;
    let revoke = Operation::TokenRevoke(TokenName::Text(gone.duplicate()));
    assert_eq!(reason(bed.call(revoke).await), "OK");
    let recorded = async || bed.consensus.status().audit_size;
    let before = recorded().await;
    for _ in 0..10 {
        assert_eq!(reason(bed.call_as(&gone, get("secret/x")).await), "TOKEN_INVALID");
    }
    assert_eq!(recorded().await, before + 10);
    // Nothing else is written: an entry is, for those who wait.
    bed.clock.advance_ms(1_000);
    let many = (0..20).map(|_| bed.call_as(&gone, get("secret/x")));
    let many = futures::future::join_all(many).await;
    assert!(many.into_iter().all(|answer| reason(answer) == "TOKEN_INVALID"));
    assert_eq!(recorded().await, before + 11, "one for all of them");
    bed.consensus.open.send_replace(false);
    bed.clock.advance_ms(1_000);
    let mut refused = Box::pin(bed.call_as(&gone, get("secret/x")));
    assert!(futures::poll!(&mut refused).is_pending());
    bed.consensus.local.depose();
    assert_eq!(reason(refused.await), "NOT_LEADER");
    bed.consensus.open.send_replace(true);
}

/// What is counted against a user is on record by itself, and is not told once more with the many.
#[tokio::test]
async fn a_wrong_password_is_told_once() {
    let bed = Bed::open().await;
    let mount = MountPath::parse("userpass").expect("is a path");
    let enable = Operation::MountEnable {
        table: MountTable::Auth,
        path: mount.clone(),
        kind: "userpass".to_owned(),
        description: String::new(),
        options: MountOptions::default(),
    };
    assert_eq!(reason(bed.call(enable).await), "OK");
    let users = ["ann", "bob", "eve"];
    for user in users {
        let body = Body::parse(br#"{"password": "right"}"#).expect("is a body");
        let request = userpass::Request::parse(Verb::Write, &format!("users/{user}"), body).expect("is one");
        let write = Operation::Method(MethodAsk {
            path: format!("auth/userpass/users/{user}"),
            verb: Verb::Write,
            asked: Asked::Userpass(mount.clone(), request.hashed(&*bed.entropy)),
            said: Vec::new(),
        });
        assert_eq!(reason(bed.call(write).await), "OK");
    }
    let nobody = SecretBytes::from(String::new());
    for user in users.iter().cycle().take(12) {
        let shown = userpass::LoginRequest::new(user, SecretBytes::from("wrong".to_owned()));
        let path = format!("auth/userpass/login/{user}");
        let shown = Shown::Userpass(Arc::new(shown));
        let login = Operation::Login(LoginAsk::new(mount.clone(), path, shown));
        assert_eq!(reason(bed.call_as(&nobody, login).await), "LOGIN_REFUSED");
    }
    // Two duties later: what the minute left would be on record.
    bed.clock.advance_ms(60_000);
    for _ in 0..11 {
        assert_eq!(reason(bed.call_as(&nobody, get("secret/x")).await), "TOKEN_INVALID");
    }
    bed.clock.advance_ms(60_000);
    let recorded = async |operation: &str| {
        let read = Operation::AuditRead {
            from: 0,
            limit: 1_000,
            wait_size: 0,
        };
        let Ok(Reply::Audit(rows)) = bed.call(read).await else {
            panic!("is read");
        };
        let name = format!("\"operation\":\"{operation}\"");
        rows.iter().filter(|row| row.event.contains(&name)).count()
    };
    until(async || recorded("kv.get").await == 11).await;
    assert_eq!(recorded("userpass.login").await, 12);
}
