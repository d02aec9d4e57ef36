//! Requests by path, and what is told.

use aumbry_auth::Error;
use aumbry_auth::approle::{Request, exists};
use aumbry_logical::{Body, Verb};
use serde_json::{Value, json};

use crate::bed::{MOUNT, Method, refused, text};

/// Abuse cases: 41.
#[test]
fn abuse_041_an_accessor_of_another_role_names_nothing() {
    let mut method = Method::new();
    let role_id = method.role("app", json!({}));
    method.role("other", json!({}));
    let made = method.write("role/app/secret-id", json!({"metadata": {"k": "v"}, "ttl": 60}));
    let (secret, accessor) = (text(&made, "secret_id"), text(&made, "secret_id_accessor"));
    assert_ne!(secret, accessor);
    let named = json!({"secret_id_accessor": accessor});
    for path in ["lookup", "destroy"] {
        let asked = method.ask(Verb::Write, &format!("role/other/secret-id-accessor/{path}"), &named);
        assert_eq!(asked, Err(Error::NotFound));
    }
    assert_eq!(
        method.write("role/other/secret-id/lookup", json!({"secret_id": secret})),
        Value::Null
    );
    method.write("role/other/secret-id/destroy", json!({"secret_id": secret}));
    assert_eq!(
        method.login(&role_id, &accessor).map(|_| ()),
        Err(refused()),
        "an accessor is no secret id"
    );
    assert!(method.login(&role_id, &secret).is_ok());
    let told = method.write("role/app/secret-id-accessor/lookup", named.clone());
    let expected = json!({
        "cidr_list": [], "creation_time": "2023-11-14T22:13:20Z", "expiration_time": "2023-11-14T22:14:20Z",
        "last_updated_time": "2023-11-14T22:13:20Z", "metadata": {"k": "v"}, "secret_id_accessor": accessor,
        "secret_id_num_uses": 0, "secret_id_ttl": 60, "token_bound_cidrs": [],
    });
    assert_eq!(told, expected);
    assert_eq!(
        told,
        method.write("role/app/secret-id/lookup", json!({"secret_id": secret}))
    );
    assert_eq!(
        method.ask(Verb::Delete, "role/app/secret-id-accessor/destroy", &named),
        Ok(None)
    );
    assert_eq!(
        method.ask(Verb::Delete, "role/app/secret-id-accessor/destroy", &named),
        Err(Error::NotFound)
    );
    assert_eq!(method.login(&role_id, &secret).map(|_| ()), Err(refused()));
}

#[test]
fn ids_can_be_chosen() {
    let mut method = Method::new();
    let role_id = method.role("app", json!({"role_id": "my-role"}));
    assert_eq!(role_id, "my-role");
    method.role("other", json!({}));
    let taken = method.ask(Verb::Write, "role/other/role-id", &json!({"role_id": "my-role"}));
    assert!(matches!(taken, Err(Error::Invalid(_))));
    let taken = method.ask(Verb::Write, "role/third", &json!({"role_id": "my-role"}));
    assert!(matches!(taken, Err(Error::Invalid(_))));
    let made = method.write(
        "role/app/custom-secret-id",
        json!({"secret_id": "chosen", "num_uses": 5}),
    );
    assert_eq!(
        (text(&made, "secret_id").as_str(), &made["secret_id_num_uses"]),
        ("chosen", &json!(5))
    );
    let twice = method.ask(
        Verb::Write,
        "role/app/custom-secret-id",
        &json!({"secret_id": "chosen"}),
    );
    assert!(matches!(twice, Err(Error::Invalid(_))));
    method.write("role/other/custom-secret-id", json!({"secret_id": "chosen"}));
    assert!(method.login("my-role", "chosen").is_ok());
    method.write("role/app/role-id", json!({"role_id": "renamed"}));
    assert_eq!(method.login("my-role", "chosen").map(|_| ()), Err(refused()));
    assert!(method.login("renamed", "chosen").is_ok());
    assert_eq!(
        method.role("third", json!({"role_id": "my-role"})),
        "my-role",
        "it is free again"
    );
    for bad in [
        json!({"secret_id": ""}),
        json!({"secret_id": "x".repeat(257)}),
        json!({}),
    ] {
        assert!(
            method.ask(Verb::Write, "role/app/custom-secret-id", &bad).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn each_setting_has_a_path() {
    let mut method = Method::new();
    method.role("app", json!({}));
    for (path, said, told, default) in [
        (
            "policies",
            json!({"policies": "b,a"}),
            json!({"policies": ["a", "b"], "token_policies": ["a", "b"]}),
            json!([]),
        ),
        (
            "policies",
            json!({"token_policies": ["c"]}),
            json!({"policies": ["c"], "token_policies": ["c"]}),
            json!([]),
        ),
        (
            "period",
            json!({"period": "1m"}),
            json!({"period": 60, "token_period": 60}),
            json!(0),
        ),
        (
            "secret-id-num-uses",
            json!({"secret_id_num_uses": 3}),
            json!({"secret_id_num_uses": 3}),
            json!(0),
        ),
        (
            "secret-id-ttl",
            json!({"secret_id_ttl": "2m"}),
            json!({"secret_id_ttl": 120}),
            json!(0),
        ),
        (
            "secret-id-bound-cidrs",
            json!({"secret_id_bound_cidrs": "10.0.0.0/8"}),
            json!({"secret_id_bound_cidrs": ["10.0.0.0/8"]}),
            Value::Null,
        ),
        (
            "token-num-uses",
            json!({"token_num_uses": 4}),
            json!({"token_num_uses": 4}),
            json!(0),
        ),
        ("token-ttl", json!({"token_ttl": 5}), json!({"token_ttl": 5}), json!(0)),
        (
            "token-max-ttl",
            json!({"token_max_ttl": 6}),
            json!({"token_max_ttl": 6}),
            json!(0),
        ),
        (
            "token-bound-cidrs",
            json!({"token_bound_cidrs": "::1"}),
            json!({"token_bound_cidrs": ["::1"]}),
            json!([]),
        ),
        (
            "bind-secret-id",
            json!({"bind_secret_id": true}),
            json!({"bind_secret_id": true}),
            json!(true),
        ),
    ] {
        let path = format!("role/app/{path}");
        method.write(&path, said);
        assert_eq!(method.read(&path), told);
        assert_eq!(method.ask(Verb::Delete, &path, &json!({})), Ok(None));
        let field = told
            .as_object()
            .and_then(|data| data.keys().next().cloned())
            .expect("has a field");
        assert_eq!(method.read(&path)[&field], default, "{path}");
        assert!(method.ask(Verb::Write, &path, &json!({"other": 1})).is_err(), "{path}");
    }
    let told = method.read("role/app");
    let expected = json!({
        "bind_secret_id": true, "local_secret_ids": false, "secret_id_bound_cidrs": null, "secret_id_num_uses": 0,
        "secret_id_ttl": 0, "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0,
        "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0, "token_policies": [], "token_ttl": 0,
        "token_type": "default",
    });
    assert_eq!(told, expected);
}

/// Abuse cases: 23.
#[test]
fn abuse_023_a_role_has_one_name() {
    let mut method = Method::new();
    let role_id = method.role("App", json!({"token_policies": "a"}));
    assert_eq!(method.read("role/APP")["token_policies"], json!(["a"]));
    assert_eq!(text(&method.read("role/app/role-id"), "role_id"), role_id);
    for bad in [
        "role/app ",
        "role/app\t",
        "role/\u{430}pp",
        "role/-app",
        "role/a%70p",
        "role/",
    ] {
        assert!(method.ask(Verb::Write, bad, &json!({})).is_err(), "{bad}");
    }
    assert_eq!(
        method.ask(Verb::List, "role", &json!({})),
        Ok(Some(json!({"keys": ["app"]})))
    );
    let refused = Request::parse(Verb::Read, "role/App", Body::default()).err();
    assert!(
        matches!(refused, Some(Error::Invalid(_))),
        "only the canonical form is parsed"
    );
}

#[test]
fn paths_that_are_none() {
    let mut method = Method::new();
    method.role("app", json!({}));
    for (verb, path, expect) in [
        (Verb::Read, "", Error::NotFound),
        (Verb::Read, "roles", Error::NotFound),
        (Verb::Write, "role", Error::Unsupported),
        (Verb::Patch, "role/app", Error::Unsupported),
        (Verb::Read, "role/app/other", Error::NotFound),
        (Verb::Read, "role/app/secret-id", Error::Unsupported),
        (Verb::Read, "role/app/secret-id/lookup", Error::Unsupported),
        (Verb::Write, "role/app/secret-id/other", Error::NotFound),
        (Verb::List, "role/app/secret-id", Error::NotFound),
        (Verb::Read, "role/none", Error::NotFound),
        (Verb::Write, "role/none/secret-id", Error::NotFound),
        (Verb::Read, "tidy/secret-id", Error::Unsupported),
        (Verb::Read, "login", Error::NotFound),
    ] {
        assert_eq!(method.ask(verb, path, &json!({})), Err(expect), "{verb:?} {path}");
    }
    method.write("tidy/secret-id", json!({}));
    let request = |path| Request::parse(Verb::Write, path, Body::default()).expect("is one");
    for (path, expect) in [("role/app", true), ("role/none", false), ("tidy/secret-id", true)] {
        assert_eq!(
            method.bed.plan(|txn| exists(txn, MOUNT, &request(path))).0,
            Ok(expect),
            "{path}"
        );
    }
}
