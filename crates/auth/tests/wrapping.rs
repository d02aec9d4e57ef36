//! Wrapped replies, which open once, and the cubbyhole, which goes with its token.

#[path = "../../barrier/tests/common/mod.rs"]
mod common;

use aumbry_auth::token::{
    Create, UnwrapError, WrapError, authenticate, create, find_by_accessor, find_by_text, is_wrapping, lookup_wrapped,
    make_root, renew, revoke, rewrap, unwrap, wrap,
};
use aumbry_auth::{Answer, Error, cubbyhole, expire, sweep};
use aumbry_barrier::Txn;
use aumbry_logical::{Body, Verb};
use aumbry_state::{Outcome, Row, View as _, key};
use aumbry_types::SecretBytes;
use common::Bed;
use serde_json::{Value, json};

struct Store {
    bed: Bed,
    root: SecretBytes,
}

impl Store {
    fn new() -> Self {
        let mut bed = Bed::new(41);
        let root = bed.run(|txn| make_root(txn, None).expect("is new")).token;
        let mut store = Self { bed, root };
        // The counts of root's children stand from its first child on.
        let first = store.token();
        store.revoke(&first);
        store
    }

    fn token(&mut self) -> SecretBytes {
        let root = self.root.duplicate();
        self.bed.run(|txn| {
            let caller = authenticate(txn, root.expose(), false, "").expect("stands");
            create(txn, &caller, false, Create::default()).expect("may").token
        })
    }

    fn revoke(&mut self, token: &SecretBytes) {
        self.bed.run(|txn| {
            let id = find_by_text(txn, token.expose(), false)
                .expect("opens")
                .expect("is there");
            revoke(txn, id).expect("opens");
        });
        self.sweep();
    }

    fn sweep(&mut self) {
        loop {
            let waiting = self.bed.view.scan(&key::work_prefix(), None, 1);
            let Some(id) = waiting.first().and_then(|(row, _)| key::parse_id(row)) else {
                return;
            };
            assert_eq!(self.bed.run(|txn| sweep(txn, id, 2)), Some(0));
        }
    }

    /// Plans, and applies whether it gives anything or not.
    fn run<T, E>(&mut self, plan: impl FnOnce(&mut Txn<'_>) -> Result<T, E>) -> Result<T, E> {
        self.bed.run(|txn| {
            let made = plan(txn);
            if made.is_err() {
                txn.abandon();
            }
            made
        })
    }

    fn wrap(&mut self) -> SecretBytes {
        let wrapped = self
            .run(|txn| wrap(txn, REPLY, "secret/data/a", 60, ""))
            .expect("is wrapped");
        wrapped.token
    }

    fn unwrap(&mut self, token: &SecretBytes) -> Result<Vec<u8>, UnwrapError> {
        let opened = self.run(|txn| unwrap(txn, token.expose()));
        opened.map(|reply| reply.expose().to_vec())
    }

    fn ask(&mut self, token: &SecretBytes, verb: Verb, path: &str, value: &Value) -> Result<Option<Value>, Error> {
        let body = Body::parse(value.to_string().as_bytes()).expect("is an object");
        let request = cubbyhole::Request::parse(verb, path, &body)?;
        let answer: Result<Answer, Error> = self.run(|txn| {
            let caller = authenticate(txn, token.expose(), false, "").expect("stands");
            cubbyhole::plan(txn, &caller, &request)
        });
        Ok(answer?.data.map(Value::Object))
    }
}

/// Abuse cases: 43.
#[test]
fn abuse_043_a_wrapped_reply_opens_once() {
    let mut store = Store::new();
    let before = store.bed.view.rows().len();
    let token = store.wrap();
    assert!(is_wrapping(token.expose()) && !is_wrapping(store.root.expose()));
    assert_eq!(store.unwrap(&token), Ok(REPLY.to_vec()));
    assert_eq!(store.unwrap(&token), Err(UnwrapError::Gone));
    assert_eq!(store.bed.view.rows().len(), before);

    // Two at once: the second in the log is refused, and plans again to find nothing.
    let token = store.wrap();
    let plans: Vec<_> = (0..3)
        .map(|_| store.bed.plan(|txn| unwrap(txn, token.expose()).is_ok()))
        .collect();
    let outcomes: Vec<Outcome> = plans.iter().map(|(_, plan)| store.bed.apply(plan)).collect();
    assert!(plans.iter().all(|(opened, _)| *opened));
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Conflict, Outcome::Conflict]);
    assert_eq!(store.unwrap(&token), Err(UnwrapError::Gone));

    // Nor past its time, by the log's.
    let token = store.wrap();
    let late = store.bed.plan(|txn| unwrap(txn, token.expose()).is_ok()).1;
    store.bed.now += 60_000;
    assert_eq!(store.bed.apply(&late), Outcome::Expired);
    assert_eq!(store.unwrap(&token), Err(UnwrapError::Gone));
    let (entry, _) = store.bed.view.scan(&key::expiry_prefix(), None, 1).remove(0);
    let (_, row_key) = key::parse_expiry(&entry).expect("is one");
    let row = Row::decode(&store.bed.view.get(&row_key).expect("is there")).expect("is a row");
    assert!(store.bed.run(|txn| expire(txn, row_key, row.kind)));
    assert_eq!(store.bed.view.rows().len(), before, "the reply goes too");
    for other in [
        &b""[..],
        b"aum.w.1.x.y",
        store.root.duplicate().expose(),
        &token.expose()[1..],
    ] {
        assert_eq!(
            store.run(|txn| unwrap(txn, other).map(|_| ())),
            Err(UnwrapError::NotOne)
        );
    }
}

/// Abuse cases: 43.
#[test]
fn abuse_043_a_wrapping_token_is_good_for_nothing_else() {
    let mut store = Store::new();
    let wrapped = store
        .run(|txn| wrap(txn, REPLY, "auth/x/login", 60, "inner"))
        .expect("is wrapped");
    let expected = json!({
        "token": wrapped.token.expose_str(), "accessor": wrapped.accessor, "ttl": 60, "creation_time": "2023-11-14T22:13:20Z",
        "creation_path": "auth/x/login", "wrapped_accessor": "inner",
    });
    assert_eq!(Value::Object(wrapped.render()), expected);
    let text = wrapped.token.expose();
    assert!(store.run(|txn| authenticate(txn, text, false, "").map(|_| ())).is_err());
    let id = store.bed.plan(|txn| find_by_accessor(txn, &wrapped.accessor)).0;
    let id = id.expect("opens").expect("is there");
    assert!(store.run(|txn| renew(txn, id, 600)).is_err());
    let told = store.run(|txn| lookup_wrapped(txn, text)).expect("stands");
    let expected =
        json!({"creation_path": "auth/x/login", "creation_time": "2023-11-14T22:13:20Z", "creation_ttl": 60});
    assert_eq!(Value::Object(told.render()), expected);
    // Anew: the first opens nothing any more.
    store.bed.now += 30_000;
    let again = store.run(|txn| rewrap(txn, text)).expect("stands");
    assert_eq!((again.ttl_s, again.path.as_str()), (60, "auth/x/login"));
    assert_eq!(store.run(|txn| lookup_wrapped(txn, text)), Err(UnwrapError::Gone));
    assert_eq!(store.unwrap(&wrapped.token), Err(UnwrapError::Gone));
    store.bed.now += 59_999;
    assert_eq!(store.unwrap(&again.token), Ok(REPLY.to_vec()));
    // By its accessor it can be revoked unopened.
    let token = store.wrap();
    store.revoke(&token);
    assert_eq!(store.unwrap(&token), Err(UnwrapError::Gone));
    for (ttl_s, size, expect) in [
        (0, 1, WrapError::Ttl),
        (u64::MAX, 1, WrapError::Ttl),
        (60, 4 << 20, WrapError::TooLarge),
    ] {
        let refused = store.run(|txn| wrap(txn, &vec![b'x'; size], "a", ttl_s, "").map(|_| ()));
        assert_eq!(refused, Err(expect));
    }
}

#[test]
fn a_cubbyhole_is_its_tokens_own_and_goes_with_it() {
    let mut store = Store::new();
    let before = store.bed.view.rows().len();
    let (mine, other) = (store.token(), store.token());
    for path in ["a", "b/c", "b/d/e"] {
        assert_eq!(
            store.ask(&mine, Verb::Write, path, &json!({"canaryfield": path})),
            Ok(None)
        );
    }
    assert_eq!(store.ask(&mine, Verb::Write, "a", &json!({"canaryfield": 2})), Ok(None));
    assert_eq!(
        store.ask(&mine, Verb::Read, "a", &json!({})),
        Ok(Some(json!({"canaryfield": 2})))
    );
    let root = store.root.duplicate();
    for stranger in [&other, &root] {
        assert_eq!(store.ask(stranger, Verb::Read, "a", &json!({})), Err(Error::NotFound));
        assert_eq!(store.ask(stranger, Verb::List, "", &json!({})), Err(Error::NotFound));
    }
    for (path, keys) in [
        ("", json!(["a", "b/"])),
        ("b", json!(["c", "d/"])),
        ("b/d/", json!(["e"])),
    ] {
        assert_eq!(
            store.ask(&mine, Verb::List, path, &json!({})),
            Ok(Some(json!({"keys": keys})))
        );
    }
    assert_eq!(store.ask(&mine, Verb::List, "a", &json!({})), Err(Error::NotFound));
    for (verb, path, said) in [
        (Verb::Write, "a", json!({})),
        (Verb::Write, "", json!({"k": 1})),
        (Verb::Write, "../a", json!({"k": 1})),
        (Verb::Patch, "a", json!({"k": 1})),
    ] {
        assert!(store.ask(&mine, verb, path, &said).is_err(), "{path}");
    }
    assert_eq!(store.ask(&mine, Verb::Delete, "b/c", &json!({})), Ok(None));
    assert_eq!(store.ask(&mine, Verb::Read, "b/c", &json!({})), Err(Error::NotFound));
    for (row_key, row) in store.bed.view.rows().iter() {
        let is_in = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"canary");
        assert!(!is_in(row_key) && !is_in(row));
    }
    // One that is emptied leaves only counts, and they go too.
    assert_eq!(store.ask(&other, Verb::Write, "x", &json!({"k": 1})), Ok(None));
    assert_eq!(store.ask(&other, Verb::Delete, "x", &json!({})), Ok(None));
    store.revoke(&mine);
    store.revoke(&other);
    assert_eq!(store.bed.view.rows().len(), before);
}

#[test]
fn a_cubbyhole_is_bounded() {
    let mut store = Store::new();
    let mine = store.token();
    for n in 0..256 {
        assert_eq!(
            store.ask(&mine, Verb::Write, &n.to_string(), &json!({"k": n})),
            Ok(None)
        );
    }
    let full = store.ask(&mine, Verb::Write, "one-more", &json!({"k": 1}));
    assert!(matches!(full, Err(Error::Invalid(_))));
    assert_eq!(store.ask(&mine, Verb::Write, "7", &json!({"k": 1})), Ok(None));
}

const REPLY: &[u8] = b"{\"data\":{\"k\":\"v\"}}";
