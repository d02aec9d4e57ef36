//! Requests by path, and what is told.

use aumbry_auth::Error;
use aumbry_auth::userpass::{LoginRequest, Request, exists};
use aumbry_logical::Verb;
use serde_json::json;

use crate::bed::{MOUNT, Method, PASSWORD, body};

#[test]
fn users_are_written_read_listed_and_deleted() {
    let mut method = Method::new();
    assert_eq!(method.ask(Verb::List, "users", &json!({})), Err(Error::NotFound));
    let bare = method.ask(Verb::Write, "users/alice", &json!({"token_ttl": 5}));
    assert_eq!(bare, Err(Error::Invalid("missing password")));
    method.write(
        "users/Alice",
        &json!({"password": PASSWORD, "policies": "b,a", "ttl": "1h", "max_ttl": 7200}),
    );
    method.write("users/bob", &json!({"password": "x"}));
    method.write("users/alice", &json!({"token_num_uses": 3}));
    let told = json!({
        "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 7200, "token_no_default_policy": false,
        "token_num_uses": 3, "token_period": 0, "token_policies": ["a", "b"], "token_ttl": 3600, "token_type": "default",
    });
    assert_eq!(method.read("users/alice"), told, "and nothing of the password");
    assert_eq!(
        method.ask(Verb::List, "users/", &json!({})),
        Ok(Some(json!({"keys": ["alice", "bob"]})))
    );
    assert!(method.lets_alice_in(), "it keeps its password");
    method.write("users/alice/password", &json!({"password": "new"}));
    assert!(!method.lets_alice_in());
    let new = method.login("alice", "new").expect("may");
    assert_eq!(new.info.policies, ["a", "b", "default"]);
    method.write("users/alice/policies", &json!({"policies": ["c"], "token_ttl": 1}));
    assert_eq!(method.read("users/alice")["token_policies"], json!(["c"]));
    assert_eq!(
        method.read("users/alice")["token_ttl"],
        json!(3600),
        "a path for policies alone"
    );
    assert_eq!(method.ask(Verb::Delete, "users/alice", &json!({})), Ok(None));
    assert_eq!(method.ask(Verb::Delete, "users/alice", &json!({})), Ok(None));
    assert!(method.login("alice", "new").is_err());
}

#[test]
fn requests_that_are_none() {
    let mut method = Method::with_alice();
    for (verb, path, expect) in [
        (Verb::Read, "", Error::NotFound),
        (Verb::Read, "user/alice", Error::NotFound),
        (Verb::Write, "users", Error::Unsupported),
        (Verb::Patch, "users/alice", Error::Unsupported),
        (Verb::Read, "users/alice/password", Error::Unsupported),
        (Verb::Write, "users/alice/other", Error::NotFound),
        (Verb::Read, "users/bob", Error::NotFound),
        (Verb::Write, "users/bob/policies", Error::NotFound),
        (Verb::Write, "users/alice/password", Error::Invalid("missing password")),
    ] {
        assert_eq!(method.ask(verb, path, &json!({})), Err(expect), "{verb:?} {path}");
    }
    for bad in [
        json!({"password": "x".repeat(1_025)}),
        json!({"password": ["x"]}),
        json!({"password": ""}),
        json!({"password_hash": "$2a$10$abc"}),
        json!({"password": "x", "token_policies": ["root"]}),
        json!({"password": "x", "token_ttl": "?"}),
    ] {
        assert!(method.ask(Verb::Write, "users/carol", &bad).is_err(), "{bad}");
    }
    for bad in ["users/a b", "users/\u{430}", "users/-a", "users/@b", "users/"] {
        assert!(
            method.ask(Verb::Write, bad, &json!({"password": "x"})).is_err(),
            "{bad}"
        );
    }
    assert_eq!(
        method.ask(Verb::List, "users", &json!({})),
        Ok(Some(json!({"keys": ["alice"]})))
    );
    for missing in [json!({}), json!({"password": ""}), json!({"password": null})] {
        assert!(LoginRequest::parse("login/alice", &body(&missing)).is_err());
    }
    let request = |path| Request::parse(Verb::Write, path, body(&json!({"password": "x"}))).expect("is one");
    for (path, expect) in [
        ("users/alice", true),
        ("users/bob", false),
        ("users/bob/password", true),
    ] {
        assert_eq!(
            method.bed.plan(|txn| exists(txn, MOUNT, &request(path))).0,
            Ok(expect),
            "{path}"
        );
        assert!(request(path).has_password());
    }
}
