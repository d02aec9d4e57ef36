//! Logins: what they give, what is told of a refusal, and when a user is locked.

use aumbry_auth::lockout::{self, LockingMount, Lockout};
use aumbry_auth::token::authenticate;
use aumbry_auth::userpass::{is_locked, unlock};
use aumbry_auth::{Error, LoginError, disable};
use aumbry_logical::{Body, Verb};
use aumbry_state::Outcome;
use aumbry_types::Name;
use serde_json::{Value, json};

use crate::bed::{HERE, MOUNT, Method, PASSWORD, REFUSED};

fn alice() -> Name {
    Name::parse("alice").expect("is a name")
}

#[test]
fn a_login_gives_what_the_user_says() {
    let mut method = Method::with_alice();
    method.write(
        "users/alice",
        &json!({"token_ttl": "1h", "token_bound_cidrs": "10.0.0.0/8"}),
    );
    let new = method.login("alice", PASSWORD).expect("may");
    assert_eq!(new.info.policies, ["a", "default"]);
    assert_eq!(new.info.ttl_s, 3_600);
    assert_eq!(new.info.path, "auth/userpass/login/alice");
    assert_eq!(new.info.display_name, "userpass-alice");
    assert_eq!(new.info.metadata, [("username".to_owned(), "alice".to_owned())].into());
    for _ in 0..6 {
        for password in [PASSWORD, "wrong"] {
            let refused = method.login_from("alice", password, "11.0.0.1:1").map(|_| ());
            assert_eq!(refused, Err(LoginError::Refused(REFUSED)));
        }
    }
    assert!(method.lets_alice_in(), "nobody is locked from elsewhere");
}

/// Abuse cases: 23.
#[test]
fn abuse_023_a_user_has_one_name_and_one_count() {
    let mut method = Method::with_alice();
    for name in ["Alice", "ALICE", "alice"] {
        assert!(method.login(name, PASSWORD).is_ok(), "{name}");
    }
    for name in [
        "alice ",
        " alice",
        "alice\t",
        "\u{430}lice",
        "alice\u{200b}",
        "alice/",
        "",
        "alice%20",
    ] {
        assert_eq!(
            method.login(name, PASSWORD).map(|_| ()),
            Err(LoginError::Refused(REFUSED)),
            "{name:?}"
        );
    }
    for name in ["Alice", "aLice", "ALICE", "alicE", "alice"] {
        assert_eq!(
            method.login(name, "wrong").map(|_| ()),
            Err(LoginError::Counted(REFUSED)),
            "{name}"
        );
    }
    assert!(!method.lets_alice_in(), "five failures, by whatever spelling");
}

/// Abuse cases: 24.
#[test]
fn abuse_024_every_refusal_says_the_same_and_costs_the_same() {
    let mut method = Method::with_alice();
    let rows = method.bed.view.rows().len();
    let told = |refused: Result<_, LoginError>| refused.err().map(|error| error.to_string());
    let long = "x".repeat(100_000);
    for (user, password) in [
        ("nobody", PASSWORD),
        ("alice", "wrong"),
        ("alice", &long),
        ("Not A Name", PASSWORD),
        ("alice", "wrong"),
        ("alice", "wrong"),
        ("alice", "wrong"),
        ("alice", PASSWORD),
    ] {
        let refused = told(method.login(user, password).map(|_| ()));
        assert_eq!(refused.as_deref(), Some(REFUSED), "{user} {password:.9}");
    }
    for _ in 0..10 {
        assert!(method.login("nobody", "wrong").is_err());
    }
    assert_eq!(
        method.bed.view.rows().len(),
        rows,
        "nothing is stored of whom there is not"
    );
}

/// Abuse cases: 25.
#[test]
fn abuse_025_a_user_is_locked_for_a_while_on_whichever_node() {
    let mut method = Method::with_alice();
    let is_locked_now = |method: &Method| {
        let locked = method
            .bed
            .plan(|txn| is_locked(txn, MOUNT, &alice(), &method.lockout))
            .0;
        locked.expect("opens")
    };
    method.fail(4);
    assert!(!is_locked_now(&method));
    assert!(method.lets_alice_in(), "four are not enough");
    method.fail(4);
    assert!(method.lets_alice_in(), "the login in between forgot them");
    method.fail(5);
    assert!(is_locked_now(&method));
    // Everything that a node has in memory goes; the count is in the store.
    method.bed.lose_flight();
    assert!(!method.lets_alice_in());
    // No way around it: not another password, not other settings.
    method.write("users/alice/password", &json!({"password": PASSWORD}));
    method.write("users/alice", &json!({"token_policies": "b", "password": PASSWORD}));
    method.write("users/alice/policies", &json!({"policies": "c"}));
    assert!(!method.lets_alice_in());
    // What is tried meanwhile does not make it longer.
    method.bed.now += 899_999;
    method.fail(3);
    assert!(!method.lets_alice_in());
    method.bed.now += 1;
    assert!(!is_locked_now(&method));
    method.fail(4);
    assert!(method.lets_alice_in(), "the count began anew");
    // An operator can end it.
    method.fail(5);
    assert!(!method.lets_alice_in());
    method.bed.run(|txn| unlock(txn, MOUNT, &alice())).expect("opens");
    assert!(method.lets_alice_in());
}

#[test]
fn failures_are_forgotten_after_a_while() {
    let mut method = Method::with_alice();
    for _ in 0..3 {
        method.fail(4);
        method.bed.now += 900_000;
    }
    assert!(method.lets_alice_in());
    method.lockout = Lockout {
        is_disabled: true,
        ..Lockout::default()
    };
    method.fail(20);
    assert!(method.lets_alice_in(), "no lockout, no lock");
    method.lockout = Lockout {
        threshold: 2,
        duration_s: 10,
        reset_s: 5,
        is_disabled: false,
    };
    method.fail(1);
    method.bed.now += 5_000;
    method.fail(1);
    assert!(method.lets_alice_in());
    method.fail(2);
    assert!(!method.lets_alice_in());
    method.bed.now += 10_000;
    assert!(method.lets_alice_in());
}

fn locking(lockout: Lockout) -> LockingMount {
    LockingMount {
        id: MOUNT,
        accessor: "auth_userpass_1".to_owned(),
        kind: "userpass".to_owned(),
        lockout,
    }
}

/// Who is locked, as it is told: names with their accessor, and where to go on.
fn told_locked(method: &Method, path: &str, body: &Value) -> Result<Value, Error> {
    let body = Body::parse(body.to_string().as_bytes()).expect("is a body");
    let request = lockout::Request::parse(Verb::Read, path, &body)?;
    let mounts = [locking(method.lockout)];
    let answer = method.bed.plan(|txn| lockout::plan(txn, &mounts, "", &request)).0?;
    Ok(Value::Object(answer.data.expect("tells")))
}

#[test]
fn who_is_locked_is_told_and_unlocked() {
    let mut method = Method::with_alice();
    let nobody = json!({ "by_namespace": [], "total": 0 });
    let list = |method: &Method, body: Value| told_locked(method, "locked-users", &body);
    assert_eq!(list(&method, json!({})), Ok(nobody.clone()));
    method.fail(5);
    let locked = json!({
        "by_namespace": [{
            "namespace_id": "root",
            "namespace_path": "",
            "counts": 1,
            "mount_accessors": [{
                "mount_accessor": "auth_userpass_1",
                "counts": 1,
                "alias_identifiers": ["alice"],
            }],
        }],
        "total": 1,
    });
    assert_eq!(list(&method, json!({})), Ok(locked.clone()));
    assert_eq!(
        list(&method, json!({ "mount_accessor": "auth_userpass_1" })),
        Ok(locked)
    );
    let after = json!({ "mount_accessor": "auth_userpass_1", "after": "alice" });
    assert_eq!(list(&method, after), Ok(nobody.clone()));
    for wrong in [json!({ "mount_accessor": "none" }), json!({ "after": "alice" })] {
        assert!(list(&method, wrong).is_err());
    }
    let mut ask = |accessor: &str, name: &str| {
        let path = format!("locked-users/{accessor}/unlock/{name}");
        let request = lockout::Request::parse(Verb::Write, &path, &Body::default()).expect("is one");
        let mounts = [locking(Lockout::default())];
        method
            .bed
            .run(|txn| lockout::plan(txn, &mounts, "", &request))
            .map(|_| ())
    };
    assert!(ask("none", "alice").is_err());
    for name in ["nobody", "no name", "Alice"] {
        assert_eq!(ask("auth_userpass_1", name), Ok(()));
    }
    assert_eq!(list(&method, json!({})), Ok(nobody));
    assert!(method.lets_alice_in());
}

/// A look at many is cut, and says where to go on.
#[test]
fn a_look_at_many_users_is_cut() {
    let mut method = Method::with_alice();
    method.enter_strangers(2_050);
    let first = told_locked(&method, "locked-users", &json!({})).expect("tells");
    assert_eq!(first["next"]["mount_accessor"], "auth_userpass_1");
    let next = told_locked(&method, "locked-users", &first["next"]).expect("tells");
    assert_eq!(next["next"], Value::Null);
}

/// However many are verified at once, five guesses are looked at.
#[test]
fn guesses_at_the_same_time_are_counted() {
    let mut method = Method::with_alice();
    let guess = |method: &Method, password: &str| {
        let request = Method::request("alice", password);
        let verified = method.prepare(&request).verify(&request);
        (request, verified)
    };
    let mut guesses: Vec<_> = (0..5).map(|_| guess(&method, "wrong")).collect();
    guesses.push(guess(&method, PASSWORD));
    for (place, (request, verified)) in guesses.iter().enumerate() {
        let (made, command) = method.plan_login(request, verified, HERE);
        assert_eq!(method.bed.fly(&command), Outcome::Ok);
        let expected = if place < 5 {
            LoginError::Counted(REFUSED)
        } else {
            LoginError::Refused(REFUSED)
        };
        assert_eq!(made.map(|_| ()), Err(expected), "{place}");
    }
}

/// What was verified must be what stands when the plan is made, and when it is applied.
#[test]
fn a_password_that_changes_under_a_login_begins_it_again() {
    let mut method = Method::with_alice();
    let request = Method::request("alice", PASSWORD);
    let verified = method.prepare(&request).verify(&request);
    let (made, planned) = method.plan_login(&request, &verified, HERE);
    assert!(made.is_ok());
    method.write("users/alice/password", &json!({"password": "another"}));
    assert_eq!(
        method.bed.apply(&planned),
        Outcome::Conflict,
        "planned before, applied after"
    );
    let stale = method.plan_login(&request, &verified, HERE).0;
    assert_eq!(
        stale.map(|_| ()),
        Err(LoginError::Stale),
        "verified before, planned after"
    );
    assert!(method.login("alice", "another").is_ok());
    // Other settings do not matter.
    let verified = method.prepare(&request).verify(&request);
    method.write("users/alice", &json!({"token_policies": "z"}));
    assert_eq!(
        method.plan_login(&request, &verified, HERE).0.map(|_| ()),
        Err(LoginError::Counted(REFUSED))
    );
    // Users that go or come.
    let verified = method.prepare(&request).verify(&request);
    assert_eq!(method.ask(Verb::Delete, "users/alice", &json!({})), Ok(None));
    assert_eq!(
        method.plan_login(&request, &verified, HERE).0.map(|_| ()),
        Err(LoginError::Stale)
    );
    let nobody = method.prepare(&request).verify(&request);
    assert_eq!(
        method.plan_login(&request, &nobody, HERE).0.map(|_| ()),
        Err(LoginError::Refused(REFUSED))
    );
    method.write("users/alice", &json!({"password": PASSWORD}));
    assert_eq!(
        method.plan_login(&request, &nobody, HERE).0.map(|_| ()),
        Err(LoginError::Stale)
    );
    assert!(method.lets_alice_in());
}

#[test]
fn nothing_outlives_the_mount_and_nothing_stands_in_clear() {
    let mut method = Method::new();
    method.write(
        "users/canaryuser",
        &json!({"password": "canarypassword", "token_policies": "canarypolicy"}),
    );
    let new = method.login("canaryuser", "canarypassword").expect("may");
    for (row_key, row) in method.bed.view.rows().iter() {
        let is_in = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"canary");
        assert!(!is_in(row_key) && !is_in(row));
    }
    let is_valid = |method: &Method| {
        let token = new.token.expose();
        method.bed.plan(|txn| authenticate(txn, token, false, HERE).is_ok()).0
    };
    assert!(is_valid(&method));
    method.bed.run(|txn| disable(txn, MOUNT)).expect("opens");
    assert!(!is_valid(&method));
}
