//! The whole road from request to reply, on the in-memory consensus.

use std::sync::Arc;
use std::time::Duration;

use aumbry_auth::token::Create;
use aumbry_engines::kv;
use aumbry_node::{
    Answer, AuditRow, Class, Evidence, Failure, InitError, InitOptions, Initialised, Node, Operation, OutcomeClass,
    Outside, Reply, Request, TokenName, initialise, run_duties,
};
use aumbry_state::{Change, Committed, Consensus, Local, Member, MembershipError, ProposeError, Status, View};
use aumbry_types::{
    ClusterId, LeaderId, LogIndex, Name, NodeId, RequestId, SecretBytes, SecretPath, SimulatedClock, SimulatedEntropy,
    WallTime,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

/// Consensus that can hold proposals back, as a slow quorum does.
struct Gate {
    local: Local,
    open: watch::Sender<bool>,
    held: watch::Sender<usize>,
}

impl Gate {
    /// Waits until a proposal is held back.
    async fn holds_one(&self) {
        self.held
            .subscribe()
            .wait_for(|held| *held > 0)
            .await
            .expect("the gate stands");
    }
}

impl Consensus for Gate {
    fn leadership(&self) -> Option<LeaderId> {
        self.local.leadership()
    }

    fn propose(&self, leader: LeaderId, entry: Bytes) -> BoxFuture<'_, Result<Committed, ProposeError>> {
        let mut open = self.open.subscribe();
        Box::pin(async move {
            self.held.send_modify(|held| *held += 1);
            open.wait_for(|open| *open).await.expect("the gate stands");
            self.held.send_modify(|held| *held -= 1);
            self.local.propose(leader, entry).await
        })
    }

    fn view(&self) -> Arc<dyn View> {
        self.local.view()
    }

    fn status(&self) -> Status {
        self.local.status()
    }

    fn barrier(&self) -> BoxFuture<'_, Result<LogIndex, ProposeError>> {
        self.local.barrier()
    }

    fn wait_applied(&self, index: LogIndex) -> BoxFuture<'_, ()> {
        self.local.wait_applied(index)
    }

    fn changed(&self) -> watch::Receiver<Change> {
        self.local.changed()
    }

    fn audit_bodies(&self, from_seq: u64, limit: usize) -> Vec<Vec<u8>> {
        self.local.audit_bodies(from_seq, limit)
    }

    fn add_learner(&self, member: Member) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.local.add_learner(member)
    }

    fn promote(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.local.promote(node)
    }

    fn remove(&self, node: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.local.remove(node)
    }

    fn transfer(&self, to: Option<NodeId>) -> BoxFuture<'_, Result<(), MembershipError>> {
        self.local.transfer(to)
    }
}

struct Bed {
    node: Arc<Node>,
    consensus: Arc<Gate>,
    clock: Arc<SimulatedClock>,
    entropy: Arc<SimulatedEntropy>,
    root: SecretBytes,
    stop: watch::Sender<bool>,
}

impl Bed {
    /// An unsealed leader that does its duties.
    async fn open() -> Self {
        let mut bed = Self::sealed();
        let first = bed.initialise().await.expect("initialises");
        let second = bed.initialise().await.expect("can be repeated");
        let old = bed.node.unseal(first.shares[0].expose());
        assert!(old.is_err(), "shares of a repeated initialisation count for nothing");
        bed.unseal(&second);
        bed.run_duties();
        bed
    }

    fn sealed() -> Self {
        let open = watch::Sender::new(true);
        let consensus = Arc::new(Gate {
            local: Local::new(),
            open,
            held: watch::Sender::new(0),
        });
        let clock = Arc::new(SimulatedClock::new(WallTime(1_700_000_000_000)));
        let entropy = Arc::new(SimulatedEntropy::new(42));
        let outside = Outside {
            sign_node: Box::new(|_, _, _, _, _| Ok("certificate".to_owned())),
            ask_peer: Box::new(|_| Box::pin(async { None })),
            region: "r1".to_owned(),
        };
        let seam: Arc<dyn Consensus> = Arc::<Gate>::clone(&consensus);
        let node = Node::new(
            seam,
            Arc::<SimulatedClock>::clone(&clock),
            Arc::<SimulatedEntropy>::clone(&entropy),
            outside,
        );
        Self {
            node,
            consensus,
            clock,
            entropy,
            root: SecretBytes::default(),
            stop: watch::Sender::new(false),
        }
    }

    async fn initialise(&self) -> Result<Initialised, InitError> {
        let options = InitOptions {
            shares: 5,
            threshold: 3,
            root_token: None,
            cluster_id: ClusterId::from_bytes([7; 16]),
            authority: "authority".to_owned(),
            authority_key: SecretBytes::from("key".to_owned()),
        };
        initialise(&*self.consensus, &*self.clock, &*self.entropy, options).await
    }

    fn unseal(&mut self, initialised: &Initialised) {
        for share in &initialised.shares[1..4] {
            self.node.unseal(share.expose()).expect("is a good share");
        }
        assert!(!self.node.seal_status().sealed);
        self.root = initialised.root_token.duplicate();
    }

    fn run_duties(&self) {
        tokio::spawn(run_duties(Arc::clone(&self.node), self.stop.subscribe()));
    }

    async fn call_as(&self, token: &SecretBytes, operation: Operation) -> Result<Answer, Failure> {
        self.call_with(token, operation, "").await
    }

    async fn call_with(&self, token: &SecretBytes, operation: Operation, key: &str) -> Result<Answer, Failure> {
        let request = Request {
            id: RequestId::make(&*self.entropy),
            operation,
            evidence: Evidence {
                token: token.duplicate(),
                client_address: "127.0.0.1:1".to_owned(),
                tls_identity: String::new(),
                received_by: NodeId(1),
            },
            idempotency_key: key.to_owned(),
            consistency: aumbry_node::Consistency::Linearizable,
            min_index: 0,
            deadline: Instant::now() + Duration::from_secs(10),
        };
        self.node.serve(&request).await
    }

    async fn call(&self, operation: Operation) -> Result<Reply, Failure> {
        self.call_as(&self.root, operation).await.map(|answer| answer.reply)
    }

    async fn token(&self, create: Create) -> SecretBytes {
        match self.call(Operation::TokenCreate(create)).await {
            Ok(Reply::NewToken(new)) => new.token,
            Ok(_) => panic!("another reply"),
            Err(failure) => panic!("{failure}"),
        }
    }
}

fn path(text: &str) -> SecretPath {
    SecretPath::parse(text).expect("is a path")
}

fn put(at: &str, data: &str, cas: Option<u64>) -> Operation {
    Operation::Kv(kv::Request::Put {
        path: path(at),
        data: SecretBytes::from(data.to_owned()),
        cas,
    })
}

fn get(at: &str) -> Operation {
    Operation::Kv(kv::Request::Get {
        path: path(at),
        version: None,
    })
}

fn list(at: &str, after: &str, limit: usize) -> Operation {
    Operation::Kv(kv::Request::List {
        path: Some(path(at)),
        after: after.to_owned(),
        limit,
    })
}

fn version(reply: Result<Reply, Failure>) -> u64 {
    match reply {
        Ok(Reply::Kv(kv::Reply::Written { info, .. })) => info.version,
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    }
}

fn data(reply: Result<Reply, Failure>) -> String {
    match reply {
        Ok(Reply::Kv(kv::Reply::Item(item))) => item
            .data
            .and_then(|d| d.expose_str().map(str::to_owned))
            .unwrap_or_default(),
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    }
}

fn names(reply: Result<Reply, Failure>) -> Vec<String> {
    match reply {
        Ok(Reply::Kv(kv::Reply::Names { names, .. })) => names,
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{failure}"),
    }
}

fn reason<T>(result: Result<T, Failure>) -> &'static str {
    result.map(|_| "OK").unwrap_or_else(|failure| failure.reason)
}

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

/// All audit rows from this sequence number on.
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
        (settings(None, None), settings(None, Some(true)), "INVALID_REQUEST"),
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
