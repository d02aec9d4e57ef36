//! The lockout of LDAP: who is counted, who is not, and what stays of it. The directory is played by the test.

#[path = "../../barrier/tests/common/mod.rs"]
mod common;

use aumbry_auth::ldap::{Challenge, Known, LoginRequest, Request, WRONG_PASSWORD, login, plan, prepare};
use aumbry_auth::lockout::{self, LockingMount, Lockout};
use aumbry_auth::{LoginError, expire};
use aumbry_logical::{Body, Verb};
use aumbry_state::{Outcome, key};
use aumbry_types::ObjectId;
use serde_json::{Value, json};

use common::Bed;

/// What the directory says to a password.
type Says = Result<(), &'static str>;

struct Method {
    bed: Bed,
    lockout: Lockout,
}

impl Method {
    fn new() -> Self {
        let mut method = Self {
            bed: Bed::new(41),
            lockout: Lockout::default(),
        };
        method.configure(&json!({ "url": "ldaps://a", "userdn": "ou=people", "userattr": "uid" }));
        method
    }

    fn configure(&mut self, config: &Value) {
        let request = Request::parse(Verb::Write, "config", body(config)).expect("is one");
        let done = self.bed.run(|txn| plan(txn, MOUNT, &request).map(|_| ()));
        assert_eq!(done, Ok(()));
    }

    /// Logs in, and says whether the directory was asked.
    fn try_login(&mut self, name: &str, says: Says, address: &str) -> (Result<String, LoginError>, bool) {
        let shown = LoginRequest::parse(&format!("login/{name}"), &body(&json!({ "password": "p" }))).expect("is one");
        let challenge = self.bed.plan(|txn| prepare(txn, MOUNT, &shown, &self.lockout)).0;
        let (verified, is_asked) = match challenge.expect("opens").expect("is configured").begin() {
            Ok((_, basis)) => {
                let known = says.map(|()| Known {
                    dn: format!("uid={name},ou=people"),
                    names: vec![name.to_owned()],
                    groups: Vec::new(),
                });
                (Challenge::conclude(basis, known), true)
            }
            Err(verified) => (verified, false),
        };
        let (found, command) = self.bed.plan(|txn| {
            let found = login(txn, MOUNT, &shown, &verified, &self.lockout, address);
            if found.is_err() {
                txn.abandon();
            }
            found.map(|login| login.alias)
        });
        assert_eq!(self.bed.apply(&command), Outcome::Ok);
        (found, is_asked)
    }

    fn fail(&mut self, name: &str, times: usize) {
        for _ in 0..times {
            let (found, _) = self.try_login(name, Err(WRONG_PASSWORD), HERE);
            assert!(found.is_err());
        }
    }

    fn is_let_in(&mut self, name: &str) -> bool {
        self.try_login(name, Ok(()), HERE).0.is_ok()
    }

    fn ask(&mut self, verb: Verb, path: &str) -> Value {
        let request = lockout::Request::parse(verb, path, &Body::default()).expect("is one");
        let mounts = [LockingMount {
            id: MOUNT,
            accessor: "a".to_owned(),
            kind: "ldap".to_owned(),
            lockout: self.lockout,
        }];
        let answer = self.bed.run(|txn| lockout::plan(txn, &mounts, "", &request));
        answer.expect("is answered").data.map_or(Value::Null, Value::Object)
    }
}

fn body(value: &Value) -> Body {
    Body::parse(value.to_string().as_bytes()).expect("is an object")
}

/// Abuse cases: 25.
#[test]
fn who_guesses_is_locked_and_the_directory_is_spared() {
    let mut method = Method::new();
    method.fail("Ann", 4);
    assert!(method.is_let_in("ann"), "four are not enough");
    method.fail("ann", 4);
    assert!(method.is_let_in("ann"), "the login in between forgot them");
    for name in ["ann", "ANN", " ann", "ann", "Ann"] {
        assert!(method.try_login(name, Err(WRONG_PASSWORD), HERE).1, "it is asked");
    }
    // What a node has in memory goes; the count is in the store.
    method.bed.lose_flight();
    let (found, is_asked) = method.try_login("ann", Ok(()), HERE);
    assert_eq!((found, is_asked), (Err(LoginError::Because("locked")), false));
    assert!(method.is_let_in("bob"), "others are not locked");
    let told = method.ask(Verb::Read, "locked-users");
    assert_eq!(
        told["by_namespace"][0]["mount_accessors"][0]["alias_identifiers"],
        json!(["ann"])
    );
    assert_eq!(method.ask(Verb::Write, "locked-users/a/unlock/Ann"), Value::Null);
    assert!(method.is_let_in("ann"), "who was unlocked gets in");
    method.fail("ann", 5);
    method.bed.now += 900_000;
    assert!(method.is_let_in("ann"), "a lock is for a while");
}

/// Two logins that were verified before either was planned: a lock in between holds.
#[test]
fn a_lock_between_the_asking_and_the_plan_holds() {
    let mut method = Method::new();
    let shown = LoginRequest::parse("login/ann", &body(&json!({ "password": "p" }))).expect("is one");
    let challenge = method
        .bed
        .plan(|txn| prepare(txn, MOUNT, &shown, &Lockout::default()))
        .0;
    let (_, basis) = challenge
        .expect("opens")
        .expect("is there")
        .begin()
        .ok()
        .expect("is asked");
    method.fail("ann", 5);
    let known = Known {
        dn: "uid=ann".to_owned(),
        names: vec!["ann".to_owned()],
        groups: Vec::new(),
    };
    let verified = Challenge::conclude(basis, Ok(known));
    let planned = method
        .bed
        .plan(|txn| login(txn, MOUNT, &shown, &verified, &Lockout::default(), HERE).map(|_| ()));
    assert_eq!(planned.0, Err(LoginError::Because("locked")));
}

/// Guesses whose entries are in flight at the same time: each rests on the one before, or is planned again.
#[test]
fn guesses_at_the_same_time_are_counted() {
    let mut method = Method::new();
    let shown = LoginRequest::parse("login/ann", &body(&json!({ "password": "p" }))).expect("is one");
    let mut commands = Vec::new();
    for _ in 0..5 {
        let challenge = method
            .bed
            .plan(|txn| prepare(txn, MOUNT, &shown, &Lockout::default()))
            .0;
        let (_, basis) = challenge
            .expect("opens")
            .expect("is there")
            .begin()
            .ok()
            .expect("is asked");
        let verified = Challenge::conclude(basis, Err(WRONG_PASSWORD));
        let (found, command) = method.bed.plan(|txn| {
            let found = login(txn, MOUNT, &shown, &verified, &Lockout::default(), HERE).map(|_| ());
            txn.abandon();
            found
        });
        assert_eq!(found, Err(LoginError::CountedBecause(WRONG_PASSWORD)));
        assert_eq!(method.bed.fly(&command), Outcome::Ok);
        commands.push(command);
    }
    // One that is lost takes those with it that rest on it: they are planned again.
    for command in &commands[1..] {
        assert_ne!(method.bed.apply(command), Outcome::Ok);
    }
    method.bed.lose_flight();
    assert!(method.is_let_in("ann"));
}

#[test]
fn only_wrong_passwords_are_counted() {
    let mut method = Method::new();
    let rows = method.bed.view.rows().len();
    for why in ["unknown user", "not taken", "ambiguous user"] {
        for _ in 0..6 {
            assert!(method.try_login("ann", Err(why), HERE).0.is_err());
        }
    }
    method.lockout.is_disabled = true;
    method.fail("ann", 10);
    assert!(method.is_let_in("ann"), "no lockout, no lock");
    method.lockout.is_disabled = false;
    method.configure(&json!({
        "url": "ldaps://a", "userdn": "ou=people", "userattr": "uid", "token_bound_cidrs": "10.0.0.0/8",
    }));
    for _ in 0..10 {
        assert!(method.try_login("ann", Err(WRONG_PASSWORD), "192.0.2.1:1").0.is_err());
    }
    assert_eq!(method.bed.view.rows().len(), rows, "nothing is stored");
    assert!(method.is_let_in("ann"), "who is elsewhere locks nobody");
}

/// However many names somebody makes up: what is stored is bounded, and goes by itself.
#[test]
fn made_up_names_do_not_fill_the_store() {
    let mut method = Method::new();
    let rows = method.bed.view.rows().len();
    for n in 0..3_000 {
        method.fail(&format!("made-up-{n}"), 1);
    }
    let stored = method.bed.view.rows().len() - rows;
    // Each row stands in the index of those that expire.
    assert!(stored <= 2 * 64, "{stored}");
    method.bed.now += 900_001;
    let due = method.bed.overlay.scan(&key::expiry_prefix(), None, 1_000);
    for (entry, _) in due {
        let (_, row_key) = key::parse_expiry(&entry).expect("is one");
        method.bed.run(|txn| {
            let kind = txn.peek_row(&row_key).expect("opens").expect("is there").kind;
            assert!(expire(txn, row_key, kind));
        });
    }
    assert_eq!(method.bed.view.rows().len(), rows, "all of it goes");
}

const MOUNT: ObjectId = ObjectId::from_bytes([0x77; 16]);
const HERE: &str = "10.0.0.1:1";
