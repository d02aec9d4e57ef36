//! The whole road from request to reply, on the in-memory consensus.

use std::sync::Arc;
use std::time::Duration;

use aumbry_auth::token::Create;
use aumbry_engines::kv;
use aumbry_node::{
    Answer, Class, Evidence, Failure, InitOptions, Node, Operation, Outside, OutcomeClass, Reply, Request, TokenName,
    initialise, run_duties,
};
use aumbry_state::{Consensus, Local};
use aumbry_types::{
    ClusterId, Name, NodeId, RequestId, SecretBytes, SecretPath, SimulatedClock, SimulatedEntropy, WallTime,
};
use tokio::sync::watch;
use tokio::time::Instant;

struct Bed {
    node: Arc<Node>,
    local: Arc<Local>,
    clock: Arc<SimulatedClock>,
    entropy: Arc<SimulatedEntropy>,
    root: SecretBytes,
    _stop: watch::Sender<bool>,
}

impl Bed {
    async fn open() -> Self {
        let local = Arc::new(Local::new());
        let clock = Arc::new(SimulatedClock::new(WallTime(1_700_000_000_000)));
        let entropy = Arc::new(SimulatedEntropy::new(42));
        let outside = Outside {
            sign_node: Box::new(|_, _, _, _, _| Ok("certificate".to_owned())),
            ask_peer: Box::new(|_| Box::pin(async { None })),
            region: "r1".to_owned(),
        };
        let consensus: Arc<dyn Consensus> = Arc::<Local>::clone(&local);
        let node = Node::new(consensus, Arc::<SimulatedClock>::clone(&clock), Arc::<SimulatedEntropy>::clone(&entropy), outside);
        let options = || InitOptions {
            shares: 5,
            threshold: 3,
            root_token: None,
            cluster_id: ClusterId::from_bytes([7; 16]),
            authority: "authority".to_owned(),
            authority_key: SecretBytes::from("key".to_owned()),
        };
        let first = initialise(&*local, &*clock, &*entropy, options()).await.expect("initialises");
        let second = initialise(&*local, &*clock, &*entropy, options()).await.expect("can be repeated");
        assert!(node.unseal(first.shares[0].expose()).is_err(), "shares of a repeated initialisation count for nothing");
        for share in &second.shares[1..4] {
            node.unseal(share.expose()).expect("is a good share");
        }
        assert!(!node.seal_status().sealed);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(run_duties(Arc::clone(&node), stopped));
        Self { node, local, clock, entropy, root: second.root_token, _stop: stop }
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
    Operation::Kv(kv::Request::Put { path: path(at), data: SecretBytes::from(data.to_owned()), cas })
}

fn get(at: &str) -> Operation {
    Operation::Kv(kv::Request::Get { path: path(at), version: None })
}

fn list(at: &str, after: &str, limit: usize) -> Operation {
    Operation::Kv(kv::Request::List { path: Some(path(at)), after: after.to_owned(), limit })
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
        Ok(Reply::Kv(kv::Reply::Item(item))) => {
            item.data.and_then(|d| d.expose_str().map(str::to_owned)).unwrap_or_default()
        }
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
    assert_eq!(version(bed.call(put("secret/a/b/c", r#"{"k":"v1"}"#, Some(0))).await), 1);
    assert_eq!(version(bed.call(put("secret/a/b/c", r#"{"k":"v2"}"#, None)).await), 2);
    assert_eq!(reason(bed.call(put("secret/a/b/c", "{}", Some(1))).await), "CAS_MISMATCH");
    assert_eq!(data(bed.call(get("secret/a/b/c")).await), r#"{"k":"v2"}"#);
    assert_eq!(names(bed.call(list("secret", "", 10)).await), ["a/"]);
    assert_eq!(names(bed.call(list("secret/a", "", 10)).await), ["b/"]);
    assert_eq!(names(bed.call(list("secret/a/b", "", 10)).await), ["c"]);
    assert_eq!(reason(bed.call(get("secret/none")).await), "NOT_FOUND");
    let delete = Operation::Kv(kv::Request::DeleteMetadata { path: path("secret/a/b/c") });
    assert_eq!(reason(bed.call(delete).await), "OK");
    assert_eq!(names(bed.call(list("secret", "", 10)).await), Vec::<String>::new(), "emptied directories vanish");
    assert_eq!(reason(bed.call(list("secret/a", "", 10)).await), "NOT_FOUND");
}

#[tokio::test]
async fn one_of_many_creates_wins_and_counters_are_exact() {
    let bed = Bed::open().await;
    let creates = (0..64).map(|_| bed.call(put("secret/once", "{}", Some(0))));
    let won = futures::future::join_all(creates).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);

    let counted = bed.token(Create { policies: vec!["root".to_owned()], num_uses: 10, ttl_s: 60, ..Create::default() }).await;
    let uses = (0..64).map(|_| bed.call_as(&counted, get("secret/once")));
    let used = futures::future::join_all(uses).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(used, 10);
}

#[tokio::test]
async fn policies_decide_and_change_at_once() {
    let bed = Bed::open().await;
    let write = |text: &str| Operation::PolicyWrite(Name::parse("app").expect("is a name"), text.to_owned());
    let all = r#"path "secret/data/app/*" { capabilities = ["create", "read", "update"] }"#;
    assert_eq!(reason(bed.call(write(all)).await), "OK");
    let app = bed.token(Create { policies: vec!["app".to_owned()], ttl_s: 60, ..Create::default() }).await;
    assert_eq!(reason(bed.call_as(&app, put("secret/app/x", "{}", None)).await), "OK");
    assert_eq!(reason(bed.call_as(&app, get("secret/app/x")).await), "OK");
    assert_eq!(reason(bed.call_as(&app, get("secret/other")).await), "PERMISSION_DENIED");
    assert_eq!(reason(bed.call_as(&app, get("nomount/x")).await), "PERMISSION_DENIED");
    let narrow = r#"path "secret/data/app/*" { capabilities = ["read"] }"#;
    assert_eq!(reason(bed.call(write(narrow)).await), "OK");
    assert_eq!(reason(bed.call_as(&app, put("secret/app/x", "{}", None)).await), "PERMISSION_DENIED");
    assert_eq!(reason(bed.call_as(&SecretBytes::from("aum.bad".to_owned()), get("secret/app/x")).await), "TOKEN_INVALID");
}

#[tokio::test]
async fn revoking_takes_the_tree_and_expiry_needs_no_traffic() {
    let bed = Bed::open().await;
    let root = || vec!["root".to_owned()];
    let parent = bed.token(Create { policies: root(), ttl_s: 600, ..Create::default() }).await;
    let child = match bed.call_as(&parent, Operation::TokenCreate(Create { ttl_s: 600, ..Create::default() })).await {
        Ok(Answer { reply: Reply::NewToken(new), .. }) => new.token,
        _ => panic!("no token"),
    };
    assert_eq!(reason(bed.call_as(&child, put("secret/x", "{}", None)).await), "OK");
    assert_eq!(reason(bed.call(Operation::TokenRevoke(TokenName::Text(parent.duplicate()))).await), "OK");
    assert_eq!(reason(bed.call_as(&child, get("secret/x")).await), "TOKEN_INVALID");
    assert_eq!(reason(bed.call_as(&parent, get("secret/x")).await), "TOKEN_INVALID");

    let short = bed.token(Create { policies: root(), ttl_s: 5, ..Create::default() }).await;
    assert_eq!(reason(bed.call_as(&short, get("secret/x")).await), "OK");
    bed.clock.advance_ms(5_000);
    assert_eq!(reason(bed.call_as(&short, get("secret/x")).await), "TOKEN_INVALID");
}

#[tokio::test]
async fn a_retry_with_its_key_is_applied_once_across_leaderships() {
    let bed = Bed::open().await;
    let first = bed.call_with(&bed.root, put("secret/x", r#"{"a":1}"#, None), "key-1").await.map(|answer| answer.reply);
    assert_eq!(version(first), 1);
    bed.local.depose();
    let again = bed.call_with(&bed.root, put("secret/x", r#"{"a":1}"#, None), "key-1").await.map(|answer| answer.reply);
    assert_eq!(version(again), 1);
    let other = bed.call_with(&bed.root, put("secret/x", r#"{"a":2}"#, None), "key-1").await;
    assert_eq!(reason(other), "INVALID_REQUEST");
    assert_eq!(version(bed.call(put("secret/x", "{}", None)).await), 2);
}

#[tokio::test]
async fn every_request_leaves_a_record_and_sealing_ends_everything() {
    let bed = Bed::open().await;
    let before = bed.local.status().audit_size;
    assert_eq!(reason(bed.call(put("secret/x", r#"{"canary":"sesame"}"#, None)).await), "OK");
    assert_eq!(reason(bed.call(get("secret/x")).await), "OK");
    assert_eq!(reason(bed.call(get("secret/none")).await), "NOT_FOUND");
    let Ok(Reply::Audit(rows)) = bed.call(Operation::AuditRead { from: before, limit: 100, wait_size: 0 }).await else {
        panic!("no page");
    };
    let events: Vec<&str> = rows.iter().map(|row| row.event.as_str()).collect();
    let count = |word: &str| events.iter().filter(|event| event.contains(word)).count();
    assert_eq!((count("kv.put"), count("kv.get"), count("audit.read")), (1, 2, 1), "{events:?}");
    assert_eq!(count("NOT_FOUND"), 1);
    assert_eq!(count("sesame"), 0);
    assert!(matches!(bed.call(Operation::AuditCheckpoint).await, Ok(Reply::Checkpoint { .. })));

    bed.node.seal();
    let failure = bed.call(get("secret/x")).await.err().expect("is sealed");
    assert_eq!((failure.reason, failure.class, failure.outcome), ("SEALED", Class::Unavailable, OutcomeClass::NotApplied));
}
