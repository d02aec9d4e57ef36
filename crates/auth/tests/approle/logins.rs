//! Logins: what they give, how often, how long, from where, and what is told of a refusal.

use aumbry_auth::approle::{Request, plan};
use aumbry_auth::token::{RenewError, find_by_text, renew};
use aumbry_auth::{Error, Place, disable};
use aumbry_logical::{Body, Verb};
use aumbry_state::{Command, Outcome, View as _, key};
use serde_json::{Value, json};

use crate::bed::{HERE, MOUNT, Method, refused};

#[test]
fn a_login_gives_what_the_role_says() {
    let mut method = Method::new();
    let role_id = method.role(
        "app",
        json!({"token_policies": "a,b", "token_ttl": "20m", "token_max_ttl": "30m", "token_num_uses": 7}),
    );
    let secret = method.secret(
        "app",
        json!({"metadata": "{\"team\": \"x\", \"role_name\": \"forged\"}"}),
    );
    let new = method.login(&role_id, &secret).expect("may");
    assert!(method.is_valid(&new.token));
    assert_eq!(new.info.policies, ["a", "b", "default"]);
    assert_eq!((new.info.ttl_s, new.info.num_uses), (1_200, 7));
    assert_eq!(new.info.path, "auth/approle/login");
    assert_eq!(new.info.display_name, "approle");
    let pairs: Vec<_> = new
        .info
        .metadata
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        pairs,
        [("role_name", "app"), ("team", "x")],
        "the role's name cannot be forged"
    );
    // Never past the role's limit, and not without the role.
    let start = method.bed.now;
    method.bed.now += 1_000_000;
    let id = method.bed.plan(|txn| find_by_text(txn, new.token.expose(), false)).0;
    let id = id.expect("opens").expect("is there");
    let renewed = method.bed.run(|txn| renew(txn, id, u64::MAX)).expect("lives");
    assert_eq!(renewed.expires_at, start + 1_800_000);
    method.ask(Verb::Delete, "role/app", &json!({})).expect("is deleted");
    assert_eq!(method.bed.run(|txn| renew(txn, id, 0)), Err(RenewError::SourceGone));
}

/// Abuse cases: 24.
#[test]
fn abuse_024_every_refusal_of_a_login_is_the_same() {
    let mut method = Method::new();
    let role_id = method.role("app", json!({}));
    let other_id = method.role("other", json!({}));
    let bound_id = method.role("bound", json!({"secret_id_bound_cidrs": "11.0.0.0/8"}));
    let token_bound_id = method.role("tokens", json!({"token_bound_cidrs": "11.0.0.0/8"}));
    let secret = method.secret("app", json!({}));
    let bound = method.secret("bound", json!({}));
    let token_bound = method.secret("tokens", json!({}));
    let used = method.secret("app", json!({"num_uses": 1}));
    let expired = method.secret("app", json!({"ttl": 1}));
    let destroyed = method.secret("app", json!({}));
    method.write("role/app/secret-id/destroy", json!({"secret_id": destroyed}));
    assert!(method.login(&role_id, &used).is_ok());
    method.bed.now += 1_000;
    let long = "x".repeat(100_000);
    for (role, shown) in [
        (role_id.as_str(), ""),
        (&role_id, "wrong"),
        (&role_id, &long),
        (&long, &secret),
        ("", &secret),
        ("unknown", &secret),
        ("app", &secret),
        (&other_id, &secret),
        (&role_id, &used),
        (&role_id, &expired),
        (&role_id, &destroyed),
        (&bound_id, &bound),
        (&token_bound_id, &token_bound),
    ] {
        assert_eq!(
            method.login(role, shown).map(|_| ()),
            Err(refused()),
            "{role:.9} {shown:.9}"
        );
    }
    assert!(method.login(&role_id, &secret).is_ok(), "the control");
}

/// Abuse cases: 32, 46.
#[test]
fn abuse_046_a_login_comes_from_where_it_is_bound_to() {
    let mut method = Method::new();
    let role_id = method.role(
        "app",
        json!({"secret_id_bound_cidrs": ["10.0.0.0/8"], "token_bound_cidrs": "10.0.0.0/7"}),
    );
    let wide = method.secret("app", json!({}));
    let narrow = method.secret(
        "app",
        json!({"cidr_list": "10.1.0.0/16", "token_bound_cidrs": ["10.1.0.0/24"]}),
    );
    let mut check = |secret: &str, address: &str, expect: Option<&[&str]>| {
        let (made, command) = method.plan_login(&role_id, secret, address);
        assert_eq!(method.bed.apply(&command), Outcome::Ok);
        let bound = made.map(|new| new.info.bound_cidrs.iter().map(ToString::to_string).collect::<Vec<_>>());
        let expect = expect.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(bound.ok(), expect, "{address}");
    };
    check(&wide, "10.9.9.9:1", Some(&["10.0.0.0/7"]));
    check(&wide, "[::ffff:10.9.9.9]:1", Some(&["10.0.0.0/7"]));
    check(&wide, "11.9.9.9:1", None);
    check(&wide, "", None);
    check(&narrow, "10.1.0.9:1", Some(&["10.1.0.0/24"]));
    check(&narrow, "10.1.1.9:1", None);
    check(&narrow, "10.2.0.9:1", None);
    for wider in [
        json!({"cidr_list": "11.0.0.0/8"}),
        json!({"token_bound_cidrs": "0.0.0.0/0"}),
    ] {
        let asked = method.ask(Verb::Write, "role/app/secret-id", &wider);
        assert!(matches!(asked, Err(Error::Invalid(_))), "{wider}");
    }
}

/// Abuse cases: 37.
#[test]
fn abuse_037_a_secret_id_is_used_exactly_so_often() {
    let mut method = Method::new();
    let role_id = method.role("app", json!({"secret_id_num_uses": 5}));
    let before = method.rows();
    let secret = method.secret("app", json!({}));
    // Nine plans on one state: each saw five uses left.
    let plans: Vec<Command> = (0..9).map(|_| method.plan_login(&role_id, &secret, HERE).1).collect();
    let used = plans
        .iter()
        .filter(|plan| method.bed.apply(plan) == Outcome::Ok)
        .count();
    assert_eq!(used, 5);
    assert_eq!(method.login(&role_id, &secret).map(|_| ()), Err(refused()));

    // One after the other, and then it goes off the disk.
    let secret = method.secret("app", json!({"num_uses": 2}));
    let found = method.write("role/app/secret-id/lookup", json!({"secret_id": secret}));
    assert_eq!(found["secret_id_num_uses"], json!(2));
    assert!(method.login(&role_id, &secret).is_ok());
    let found = method.write("role/app/secret-id/lookup", json!({"secret_id": secret}));
    assert_eq!(found["secret_id_num_uses"], json!(1));
    assert!(method.login(&role_id, &secret).is_ok());
    assert_eq!(method.login(&role_id, &secret).map(|_| ()), Err(refused()));
    method.clean(10);
    assert_eq!(
        method.write("role/app/secret-id/lookup", json!({"secret_id": secret})),
        Value::Null
    );
    let left = method
        .ask(Verb::List, "role/app/secret-id", &json!({}))
        .expect("one is not marked");
    assert_eq!(left.map(|data| data["keys"].as_array().map(Vec::len)), Some(Some(1)));
    assert!(method.rows() > before, "the tokens");

    // A use that was counted in flight and is lost was none.
    let secret = method.secret("app", json!({"num_uses": 2}));
    let lost = method.plan_login(&role_id, &secret, HERE).1;
    assert_eq!(method.bed.fly(&lost), Outcome::Ok);
    let (_, second) = method.plan_login(&role_id, &secret, HERE);
    assert_eq!(method.bed.fly(&second), Outcome::Ok);
    assert_eq!(method.bed.apply(&second), Outcome::Ok);
    method.bed.lose_flight();
    method.clean(10);
    assert!(method.login(&role_id, &secret).is_ok(), "one use was left");
    assert_eq!(method.login(&role_id, &secret).map(|_| ()), Err(refused()));
}

#[test]
fn a_secret_id_ends_by_the_logs_time() {
    let mut method = Method::new();
    let role_id = method.role("app", json!({"secret_id_ttl": "10s", "secret_id_num_uses": 3}));
    let before = method.rows();
    let secret = method.secret("app", json!({}));
    let (made, late) = method.plan_login(&role_id, &secret, HERE);
    assert!(made.is_ok());
    let gone = method.secret("app", json!({}));
    let racing = method.plan_login(&role_id, &gone, HERE).1;
    method.write("role/app/secret-id/destroy", json!({"secret_id": gone}));
    assert_eq!(method.bed.apply(&racing), Outcome::Conflict, "destroyed is not expired");
    method.bed.now += 10_000;
    assert_eq!(
        method.bed.apply(&late),
        Outcome::Expired,
        "planned in time and applied too late"
    );
    assert_eq!(method.login(&role_id, &secret).map(|_| ()), Err(refused()));
    method.clean(10);
    assert_eq!(method.rows(), before, "its accessor goes too");
    for (said, ttl, uses) in [(json!({"ttl": 5, "num_uses": 2}), 5, 2), (json!({}), 10, 3)] {
        let made = method.write("role/app/secret-id", said);
        assert_eq!(
            (&made["secret_id_ttl"], &made["secret_id_num_uses"]),
            (&json!(ttl), &json!(uses))
        );
    }
    for more in [
        json!({"ttl": 11}),
        json!({"ttl": 0}),
        json!({"num_uses": 4}),
        json!({"num_uses": 0}),
    ] {
        let asked = method.ask(Verb::Write, "role/app/secret-id", &more);
        assert!(matches!(asked, Err(Error::Invalid(_))), "{more}");
    }
}

#[test]
fn a_role_takes_its_secret_ids_along() {
    let mut method = Method::new();
    let before = method.rows();
    let role_id = method.role("app", json!({}));
    let secrets: Vec<String> = (0..7).map(|_| method.secret("app", json!({}))).collect();
    let racing = method.plan_login(&role_id, &secrets[0], HERE).1;
    let making = {
        let request = Request::parse(Verb::Write, "role/app/secret-id", Body::default()).expect("is one");
        method.bed.plan(|txn| plan(txn, MOUNT, &request).is_ok()).1
    };
    method.ask(Verb::Delete, "role/app", &json!({})).expect("is deleted");
    assert_eq!(method.bed.apply(&racing), Outcome::Conflict);
    assert_eq!(method.bed.apply(&making), Outcome::Conflict);
    // A new role of the same name and id has none of them, whether they are swept or not.
    let again = method.role("app", json!({"role_id": role_id}));
    assert_eq!(again, role_id);
    assert_eq!(method.login(&role_id, &secrets[0]).map(|_| ()), Err(refused()));
    method.clean(2);
    assert_eq!(method.login(&role_id, &secrets[1]).map(|_| ()), Err(refused()));
    method.ask(Verb::Delete, "role/app", &json!({})).expect("is deleted");
    assert_eq!(method.rows(), before);
}

#[test]
fn a_role_without_secret_ids_is_bound_to_addresses() {
    let mut method = Method::new();
    let unbound = method.ask(Verb::Write, "role/app", &json!({"bind_secret_id": false}));
    assert!(matches!(unbound, Err(Error::Invalid(_))));
    let role_id = method.role(
        "app",
        json!({"bind_secret_id": false, "token_bound_cidrs": "10.0.0.0/8"}),
    );
    assert!(method.login(&role_id, "").is_ok());
    assert!(method.plan_login(&role_id, "", "11.0.0.1:1").0.is_err());
    let asked = method.ask(Verb::Write, "role/app/secret-id", &json!({}));
    assert!(matches!(asked, Err(Error::Invalid(_))), "it would be of no use");
}

/// A mount that is disabled takes along its tokens, roles and secret ids, whatever came before.
#[test]
fn nothing_outlives_the_mount() {
    let mut method = Method::new();
    let before = method.rows();
    let mut tokens = Vec::new();
    let mut shown = Vec::new();
    for name in ["a", "b", "c"] {
        let role_id = method.role(name, json!({"secret_id_num_uses": 3}));
        for _ in 0..4 {
            let secret = method.secret(name, json!({"ttl": 3_600}));
            tokens.push(method.login(&role_id, &secret).expect("may").token);
            shown.push((role_id.clone(), secret));
        }
    }
    assert!(tokens.iter().all(|token| method.is_valid(token)));
    method.bed.run(|txn| disable(txn, MOUNT)).expect("opens");
    assert!(!tokens.iter().any(|token| method.is_valid(token)));
    method.clean(2);
    for (role_id, secret) in &shown {
        assert_eq!(method.login(role_id, secret).map(|_| ()), Err(refused()));
    }
    assert_eq!(method.rows(), before);
    for container in [MOUNT, Place::Logins.of(MOUNT), Place::RoleIds.of(MOUNT)] {
        assert_eq!(method.bed.view.get(&key::container(container)), None);
    }
}

/// Neither a secret id nor a name stands in clear on the disk.
#[test]
fn nothing_stands_in_clear() {
    let mut method = Method::new();
    let role_id = method.role(
        "canaryrole",
        json!({"token_policies": "canarypolicy", "role_id": "canaryid"}),
    );
    let secret = method.secret("canaryrole", json!({"metadata": {"canarykey": "canaryvalue"}}));
    method.write("role/canaryrole/custom-secret-id", json!({"secret_id": "canarysecret"}));
    let new = method.login(&role_id, &secret).expect("may");
    let forbidden = [
        "canary",
        &secret,
        new.token.expose_str().expect("is text"),
        &new.info.accessor,
    ];
    for (row_key, row) in method.bed.view.rows().iter() {
        for text in forbidden {
            let is_in = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!is_in(row_key) && !is_in(row), "{text}");
        }
    }
}
