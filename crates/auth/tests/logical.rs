//! Requests and answers by path: fields that Vault's clients send and read.

#[path = "../../barrier/tests/common/mod.rs"]
mod common;

use aumbry_auth::token::logical::{RoleRequest, render_auth, render_lookup, render_renewed};
use aumbry_auth::token::{Create, Role, authenticate, create, make_root};
use aumbry_auth::{Answer, Error, OldNames, TokenParams, canonical};
use aumbry_logical::{Body, Verb};
use aumbry_types::{Name, SecretBytes};
use common::Bed;
use serde_json::{Value, json};

fn body(value: &Value) -> Body {
    Body::parse(value.to_string().as_bytes()).expect("is an object")
}

fn rendered(params: &TokenParams) -> Value {
    let mut object = aumbry_logical::Object::new();
    params.render(&mut object);
    Value::Object(object)
}

const OLD: OldNames = OldNames(&["policies", "period", "ttl"]);

#[test]
fn token_params_keep_what_is_not_named() {
    let mut params = TokenParams::default();
    let all = json!({
        "token_ttl": "1h", "token_max_ttl": 7200, "token_explicit_max_ttl": "3h", "token_period": "90", "token_num_uses": "5",
        "token_policies": "b, a", "token_bound_cidrs": ["10.1.2.3/8", "::1"], "token_no_default_policy": true,
        "token_type": "service",
    });
    let expected = json!({
        "token_ttl": 3600, "token_max_ttl": 7200, "token_explicit_max_ttl": 10800, "token_period": 90, "token_num_uses": 5,
        "token_policies": ["a", "b"], "token_bound_cidrs": ["10.0.0.0/8", "::1"], "token_no_default_policy": true,
        "token_type": "service",
    });
    assert_eq!(params.merge(&body(&all), OLD), Ok(()));
    assert_eq!(rendered(&params), expected);
    assert_eq!(
        params.merge(&body(&json!({"other": 1, "token_ttl": null})), OLD),
        Ok(())
    );
    assert_eq!(rendered(&params), expected, "nothing was named");
    assert_eq!(params.merge(&body(&json!({"policies": ["c"], "ttl": 60})), OLD), Ok(()));
    assert_eq!(
        (params.policies.clone(), params.ttl_s),
        (vec!["c".to_owned()], 60),
        "by their old names"
    );
    let both = json!({"policies": ["old"], "token_policies": ["new"], "max_ttl": 1});
    assert_eq!(params.merge(&body(&both), OLD), Ok(()));
    assert_eq!(params.policies, ["new"], "the new name counts");
    assert_eq!(params.max_ttl_s, 7200, "this method has no such old name");
    let cleared = json!({"token_policies": [], "token_bound_cidrs": "", "token_num_uses": 0, "token_type": ""});
    assert_eq!(params.merge(&body(&cleared), OLD), Ok(()));
    assert!(params.policies.is_empty() && params.bound_cidrs.is_empty() && params.num_uses == 0);
}

/// Abuse cases: 10.
#[test]
fn token_params_that_mean_nothing_are_refused() {
    let check = |value: Value| {
        let refused = TokenParams::default().merge(&body(&value), OLD);
        let error = refused.expect_err("is refused");
        assert!(
            matches!(error, Error::Field(_) | Error::Invalid(_)),
            "{value} {error:?}"
        );
    };
    for policy in ["root", "ROOT", "Root ", "root\u{200b}", "\u{ff52}oot", "a/b"] {
        check(json!({"token_policies": [policy]}));
    }
    check(json!({"token_ttl": "1y"}));
    check(json!({"token_ttl": -1}));
    check(json!({"token_ttl": 10, "token_max_ttl": 5}));
    check(json!({"token_num_uses": 4_294_967_296_u64}));
    check(json!({"token_num_uses": -1}));
    check(json!({"token_bound_cidrs": ["10.0.0.0/33"]}));
    check(json!({"token_bound_cidrs": vec!["::1"; 33]}));
    check(json!({"token_type": "batch", "token_num_uses": 1}));
    check(json!({"token_type": "other"}));
    check(json!({"token_no_default_policy": "maybe"}));
}

#[test]
fn roles_of_tokens_by_path() {
    let mut bed = Bed::new(14);
    let mut ask = |verb, path: &str, value: Value| -> Result<Option<Value>, Error> {
        let request = RoleRequest::parse(verb, &canonical(path), body(&value))?;
        let answer: Result<Answer, Error> = bed.run(|txn| {
            let answer = request.plan(txn);
            if answer.is_err() {
                txn.abandon();
            }
            answer
        });
        Ok(answer?.data.map(Value::Object))
    };
    assert_eq!(ask(Verb::Read, "roles/ci", json!({})), Err(Error::NotFound));
    assert_eq!(ask(Verb::List, "roles/", json!({})), Err(Error::NotFound));
    let said = json!({"allowed_policies": "a,b", "orphan": true, "period": "1h", "path_suffix": "x"});
    assert_eq!(ask(Verb::Write, "roles/CI", said), Ok(None));
    assert_eq!(
        ask(
            Verb::Write,
            "roles/ci",
            json!({"renewable": false, "disallowed_policies_glob": ["*-rw"]})
        ),
        Ok(None)
    );
    let told = ask(Verb::Read, "roles/ci", json!({})).expect("is there");
    let expected = json!({
        "name": "ci", "allowed_entity_aliases": [], "allowed_policies": ["a", "b"], "allowed_policies_glob": [],
        "disallowed_policies": [], "disallowed_policies_glob": ["*-rw"], "explicit_max_ttl": 0, "orphan": true,
        "path_suffix": "x", "period": 3600, "renewable": false, "token_bound_cidrs": [], "token_explicit_max_ttl": 0,
        "token_no_default_policy": false, "token_num_uses": 0, "token_period": 3600, "token_type": "default-service",
    });
    assert_eq!(told, Some(expected));
    for name in ["b", "a"] {
        assert_eq!(ask(Verb::Write, &format!("roles/{name}"), json!({})), Ok(None));
    }
    assert_eq!(
        ask(Verb::List, "roles", json!({})),
        Ok(Some(json!({"keys": ["a", "b", "ci"]})))
    );
    assert_eq!(
        ask(Verb::List, "roles", json!({"after": "a", "limit": 1})),
        Ok(Some(json!({"keys": ["b"]})))
    );
    assert_eq!(ask(Verb::Delete, "roles/ci", json!({})), Ok(None));
    assert_eq!(ask(Verb::Delete, "roles/ci", json!({})), Ok(None));
    assert_eq!(ask(Verb::Read, "roles/ci", json!({})), Err(Error::NotFound));
    for (verb, path, expect) in [
        (Verb::Patch, "roles/ci", Error::Unsupported),
        (Verb::Write, "roles", Error::Unsupported),
        (Verb::Read, "role", Error::NotFound),
    ] {
        assert_eq!(ask(verb, path, json!({})), Err(expect), "{path}");
    }
    for bad in ["roles/a b", "roles/a/b", "roles/\u{fc}", "roles/"] {
        assert!(ask(Verb::Read, bad, json!({})).is_err(), "{bad}");
    }
    let refused = RoleRequest::parse(Verb::Read, "roles/CI", Body::default()).err();
    assert!(
        matches!(refused, Some(Error::Invalid(_))),
        "only the canonical form is parsed"
    );
    assert!(ask(Verb::Write, "roles/ci", json!({"path_suffix": "a b"})).is_err());
    assert!(ask(Verb::Write, "roles/ci", json!({"allowed_policies": ["a b"]})).is_err());
    assert_eq!(
        ask(Verb::Read, "roles/ci", json!({})),
        Err(Error::NotFound),
        "nothing was written"
    );
    // Names of policies are taken in lower case, as those of roles.
    assert!(ask(Verb::Write, "roles/ci", json!({"allowed_policies": ["A"]})).is_ok());
    let told = ask(Verb::Read, "roles/ci", json!({})).expect("is there");
    assert_eq!(told.expect("is told")["allowed_policies"], json!(["a"]));
}

#[test]
fn a_token_is_asked_for_and_told_of_by_vaults_names() {
    let mut bed = Bed::new(15);
    let root = bed.run(|txn| make_root(txn, None).expect("is new")).token;
    let name = Name::parse("ci").expect("is a name");
    bed.run(|txn| Role::default().write(txn, &name)).expect("is written");
    let said = json!({
        "policies": ["a"], "meta": {"k": "v"}, "ttl": "1h", "display_name": "my app!", "num_uses": 2, "period": "",
        "type": "service", "bound_cidrs": "10.0.0.0/8", "unknown": [1],
    });
    let wanted = Create::parse(&body(&said), Some(name)).expect("is read");
    assert!(wanted.renewable, "by default");
    let new = bed.run(|txn| {
        let caller = authenticate(txn, root.expose(), false, "").expect("stands");
        create(txn, &caller, false, wanted).expect("may")
    });
    let text = new.token.expose_str().expect("is text").to_owned();
    let auth = json!({
        "client_token": text, "accessor": new.info.accessor, "policies": ["a", "default"],
        "token_policies": ["a", "default"], "identity_policies": [], "metadata": {"k": "v"}, "lease_duration": 3600,
        "renewable": true, "entity_id": "", "token_type": "service", "orphan": false, "mfa_requirement": null, "num_uses": 2,
    });
    assert_eq!(Value::Object(render_auth(&new)), auth);
    assert_eq!(render_renewed(&new.info, None)["client_token"], json!(""));
    let lookup = json!({
        "accessor": new.info.accessor, "creation_time": 1_700_000_000, "creation_ttl": 3600, "display_name": "token-my-app",
        "entity_id": "", "expire_time": "2023-11-14T23:13:20Z", "explicit_max_ttl": 0, "id": text,
        "issue_time": "2023-11-14T22:13:20Z", "meta": {"k": "v"}, "num_uses": 2, "orphan": false,
        "path": "auth/token/create/ci", "policies": ["a", "default"], "renewable": true, "ttl": 3600, "type": "service",
        "bound_cidrs": ["10.0.0.0/8"], "role": "ci",
    });
    let shown = SecretBytes::from(text);
    assert_eq!(Value::Object(render_lookup(&new.info, Some(&shown))), lookup);
    for bad in [
        json!({"type": "x"}),
        json!({"ttl": "x"}),
        json!({"num_uses": -1}),
        json!({"bound_cidrs": "x"}),
        json!({"meta": "x"}),
    ] {
        assert!(Create::parse(&body(&bad), None).is_err(), "{bad}");
    }
}
