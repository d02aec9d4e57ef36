//! New terms, what older ones seal sealed anew, and terms that go.

use aumbry_barrier::Kind;
use aumbry_logical::{Body, Verb};
use aumbry_node::keys;
use aumbry_node::method::{Asked, MethodAsk};
use aumbry_state::{Command, Counters, Entry, EntryHeader, Put, Row, Write, key};
use aumbry_types::CommandId;
use serde_json::Value;

use crate::bed::*;
use crate::seals::restarted;

fn ask(verb: Verb, below: &str, body: &str) -> Operation {
    let body = Body::parse(body.as_bytes()).expect("is JSON");
    let request = keys::Request::parse(verb, below, body).unwrap_or_else(|error| panic!("{below}: {error}"));
    Operation::Method(MethodAsk {
        path: format!("sys/{below}"),
        verb,
        asked: Asked::Keys(request),
        said: Vec::new(),
    })
}

impl Bed {
    async fn read(&self, below: &str) -> Value {
        match self.call(ask(Verb::Read, below, "{}")).await {
            Ok(Reply::Json { data, .. }) => serde_json::from_slice(data.expose()).expect("is JSON"),
            Ok(_) => panic!("another reply"),
            Err(failure) => panic!("{below}: {failure}"),
        }
    }

    async fn write(&self, below: &str, body: &str) -> &'static str {
        reason(self.call(ask(Verb::Write, below, body)).await)
    }

    /// What another node of the same store answers, which does its duties for so long.
    pub(crate) async fn ask_another(&self, node: &Arc<Node>, operation: Operation) -> String {
        let stop = watch::Sender::new(false);
        let duties = tokio::spawn(run_duties(Arc::clone(node), stop.subscribe()));
        let served = node.serve(&self.request(&self.root, operation, "")).await;
        stop.send_replace(true);
        duties.await.expect("they end");
        data(served.map(|answer| answer.reply))
    }

    /// Writes rows past every plan.
    async fn propose(&self, writes: Vec<Write>) {
        let entry = Entry {
            header: EntryHeader {
                log_time: 0,
                wall_time: 0,
            },
            commands: vec![Command {
                id: CommandId::make(&*self.entropy),
                preconditions: vec![],
                writes,
                commitment: [0; 32],
            }],
            audit: Bytes::new(),
        };
        let leader = self.consensus.leadership().expect("leads");
        let proposed = self.consensus.propose(leader, entry.encode()).await;
        proposed.expect("is applied");
    }

    async fn rewrapped(&self) {
        until(async || self.read("rotate/progress").await["state"] == "done").await;
    }

    /// The terms that seal what is stored, each once.
    fn terms(&self) -> Vec<u32> {
        let mut terms = Vec::new();
        for table in key::SEALED_TABLES {
            for (_, row) in self.consensus.view().scan(&[table], None, 10_000) {
                let Ok(row) = Row::decode(&row) else { continue };
                if row.key_term > 0 {
                    terms.push(row.key_term);
                }
            }
        }
        terms.sort_unstable();
        terms.dedup();
        terms
    }
}

/// Duties are done every 100 ms.
pub(crate) async fn until(mut is_done: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if is_done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is not done");
}

#[tokio::test]
async fn what_an_older_term_seals_is_sealed_anew_and_the_term_goes() {
    let mut bed = Bed::sealed();
    let initialised = bed.initialise().await.expect("initialises");
    bed.unseal(&initialised);
    bed.run_duties();
    let token = bed.token(Create::default()).await;
    // More than one piece, of small rows and large ones.
    for n in 0..300 {
        version(
            bed.call(put(&format!("secret/old/{n}"), &format!("{{\"n\":{n}}}"), None))
                .await,
        );
    }
    let large = format!("{{\"large\":\"{}\"}}", "x".repeat(900_000));
    for n in 0..3 {
        version(bed.call(put(&format!("secret/large/{n}"), &large, None)).await);
    }
    assert_eq!(
        (bed.read("key-status").await["term"].clone(), bed.terms()),
        (1.into(), vec![1])
    );
    assert_eq!(bed.read("rotate/progress").await["state"], "none");
    assert_eq!(bed.write("rotate/retire", "{\"force\":true}").await, "INVALID_REQUEST");
    // Another node that holds the keys, and learns of the new ones when it is to serve.
    let other = restarted(&bed);
    for share in &initialised.shares[1..4] {
        other.unseal(share.expose()).expect("is a good share");
    }

    assert_eq!(bed.write("rotate", "{}").await, "OK");
    version(bed.call(put("secret/new", "{\"a\":1}", None)).await);
    assert_eq!(bed.read("key-status").await["term"], 2);
    assert_eq!(bed.ask_another(&other, get("secret/new")).await, "{\"a\":1}");
    bed.rewrapped().await;
    assert_eq!(bed.terms(), [2]);
    let progress = bed.read("rotate/progress").await;
    assert!(progress["rows"].as_u64() > Some(900), "{progress}");
    assert_eq!(
        (&progress["damaged"], &progress["terms"]),
        (&0.into(), &serde_json::json!([1, 2]))
    );

    // Batch tokens of the old term may live.
    assert_eq!(bed.write("rotate/retire", "{}").await, "INVALID_REQUEST");
    assert_eq!(bed.write("rotate/retire", "{\"force\":true}").await, "OK");
    assert_eq!(bed.read("rotate/progress").await["terms"], serde_json::json!([2]));
    for n in [0, 150, 299] {
        assert_eq!(
            data(bed.call(get(&format!("secret/old/{n}"))).await),
            format!("{{\"n\":{n}}}")
        );
    }
    assert_eq!(data(bed.call(get("secret/large/2")).await), large);
    assert_eq!(names(bed.call(list("secret/old", "", 1_000)).await).len(), 300);
    assert_eq!(
        reason(bed.call_as(&token, Operation::TokenLookup(TokenName::Own)).await),
        "OK"
    );
    let fresh = restarted(&bed);
    for share in &initialised.shares[..3] {
        fresh.unseal(share.expose()).expect("is a good share");
    }
    assert_eq!(bed.ask_another(&fresh, get("secret/old/7")).await, "{\"n\":7}");
}

/// Abuse cases: 38.
#[tokio::test]
async fn a_batch_token_ends_with_its_term() {
    let bed = Bed::open().await;
    let batch = Create {
        token_type: Some(aumbry_auth::token::TokenType::Batch),
        policies: vec!["default".to_owned()],
        ttl_s: 3_600,
        ..Create::default()
    };
    let token = bed.token(batch).await;
    let stands = async || reason(bed.call_as(&token, Operation::TokenLookup(TokenName::Own)).await);
    assert_eq!(bed.write("rotate", "{}").await, "OK");
    assert_eq!(stands().await, "OK");
    bed.rewrapped().await;
    assert_eq!(stands().await, "OK");
    assert_eq!(bed.write("rotate/retire", "{\"force\":true}").await, "OK");
    assert_eq!(stands().await, "TOKEN_INVALID");
}

/// Abuse cases: 113.
#[tokio::test]
async fn uses_are_counted_too_high_and_make_a_new_term() {
    let bed = Bed::open().await;
    let before = bed.read("key-status").await["encryptions"].as_u64().expect("a number");
    assert!(
        before >= 1 << 20,
        "a block is reserved before anything is used: {before}"
    );
    for n in 0..50 {
        version(bed.call(put(&format!("secret/{n}"), "{}", None)).await);
    }
    assert_eq!(bed.read("key-status").await["encryptions"], before);
    // A new leadership reserves anew, and leaves what the one before had.
    bed.consensus.local.depose();
    let after = bed.read("key-status").await["encryptions"].as_u64().expect("a number");
    version(bed.call(put("secret/x", "{}", None)).await);
    let after = after.max(bed.read("key-status").await["encryptions"].as_u64().expect("a number"));
    assert_eq!(after, before + (1 << 20));
    for wrong in ["{\"max_operations\":1}", "{\"interval\":\"1s\"}"] {
        assert_eq!(bed.write("rotate/config", wrong).await, "INVALID_REQUEST");
    }
    assert_eq!(bed.write("rotate/config", "{\"max_operations\":1048577}").await, "OK");
    until(async || bed.read("key-status").await["term"] == 2).await;
    bed.rewrapped().await;
    assert_eq!(bed.read("key-status").await["term"], 2, "one is enough");
}

#[tokio::test]
async fn a_term_ends_by_age_and_goes_when_nothing_can_use_it() {
    let bed = Bed::open().await;
    version(bed.call(put("secret/x", "{}", None)).await);
    assert_eq!(bed.write("rotate/config", "{\"interval\":\"24h\"}").await, "OK");
    bed.clock.advance_ms(24 * 3_600_000 + 1);
    until(async || bed.read("key-status").await["term"] == 2).await;
    bed.rewrapped().await;
    assert_eq!(bed.write("rotate/config", "{\"interval\":0}").await, "OK");
    bed.clock.advance_ms(32 * 24 * 3_600_000);
    until(async || bed.read("rotate/progress").await["terms"] == serde_json::json!([2])).await;
}

#[tokio::test]
async fn a_damaged_row_keeps_its_term() {
    let bed = Bed::open().await;
    version(bed.call(put("secret/x", "{}", None)).await);
    let table = key::version_prefix(aumbry_types::ObjectId::well_known(0))[0];
    let (row_key, row) = bed.consensus.view().scan(&[table], None, 1).remove(0);
    let row = Row::decode(&row).expect("is a row");
    let mut body = row.body.to_vec();
    body[60] ^= 1;
    let damaged = Write::Put(Put {
        key: row_key,
        kind: Kind::SecretVersion as u8,
        expires_at: 0,
        counters: Counters::Keep,
        key_term: row.key_term,
        container: row.container,
        body: body.into(),
    });
    bed.propose(vec![damaged]).await;
    assert_eq!(bed.write("rotate", "{}").await, "OK");
    bed.rewrapped().await;
    assert_eq!(bed.read("rotate/progress").await["damaged"], 1);
    assert_eq!(bed.terms(), [1, 2]);
    assert_eq!(bed.write("rotate/retire", "{\"force\":true}").await, "INVALID_REQUEST");
}

/// More damage than one piece looks at, with nothing beside it that could be sealed anew.
#[tokio::test]
async fn damage_alone_is_counted() {
    let bed = Bed::open().await;
    let damaged = (0..1_500_u32).map(|n| {
        let mut id = [0; 16];
        // Beside those that are well known.
        id[4] = 1;
        id[12..].copy_from_slice(&n.to_be_bytes());
        Write::Put(Put {
            key: key::object(aumbry_types::ObjectId::from_bytes(id)),
            kind: Kind::Cubbyhole as u8,
            expires_at: 0,
            counters: Counters::Set([0, 0]),
            key_term: 1,
            container: aumbry_types::ObjectId::well_known(5),
            body: Bytes::from_static(b"no ciphertext"),
        })
    });
    bed.propose(damaged.collect()).await;
    assert_eq!(bed.write("rotate", "{}").await, "OK");
    bed.rewrapped().await;
    assert_eq!(bed.read("rotate/progress").await["damaged"], 1_500);
    assert_eq!(bed.write("rotate/retire", "{\"force\":true}").await, "INVALID_REQUEST");
}

#[tokio::test]
async fn keys_are_turned_with_sudo_only() {
    let bed = Bed::open().await;
    let policy = "path \"sys/*\" { capabilities = [\"create\", \"read\", \"update\"] }";
    let name = Name::parse("almost").expect("is a name");
    let write = Operation::PolicyWrite(name, policy.to_owned());
    assert_eq!(reason(bed.call(write).await), "OK");
    let token = bed
        .token(Create {
            policies: vec!["almost".to_owned()],
            ..Create::default()
        })
        .await;
    for (verb, below, expect) in [
        (Verb::Read, "key-status", "OK"),
        (Verb::Read, "rotate/progress", "OK"),
        (Verb::Read, "rotate/config", "OK"),
        (Verb::Write, "rotate", "PERMISSION_DENIED"),
        (Verb::Write, "rotate/config", "PERMISSION_DENIED"),
        (Verb::Write, "rotate/retire", "PERMISSION_DENIED"),
    ] {
        let answer = bed.call_as(&token, ask(verb, below, "{}")).await;
        assert_eq!(reason(answer), expect, "{below}");
    }
}
